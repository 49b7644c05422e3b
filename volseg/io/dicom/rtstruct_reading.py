"""Read DICOM RT Structure Sets: contours in patient millimetres become label maps on the grid of an image.

A voxel belongs to a structure if its centre lies inside or on a contour of its slice; which contours those are says
`volseg.io.dicom.rtstruct_regions`. Nothing is interpolated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from volseg.core.grid import Grid
from volseg.core.label_choice import LabelChoice, listed
from volseg.core.labelmap import Label, LabelMap, default_colour, keep_colours_apart
from volseg.core.layers import Layers
from volseg.core.volume import Volume
from volseg.core.voxels import smallest_integer
from volseg.errors import InputError
from volseg.io.dicom.rtstruct_file import References, Roi, StructureSet, read_structure_set
from volseg.io.dicom.rtstruct_regions import Drawing, Region, fill, kinds, lay_out, usual_step
from volseg.io.dicom.source import DicomSource
from volseg.io.dicom.storage import DicomFile

_LOG = logging.getLogger(__name__)
_Path = str | Path | DicomFile
_MOST_LAYERS = 100


def read_rtstruct(
    path: _Path, *, image: Volume, choice: LabelChoice | None = None, structures: StructureSet | None = None
) -> tuple[LabelMap, ...]:
    """Read the structures of an RT Structure Set as labels on the grid of an image.

    Parameters
    ----------
    path : path or DicomFile
        The file, with or without preamble.
    image : Volume
        What it was drawn on, or another in that frame of reference; contours must lie across one of its voxel axes.
    choice : LabelChoice, optional
        Which structures are wanted; all, if it is not given. Others are not drawn, so they overlap nothing.
    structures : StructureSet, optional
        What `read_structure_set` has read from the file before.

    Returns
    -------
    tuple of LabelMap
        On `image.grid`; several where structures overlap: each is in the first where it meets no other. Values are the
        ROI numbers (below 1: the next free), repeated names have it behind them; undrawn ones have no voxels.

    Notes
    -----
    On one slice a contour inside another is a hole, overlapping ones are one region (`fill_contours`), CLOSEDPLANAR_XOR
    is exclusive or. What is sound is read; warnings say what is left out or odd: structures and contours that are
    damaged, of another type or across the slices, contours outside the image or between slices, slices without any.

    Raises
    ------
    InputError
        A damaged file or none of this kind, nothing in it that can be read, another frame of reference than the
        image's, or more than 100 structures that overlap each other.
    """
    choice = choice or LabelChoice()
    found = structures or read_structure_set(path if isinstance(path, DicomFile) else Path(path))
    laid = [(roi, lay_out(roi, image.grid)) for roi in _in_frame_of(image, found.references, found.rois, path)]
    sound = _sound(laid, found.faults, choice, path)
    labels = _labels([roi for roi, _ in sound])
    wanted = choice.of(labels, path)
    usual = usual_step([drawing for _, drawing in sound], image.grid)
    pairs = [(label, drawing) for label, (_, drawing) in zip(labels, sound, strict=True) if label in wanted]
    # One after the other: the masks of all would take more memory than the image.
    regions = (_region(label, drawing, image.grid, usual, path) for label, drawing in pairs)
    return _layers(wanted, regions, image.grid, path)


def _sound(
    laid: list[tuple[Roi, Drawing]], faults: dict[str, str], choice: LabelChoice, path: _Path
) -> list[tuple[Roi, Drawing]]:
    """Return the structures that can be read, and name the others; refuse if that is all of them."""
    # Isocentres and markers are no regions; what nobody has drawn yet is one.
    sound = [(roi, drawing) for roi, drawing in laid if drawing.contours or not drawing.left_out]
    reasons = {name: (0, reason) for name, reason in faults.items()}
    empty = ((roi, drawing) for roi, drawing in laid if drawing.left_out and not drawing.contours)
    reasons |= {roi.name or f"roi_{roi.number}": (roi.number, kinds(drawing.left_out)) for roi, drawing in empty}
    texts = {name: f"{name} ({reason})" for name, (_, reason) in reasons.items()}
    if not sound or (faults and not any(drawing.contours for _, drawing in sound)):
        raise InputError(f"{path}: holds nothing that can be read as a label; left out: {listed(list(texts.values()))}")
    if missed := [texts[name] for name, (number, _) in reasons.items() if choice.wants(name, number)]:
        _LOG.warning("%s: left out: %s", path, listed(missed))
    return sound


def _in_frame_of(image: Volume, references: References, rois: list[Roi], path: _Path) -> list[Roi]:
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


def _labels(rois: list[Roi]) -> list[Label]:
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


def _region(label: Label, drawing: Drawing, grid: Grid, usual: float, path: _Path) -> Region:
    region = fill(drawing, grid, usual)
    if region.remarks:
        _LOG.warning("%s: %r: %s", path, label.name, "; ".join(region.remarks))
    return region


def _layers(labels: Sequence[Label], regions: Iterable[Region], grid: Grid, path: _Path) -> tuple[LabelMap, ...]:
    """Put every structure into the first label map in which it meets no other."""
    # Slices across the third axis lie together in memory.
    layers = Layers(grid.shape, smallest_integer(max(label.value for label in labels)), "F", _MOST_LAYERS)
    for label, region in zip(labels, regions, strict=True):
        try:
            layers.add(label, region.planes)
        except OverflowError as error:
            raise InputError(
                f"{path}: more than {_MOST_LAYERS} of its structures overlap each other; choose among them by name "
                "(--only NAME,...)"
            ) from error
    return tuple(LabelMap(array, grid, tuple(members)) for array, members in layers.filled)
