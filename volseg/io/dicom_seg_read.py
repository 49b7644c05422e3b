"""Read DICOM Segmentation objects (PS3.3 C.8.20), of any writer, as label maps or probabilities.

Frames that a writer left out are background. Where segments overlap, which one array of labels cannot say, there are
several label maps.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.pixels import iter_pixels
from pydicom.uid import UID, SegmentationStorage

from volseg.errors import InputError
from volseg.geometry import RAS_TO_LPS, Float, Grid
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom_files import DicomFile
from volseg.io.dicom_header import open_dataset
from volseg.io.dicom_source import DicomSource, SourceFrame, values_on_frame
from volseg.io.terminology import label_of
from volseg.io.voxels import smallest_integer
from volseg.labelmap import Label, LabelMap, default_colour
from volseg.volume import Volume

_LOG = logging.getLogger(__name__)

# Positions nearer than this part of a pixel are one.
_SAME = 0.01
# Directions are written with few decimals.
_UNIT = 1e-3
# Gaps that differ by less, in mm and as a part of the step, are one step (as the reader of images has it).
_EVEN_MM, _EVEN = 0.05, 0.01
_MOST_SLICES = 1 << 14
_LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
# DICOM's code for what is no structure.
_BACKGROUND = "125040"

_Piece = tuple[tuple[int, slice, slice], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False, slots=True)
class _Planes:
    """Where the frames lie: on parallel planes, ascending along their normal.

    `shape` is (rows, columns); `axes` (4, 4) brings column, row and mm along the normal to RAS+ mm for a plane at the
    origin; `positions` (P, 3) RAS+ mm of the planes' first pixels; `of_frames` (F,) the plane of each frame; `spacing`
    and `thickness` in mm as the file says, or None.
    """

    file: DicomFile
    shape: tuple[int, int]
    axes: Float
    positions: Float
    of_frames: NDArray[np.intp]
    spacing: float | None
    thickness: float | None
    frame_of_reference_uid: str

    @property
    def heights(self) -> Float:
        """(P,) mm along the normal."""
        return np.asarray(self.positions @ self.axes[:3, 2])


def read_dicom_seg(path: Path | DicomFile, *, image: Volume | Grid | None = None) -> tuple[LabelMap, ...]:
    """Read a binary, fractional or label map Segmentation.

    Parameters
    ----------
    path : Path or DicomFile
        One object.
    image : Volume or Grid, optional
        Where the labels are wanted; each voxel takes the nearest pixel, the same where they coincide. Without it they
        lie on the grid of the frames themselves, from the first to the last one that is there.

    Returns
    -------
    tuple of LabelMap
        One; more where segments overlap: each segment is in the first in which it meets no other. All on one grid,
        ``array[i, j, k]`` being column i and row j of slice k, slices ascending along their normal. Values are those
        that volseg wrote, else the segment numbers; names that repeat have the value behind them. Of fractional
        segments, what is at least half (a warning is logged).

    Raises
    ------
    InputError
        Not a Segmentation, damaged, without place in the patient; frames of several orientations, or two frames of a
        segment in one place; no `image` and uneven positions; `image` elsewhere.
    """
    file = path if isinstance(path, DicomFile) else DicomFile(path)
    with _wrapped(file):
        dataset = _open(file)
        planes = _planes(dataset, file)
        _warn_elsewhere(planes, image)
        labels = _labels(dataset, file)
        if dataset.SegmentationType == "LABELMAP":
            layers = [(_label_values(dataset, planes), tuple(labels.values()))]
        else:
            layers = _layers(_pieces(dataset, planes, labels), planes, labels)
    return tuple(_labelmap(stack, some, planes, image) for stack, some in layers)


def read_dicom_probabilities(path: Path | DicomFile, *, image: Volume | Grid | None = None) -> dict[str, Volume]:
    """Read a fractional Segmentation as probabilities.

    Parameters
    ----------
    path, image
        As in `read_dicom_seg`.

    Returns
    -------
    dict of str to Volume
        By label name: (I, J, K) float32 from 0 to 1, all on one grid.

    Raises
    ------
    InputError
        As `read_dicom_seg`; also where the Segmentation is not fractional.
    """
    file = path if isinstance(path, DicomFile) else DicomFile(path)
    with _wrapped(file):
        dataset = _open(file)
        if dataset.SegmentationType != "FRACTIONAL":
            raise InputError(f"{file}: is a {dataset.SegmentationType} Segmentation; expected a FRACTIONAL one")
        planes = _planes(dataset, file)
        _warn_elsewhere(planes, image)
        labels = _labels(dataset, file)
        stacks = {number: np.zeros((len(planes.positions), *planes.shape), np.float32) for number in labels}
        for number, plane, pixels in _frames(dataset, planes):
            stacks[number][plane] = pixels / np.float32(_whole(dataset))
    placed = {labels[number].name: _place(stack, planes, image) for number, stack in stacks.items()}
    return {name: Volume(array, grid, name=name) for name, (array, grid) in placed.items()}


@contextmanager
def _wrapped(file: DicomFile) -> Iterator[None]:
    try:
        with quiet_pydicom():
            yield
    except (*DAMAGE, BytesLengthException) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{file}: cannot be read as a DICOM Segmentation ({reason}); it may be damaged") from error


def _open(file: DicomFile) -> Dataset:
    dataset: Dataset = open_dataset(file)
    kind = UID(text_of(dataset, "SOPClassUID"))
    if kind not in (SegmentationStorage, _LABEL_MAP_STORAGE):
        raise InputError(f"{file}: is {kind.name or 'no image'}; expected a DICOM Segmentation")
    return dataset


def _whole(dataset: Dataset) -> int:
    return int(dataset.get("MaximumFractionalValue") or 255)


# ------------------------------------------------------------------------------------------------ segments and pixels


def _labels(dataset: Dataset, file: DicomFile) -> dict[int, Label]:
    """Return the label of every segment number that is described or used, without background."""
    labels = {}
    for segment in dataset.SegmentSequence:
        number = int(segment.SegmentNumber)
        if number == 0:
            _refuse_structure_as_background(segment, file)
            continue
        label = label_of(segment)
        # The pixels of a label map are the values, whatever the description says.
        labels[number] = replace(label, value=number) if dataset.SegmentationType == "LABELMAP" else label
    for number in set(_segment_numbers(dataset)) - {0, *labels}:
        labels[number] = Label(number, f"segment_{number}", default_colour(number))
    values = Counter(label.value for label in labels.values())
    if max(values.values(), default=1) > 1:
        labels = {number: replace(label, value=number) for number, label in labels.items()}
    names = Counter(label.name for label in labels.values())
    return {
        number: replace(label, name=f"{label.name}_{label.value}") if names[label.name] > 1 else label
        for number, label in labels.items()
    }


def _refuse_structure_as_background(segment: Dataset, file: DicomFile) -> None:
    codes = {str(code.get("CodeValue")) for code in segment.get("SegmentedPropertyTypeCodeSequence") or ()}
    if _BACKGROUND not in codes:
        name = segment.get("SegmentLabel")
        raise InputError(f"{file}: segment 0 is {name!r}; expected background, which 0 is in label maps; renumber it")


def _segment_numbers(dataset: Dataset) -> list[int]:
    """Segment number of every frame; 0 for those of a label map, which hold all segments."""
    if dataset.SegmentationType == "LABELMAP":
        return [0] * len(dataset.PerFrameFunctionalGroupsSequence)
    found = _per_frame(dataset, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
    return [int(number) for number in np.broadcast_to(found.ravel(), len(dataset.PerFrameFunctionalGroupsSequence))]


def _frames(dataset: Dataset, planes: _Planes) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield the segment number, plane and (rows, columns) pixels of every frame; each pair only once."""
    met = set()
    for number, plane, pixels in zip(_segment_numbers(dataset), planes.of_frames, _pixels(dataset), strict=True):
        if (number, plane) in met:
            raise InputError(
                f"{planes.file}: segment {number} has two frames in one place (time points?); expected one, split it"
            )
        met.add((number, plane))
        yield number, int(plane), pixels


