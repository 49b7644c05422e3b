"""Read DICOM RT Structure Sets: contours in patient millimetres become label maps on the grid of an image.

A voxel belongs to a structure if its centre lies inside or on a contour of its own slice; nothing is interpolated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volseg.contours import Mask, fill_contours, rasterise
from volseg.errors import InputError
from volseg.geometry import Float, Grid
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom_files import DicomFile
from volseg.io.dicom_header import open_dataset
from volseg.io.dicom_objects import contour_points
from volseg.io.dicom_source import DicomSource
from volseg.io.label_choice import LabelChoice
from volseg.io.voxels import smallest_integer
from volseg.labelmap import OTHER_ALGORITHMS, Colour, Label, LabelMap, default_colour, keep_colours_apart
from volseg.volume import Volume

_LOG = logging.getLogger(__name__)
_Path = str | Path | DicomFile
_Members = dict[int, list[int]]  # slice -> numbers of the contours on it

_STRUCTURE_SET, _XOR = "1.2.840.10008.5.1.4.1.1.481.3", "CLOSEDPLANAR_XOR"
# In spacings between slices: how far a contour may leave its plane, and its plane that of the slice, unnoticed.
_FLAT, _ON_SLICE = 0.1, 0.02
_MOST_LAYERS, _UNDEFINED = 100, 0xFFFFFFFF


class _References(NamedTuple):
    """Which series a structure set was drawn on, and the spaces (one as a rule) of its coordinates; empty if unsaid."""

    series_uids: tuple[str, ...]
    frame_of_reference_uids: tuple[str, ...]


class _Roi(NamedTuple):
    """A structure as the file has it: closed contours as (is XOR, (P, 3) mm RAS+), and how many are none."""

    number: int
    name: str
    colour: Colour | None
    code: str | None
    algorithm: str | None
    frame_of_reference_uid: str
    contours: list[tuple[bool, Float]]
    left_out: int


class _Region(NamedTuple):
    """Where a structure is on a grid: (rows, columns) masks of slices across one axis."""

    axis: int
    masks: dict[int, Mask]

    def planes(self, layer: NDArray[Any]) -> list[tuple[NDArray[Any], Mask]]:
        slices = np.moveaxis(layer, self.axis, 0)
        return [(slices[k].T, mask) for k, mask in self.masks.items()]


def read_rtstruct(path: _Path, *, image: Volume, choice: LabelChoice | None = None) -> tuple[LabelMap, ...]:
    """Read the structures of an RT Structure Set as labels on the grid of an image.

    Parameters
    ----------
    path : path or DicomFile
        The file, with or without preamble.
    image : Volume
        What it was drawn on, or another in that frame of reference; contours must lie across one of its voxel axes.
    choice : LabelChoice, optional
        Which structures are wanted; all, if it is not given. Others are not drawn, so they overlap nothing.

    Returns
    -------
    tuple of LabelMap
        On `image.grid`; several where structures overlap: each is in the first where it meets no other. Values are the
        ROI numbers (below 1: the next free), repeated names have it behind them; undrawn ones have no voxels.

    Notes
    -----
    Contours go to the nearest slice; of several planes near one slice the nearest counts. On one slice a contour inside
    another is a hole, overlapping ones are one region (`fill_contours`), CLOSEDPLANAR_XOR is exclusive or. Warnings say
    what is left out or odd: points and open lines, contours outside the image or between slices, slices without any.

    Raises
    ------
    InputError
        A damaged file or none of this kind, no closed contours, another frame of reference than the image's, contours
        across several slices, or more than 100 structures that overlap each other.
    """
    references, rois = _read(path)
    rois = _in_frame_of(image, references, rois, path)
    # Isocentres and markers are no regions; what nobody has drawn yet is one.
    if points := [roi.name for roi in rois if roi.left_out and not roi.contours]:
        _LOG.warning("%s: only points or open lines, left out: %s", path, ", ".join(points))
    rois = [roi for roi in rois if roi.contours or not roi.left_out]
    if not rois:
        raise InputError(f"{path}: has no closed contours, so there are no labels to read")
    named = list(zip(_labels(rois), rois, strict=True))
    wanted = (choice or LabelChoice()).of([label for label, _ in named], path)
    named = [(label, roi) for label, roi in named if label in wanted]
    # One after the other: the masks of all would take more memory than the image.
    regions = (_region(roi, image.grid, f"{path}: {label.name!r}") for label, roi in named)
    return _layers(wanted, regions, image.grid, path)


def _read(path: _Path) -> tuple[_References, list[_Roi]]:
    file = path if isinstance(path, DicomFile) else DicomFile(Path(path))
    if not file.path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    with quiet_pydicom():
        try:
            dataset = open_dataset(file)
            kind = text_of(dataset, "SOPClassUID") or text_of(dataset.file_meta, "MediaStorageSOPClassUID")
            if kind != _STRUCTURE_SET:
                raise InputError(f"{path}: is of class {kind or 'unknown'}; expected an RT Structure Set")
            _check_complete(dataset)
            references = _references(dataset)
            return references, _rois(dataset, next(iter(references.frame_of_reference_uids), ""))
        except DAMAGE as error:
            raise InputError(f"{path}: is a damaged RT Structure Set or none ({error}); copy it again") from error


def _check_complete(dataset: Any) -> None:
    """Refuse a file that ends within an element: pydicom would read what is there, and say nothing."""
    for element in map(dataset.get_item, list(dataset.keys())):
        if element.is_raw and len(element.value or b"") < element.length < _UNDEFINED:
            raise ValueError(f"ends within element {element.tag}, the file is cut off")


def _items(dataset: Any, keyword: str) -> Sequence[Any]:
    return dataset.get(keyword) or ()


def _references(dataset: Any) -> _References:
    frames = _items(dataset, "ReferencedFrameOfReferenceSequence")
    studies = [study for frame in frames for study in _items(frame, "RTReferencedStudySequence")]
    series = [series for study in studies for series in _items(study, "RTReferencedSeriesSequence")]
    series_uids = (text_of(item, "SeriesInstanceUID") for item in series)
    spaces = [text_of(item, "FrameOfReferenceUID") for item in (*frames, dataset)]
    spaces += [text_of(roi, "ReferencedFrameOfReferenceUID") for roi in _items(dataset, "StructureSetROISequence")]
    return _References(tuple(dict.fromkeys(filter(None, series_uids))), tuple(dict.fromkeys(filter(None, spaces))))


def _rois(dataset: Any, default_frame: str) -> list[_Roi]:
    for sequence, keyword in (("ROIContourSequence", "ReferencedROINumber"), ("StructureSetROISequence", "ROINumber")):
        numbers = [int(item[keyword].value) for item in _items(dataset, sequence)]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"a {keyword} occurs twice in {sequence}, so nobody knows whose its contours are")
    drawn = {int(item.ReferencedROINumber): item for item in _items(dataset, "ROIContourSequence")}
    observed = {int(item.ReferencedROINumber): item for item in _items(dataset, "RTROIObservationsSequence")}
    rois = []
    for item in _items(dataset, "StructureSetROISequence"):
        number = int(item.ROINumber)
        contours = [_contour(contour) for contour in _items(drawn.get(number, {}), "ContourSequence")]
        closed = [(kind == _XOR, points) for kind, points in contours if kind and len(points) >= 3]
        frame = text_of(item, "ReferencedFrameOfReferenceUID") or default_frame
        name, colour, code = text_of(item, "ROIName"), _colour(drawn.get(number, {})), _code(observed.get(number, {}))
        made = text_of(item, "ROIGenerationAlgorithm")
        algorithm = made if made in OTHER_ALGORITHMS else None
        rois.append(_Roi(number, name, colour, code, algorithm, frame, closed, len(contours) - len(closed)))
    if rois and not drawn:
        raise ValueError("ROIContourSequence is missing, the file may be cut off")
    if strangers := sorted(set(drawn) - {roi.number for roi in rois}):
        raise ValueError(f"contours refer to the ROI numbers {strangers[:5]}, which it does not list")
    return rois


def _colour(drawing: Any) -> Colour | None:
    values = drawing.get("ROIDisplayColor")
    is_colour = hasattr(values, "__len__") and len(values) == 3 and all(0 <= int(value) <= 255 for value in values)
    return (int(values[0]), int(values[1]), int(values[2])) if is_colour else None


def _code(observation: Any) -> str | None:
    concept: Any = next(iter(_items(observation, "RTROIIdentificationCodeSequence")), {})
    scheme, value = text_of(concept, "CodingSchemeDesignator"), text_of(concept, "CodeValue", "LongCodeValue")
    return f"{scheme}:{value}" if scheme and value else None


def _contour(item: Any) -> tuple[str | None, Float]:
    """Type, None where it is not closed, and (P, 3) points, mm RAS+."""
    kind = text_of(item, "ContourGeometricType")
    return kind if kind in ("CLOSED_PLANAR", _XOR) else None, contour_points(item)


def _in_frame_of(image: Volume, references: _References, rois: list[_Roi], path: _Path) -> list[_Roi]:
    """Leave out structures in another space than the image's; refuse if that is all of them."""
    source = image.source if isinstance(image.source, DicomSource) else DicomSource("", "", "", ())
    frame = source.frame_of_reference_uid
    if not frame or not all(roi.frame_of_reference_uid for roi in rois):
        whose = "it" if frame else "the image"
        _LOG.warning("%s: %s has no frame of reference, so nobody knows whether they belong together", path, whose)
    foreign = {roi.frame_of_reference_uid for roi in rois if frame} - {"", frame}
    own = [roi for roi in rois if roi.frame_of_reference_uid not in foreign]
    if foreign and source.series_uid in references.series_uids:
        _LOG.warning("%s: has another frame of reference than the series that it refers to; read nevertheless", path)
        return rois
    if foreign and not own:
        raise InputError(f"{path}: its frame of reference is {min(foreign)}, the image's {frame}; give its own images")
    if foreign:
        names = ", ".join(repr(roi.name) for roi in rois if roi.frame_of_reference_uid in foreign)
        _LOG.warning("%s: left out, as their frame of reference is not the image's: %s", path, names)
    return own


def _labels(rois: list[_Roi]) -> list[Label]:
    numbers = {roi.number for roi in rois}
    free = (number for number in count(1) if number not in numbers)
    labels: dict[str, Label] = {}
    taken: set[int] = set()
    coloured = set()
    for roi in rois:
        value = roi.number if roi.number >= 1 and roi.number not in taken else next(free)
        name = roi.name or f"roi_{value}"
        while name in labels:
            name = f"{name}_{value}"
        labels[name] = Label(value, name, roi.colour or default_colour(value, name), roi.code, roi.algorithm)
        taken.add(value)
        coloured.update([value] if roi.colour else [])
    return list(keep_colours_apart(labels.values(), coloured))


def _region(roi: _Roi, grid: Grid, what: str) -> _Region:
    if not roi.contours:
        return _Region(0, {})
    ends = np.cumsum([len(points) for _, points in roi.contours])[:-1]
    outlines = np.split(grid.to_voxel(np.concatenate([points for _, points in roi.contours])), ends)
    axis = _axis_across(outlines, grid, what)
    heights = np.array([outline[:, axis].mean() for outline in outlines])
    slices = _on_slices(heights, grid.shape[axis])
    columns, rows = (size for a, size in enumerate(grid.shape) if a != axis)
    masks: dict[int, Mask] = {}
    for k, members in slices.items():
        fill = rasterise if any(roi.contours[n][0] for n in members) else fill_contours
        masks[k] = fill([np.delete(outlines[n], axis, axis=1) for n in members], (rows, columns))
    if texts := _remarks(roi.left_out, heights, slices, masks, grid.shape[axis]):
        _LOG.warning("%s: %s", what, "; ".join(texts))
    return _Region(axis, masks)