def _pixels(dataset: Dataset) -> Iterator[NDArray[Any]]:
    """Yield the (rows, columns) stored pixels of every frame."""
    if dataset.BitsAllocated != 1 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from iter_pixels(dataset)
        return
    # Bits run on from frame to frame; pydicom 3.0 loses the last bits of frames that do not begin with a byte.
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    size = dataset.Rows * dataset.Columns
    if 8 * packed.size < size * dataset.NumberOfFrames:
        raise ValueError(f"PixelData holds {packed.size} bytes, fewer than {dataset.NumberOfFrames} frames have")
    for start in range(0, size * int(dataset.NumberOfFrames), size):
        bits = np.unpackbits(packed[start // 8 : (start + size + 7) // 8], bitorder="little")
        yield bits[start % 8 :][:size].reshape(dataset.Rows, dataset.Columns)


def _label_values(dataset: Dataset, planes: _Planes) -> NDArray[Any]:
    """(P, rows, columns) label values of a label map segmentation."""
    stack = np.zeros((len(planes.positions), *planes.shape), np.dtype(f"u{dataset.BitsAllocated // 8}"))
    padding = int(dataset.get("PixelPaddingValue") or 0)
    for _, plane, pixels in _frames(dataset, planes):
        stack[plane] = np.where(pixels == padding, 0, pixels) if padding else pixels
    return stack


def _pieces(dataset: Dataset, planes: _Planes, labels: dict[int, Label]) -> dict[int, list[_Piece]]:
    """Return the masks of every segment, each cut to the rows and columns where it is: a fraction of the frames."""
    threshold = 1
    if dataset.SegmentationType == "FRACTIONAL":
        threshold = (_whole(dataset) + 1) // 2
        _LOG.warning("%s: is fractional; what is at least one half becomes a label, the rest is lost", planes.file)
    pieces: dict[int, list[_Piece]] = {number: [] for number in labels}
    for number, plane, pixels in _frames(dataset, planes):
        mask = pixels >= threshold
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            box = plane, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            pieces[number].append((box, mask[box[1:]].copy()))
    return pieces


def _layers(
    pieces: dict[int, list[_Piece]], planes: _Planes, labels: dict[int, Label]
) -> list[tuple[NDArray[Any], tuple[Label, ...]]]:
    """Lay every segment into the first layer in which it meets no other."""
    dtype = smallest_integer(max((label.value for label in labels.values()), default=1))
    layers: list[tuple[NDArray[Any], list[Label]]] = []
    for number in sorted(pieces):
        free = (layer for layer in layers if not any(layer[0][box][mask].any() for box, mask in pieces[number]))
        stack, members = next(free, (None, []))
        if stack is None:
            stack = np.zeros((len(planes.positions), *planes.shape), dtype)
            layers.append((stack, members))
        for box, mask in pieces[number]:
            stack[box][mask] = labels[number].value
        members.append(labels[number])
    return [(stack, tuple(members)) for stack, members in layers]


def _labelmap(stack: NDArray[Any], labels: tuple[Label, ...], planes: _Planes, image: Volume | Grid | None) -> LabelMap:
    array, grid = _place(stack, planes, image)
    return LabelMap.from_array(array, grid, labels=labels)


# ------------------------------------------------------------------------------------------------------------ geometry


def _per_frame(dataset: Dataset, sequence: str, keyword: str, *, needed: bool = True) -> NDArray[Any]:
    """(F, n) values of an attribute of the functional groups; (1, n) where the frames share it, (0, 1) if absent."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    items = shared if sequence in shared[0] else dataset.PerFrameFunctionalGroupsSequence
    values = [(item.get(sequence) or [Dataset()])[0].get(keyword) for item in items]
    if any(value is None for value in values):
        if needed:
            raise ValueError(f"a frame has no {keyword}")
        return np.empty((0, 1))
    found = np.array(values, dtype=np.float64).reshape(len(values), -1)
    if not np.isfinite(found).all():
        raise ValueError(f"{keyword} of a frame is not finite")
    return found


def _planes(dataset: Dataset, file: DicomFile) -> _Planes:
    """Find the planes on which the frames lie."""
    axes = _axes(dataset, file)
    positions = _per_frame(dataset, "PlanePositionSequence", "ImagePositionPatient") * RAS_TO_LPS.diagonal()[:3]
    count = len(dataset.PerFrameFunctionalGroupsSequence)
    if count != int(dataset.NumberOfFrames):
        raise ValueError(f"{count} frames are described and {dataset.NumberOfFrames} are there")
    positions = np.broadcast_to(positions, (count, 3))
    tolerance = _SAME * float(np.linalg.norm(axes[:3, :2], axis=0).min())
    heights = positions @ axes[:3, 2]
    order = np.argsort(heights, kind="stable")
    first = np.diff(heights[order], prepend=-np.inf) > tolerance
    of_frames = np.empty(count, np.intp)
    of_frames[order] = np.cumsum(first) - 1
    planes = positions[order][first]
    if np.abs(positions - planes[of_frames]).max() > tolerance:
        raise InputError(f"{file}: frames of one plane are shifted against each other; expected one position a plane")
    spacing, thickness = (
        next((float(v) for v in _per_frame(dataset, "PixelMeasuresSequence", k, needed=False).ravel() if v > 0), None)
        for k in ("SpacingBetweenSlices", "SliceThickness")
    )
    return _Planes(
        file,
        (int(dataset.Rows), int(dataset.Columns)),
        axes,
        planes,
        of_frames,
        spacing,
        thickness,
        str(dataset.get("FrameOfReferenceUID", "")),
    )


def _axes(dataset: Dataset, file: DicomFile) -> Float:
    orientations = _per_frame(dataset, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacings = _per_frame(dataset, "PixelMeasuresSequence", "PixelSpacing")
    if max(np.ptp(orientations, axis=0).max(), np.ptp(spacings, axis=0).max()) > _UNIT:
        raise InputError(f"{file}: its frames have several orientations or pixel spacings; expected one; split it")
    column, row = orientations[0].reshape(2, 3)
    if np.abs([np.linalg.norm(column) - 1, np.linalg.norm(row) - 1, column @ row]).max() > _UNIT:
        raise InputError(f"{file}: ImageOrientationPatient is {orientations[0].tolist()}; expected two unit vectors")
    if min(spacings[0]) <= 0:
        raise InputError(f"{file}: PixelSpacing is {spacings[0].tolist()}; expected two numbers above 0")
    normal = np.cross(column, row)
    axes = np.eye(4)
    axes[:3, 0] = column / np.linalg.norm(column) * spacings[0][1]
    axes[:3, 1] = row / np.linalg.norm(row) * spacings[0][0]
    axes[:3, 2] = normal / np.linalg.norm(normal)
    return np.asarray(RAS_TO_LPS @ axes)


def _regular(planes: _Planes) -> tuple[Grid, NDArray[np.intp]] | None:
    """Return the grid that the planes lie on and their slices in it; None where their distances have no common step."""
    rows, columns = planes.shape
    affine = planes.axes.copy()
    affine[:3, 3] = planes.positions[0]
    if len(planes.positions) == 1:
        affine[:3, 2] *= planes.spacing or planes.thickness or 1.0
        return Grid((columns, rows, 1), affine), np.zeros(1, np.intp)
    gaps = np.diff(planes.heights)
    for step in filter(None, (planes.spacing, float(gaps.min()))):
        tolerance = min(max(_EVEN_MM, _EVEN * step), step / 4)
        counts = np.rint(gaps / step)
        slices = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        vector = (planes.positions[-1] - planes.positions[0]) / max(slices[-1], 1)
        beside = planes.positions - planes.positions[0] - slices[:, None] * vector
        off = max(np.abs(gaps - counts * step).max(), np.abs(beside).max())
        if counts.min() >= 1 and slices[-1] < _MOST_SLICES and off <= tolerance:
            affine[:3, 2] = vector
            return Grid((columns, rows, int(slices[-1]) + 1), affine), slices
    return None


def _place(stack: NDArray[Any], planes: _Planes, image: Volume | Grid | None) -> tuple[NDArray[Any], Grid]:
    """Bring (P, rows, columns) to (I, J, K) on the frames' own grid, or on that of the image."""
    target = image.grid if isinstance(image, Volume) else image
    regular = _regular(planes)
    if regular is None:
        if target is None:
            gaps = ", ".join(f"{gap:.4g}" for gap in sorted(set(np.diff(planes.heights).round(4))))
            raise InputError(f"{planes.file}: its slices are unevenly spaced ({gaps} mm); give the image it belongs to")
        placed = _nearest_planes(stack, planes, target, _source_of(image))
    else:
        grid, slices = regular
        array = _filled(stack, slices, grid).T
        if target is None or grid.is_close(target):
            return array, target or grid
        placed = [values_on_frame(_slice(target, k, planes), array, grid) for k in range(target.shape[2])]
    result = np.stack(placed).T
    if stack.any() and not result.any():
        raise InputError(f"{planes.file}: no segment lies in the image; expected the image that it belongs to")
    return result, target


def _filled(stack: NDArray[Any], slices: NDArray[np.intp], grid: Grid) -> NDArray[Any]:
    """(K, rows, columns) with background where there is no frame."""
    if len(stack) == grid.shape[2]:
        return stack
    filled = np.zeros(grid.shape[::-1], stack.dtype)
    filled[slices] = stack
    return filled


def _nearest_planes(
    stack: NDArray[Any], planes: _Planes, target: Grid, source: DicomSource | None
) -> list[NDArray[Any]]:
    """K slices (J, I) of the target, each with the values of the plane nearest to it if one is near enough."""
    normal, (rows, columns) = planes.axes[:3, 2], planes.shape
    i, j = target.shape[0] - 1, target.shape[1] - 1
    corners = [target.to_world([[0, 0, k], [i, 0, k], [0, j, k]]) @ normal for k in range(target.shape[2])]
    if np.ptp(corners, axis=1).max() > _EVEN_MM:
        raise InputError(f"{planes.file}: its slices are uneven and not parallel to the image's; turn the image")
    heights, owners, reach = _known_planes(planes, source)
    placed = [np.zeros((j + 1, i + 1), stack.dtype) for _ in corners]
    for k, height in enumerate(np.mean(corners, axis=1)):
        nearest = int(np.abs(heights - height).argmin())
        distance, owner = abs(heights[nearest] - height), owners[nearest]
        if owner >= 0 and distance <= reach + _EVEN_MM:
            affine = planes.axes.copy()
            # Thick enough to hold the slice of the target.
            affine[:3, 2] *= 4 * (distance + 1)
            affine[:3, 3] = planes.positions[owner]
            plane = Grid((columns, rows, 1), affine)
            placed[k] = values_on_frame(_slice(target, k, planes), stack[owner].T[:, :, None], plane)
    return placed


def _known_planes(planes: _Planes, source: DicomSource | None) -> tuple[Float, NDArray[np.intp], float]:
    """Return heights, the plane at each or -1 where the writer left out an empty one, and how far a plane reaches."""
    heights, owners = planes.heights, np.arange(len(planes.positions))
    if source is None or source.frame_of_reference_uid != planes.frame_of_reference_uid:
        return heights, owners, (planes.spacing or planes.thickness or float(np.diff(heights).min())) / 2
    others = np.array([frame.plane[:3, 3] @ planes.axes[:3, 2] for frame in source.frames])
    others = others[np.abs(others[:, None] - heights).min(axis=1) > _EVEN_MM]
    heights = np.concatenate([heights, others])
    order = np.argsort(heights)
    owners = np.concatenate([owners, np.full(len(others), -1)])[order]
    return heights[order], owners, float(np.diff(heights[order]).max()) / 2


def _source_of(image: Volume | Grid | None) -> DicomSource | None:
    source = image.source if isinstance(image, Volume) else None
    return source if isinstance(source, DicomSource) else None


def _warn_elsewhere(planes: _Planes, image: Volume | Grid | None) -> None:
    source = _source_of(image)
    if source is not None and source.frame_of_reference_uid != planes.frame_of_reference_uid:
        _LOG.warning("%s: has another frame of reference than the image; they may not lie together", planes.file)


def _slice(grid: Grid, k: int, planes: _Planes) -> SourceFrame:
    """Return a slice of a grid as a frame, to bring values onto it."""
    plane = grid.affine.copy()
    plane[:3, 3] = grid.to_world([0, 0, k])
    return SourceFrame(planes.file, "", "", None, grid.shape[0], grid.shape[1], plane)