def _axis_across(outlines: list[Float], grid: Grid, what: str) -> int:
    """Voxel axis along which no contour extends."""
    extents = np.max([np.ptp(outline, axis=0) for outline in outlines], axis=0)
    axis = int(extents.argmin())
    if extents[axis] > _FLAT:
        leaves = f"a contour leaves its slice by {extents[axis] * grid.spacing[axis]:.3g} mm"
        raise InputError(f"{what} is drawn across the image's slices ({leaves}); give the images it was drawn on")
    return axis


def _on_slices(heights: Float, size: int) -> _Members:
    """Find for each slice the contours on the plane that is nearest to it."""
    slices = {}
    for k in sorted({int(k) for k in np.rint(heights) if 0 <= k < size}):
        near = np.flatnonzero(np.rint(heights) == k)
        nearest = heights[near[np.abs(heights[near] - k).argmin()]]
        slices[k] = near[np.abs(heights[near] - nearest) <= _ON_SLICE].tolist()
    return slices


def _remarks(left_out: int, heights: Float, slices: _Members, masks: dict[int, Mask], size: int) -> list[str]:
    outside = sum(not 0 <= k < size for k in np.rint(heights))
    used = [abs(heights[n] - k) for k, members in slices.items() for n in members]
    filled = [k for k, mask in masks.items() if mask.any()]
    gaps = max(filled) - min(filled) + 1 - len(filled) if filled else 0
    counts = {
        "contours that are points or open lines are left out": left_out,
        "contours outside the image are left out": outside,
        "contours are left out, as another plane is nearer to their slice": len(heights) - outside - len(used),
        "contours between slices are put on the nearest": sum(distance > _ON_SLICE for distance in used),
        "slices between its first and last have no contour and stay empty": gaps,
    }
    texts = [f"{number} {text}" for text, number in counts.items() if number]
    return texts if filled else [*texts, "no voxel centre lies inside its contours"]


def _layers(labels: Sequence[Label], regions: Iterable[_Region], grid: Grid, path: _Path) -> tuple[LabelMap, ...]:
    """Put every structure into the first label map in which it meets no other."""
    kind = smallest_integer(max(label.value for label in labels))
    layers: list[tuple[NDArray[Any], list[Label]]] = []
    for label, region in zip(labels, regions, strict=True):
        home = next((layer for layer in layers if not any(p[m].any() for p, m in region.planes(layer[0]))), None)
        if home is None and len(layers) == _MOST_LAYERS:
            raise InputError(
                f"{path}: more than {_MOST_LAYERS} of its structures overlap each other; choose among them by name "
                "(--only NAME,...)"
            )
        if home is None:
            # Slices across the third axis lie together in memory.
            home = np.zeros(grid.shape, kind, order="F"), []
            layers.append(home)
        home[1].append(label)
        for plane, mask in region.planes(home[0]):
            plane[mask] = label.value
    return tuple(LabelMap(array, grid, tuple(members)) for array, members in layers)
