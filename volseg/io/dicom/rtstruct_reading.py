"""Read DICOM RT Structure Sets: contours in patient mm become label maps on the grid of an image.

A voxel belongs to a structure if its centre lies inside or on a contour of its slice.
`volseg.io.dicom.rtstruct_regions` assigns contours to slices. Nothing is interpolated.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

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
        The image of the structure set, or another in its frame of reference; contours must lie across a voxel axis.
    choice : LabelChoice, optional
        The wanted structures; the default is all. Others are not drawn, so they overlap nothing.
    structures : StructureSet, optional
        The result of `read_structure_set`, if the file has been read already.

    Returns
    -------
    tuple of LabelMap
        On `image.grid`; several if structures overlap: each structure is in the first map in which it overlaps no
        other. Values are the ROI numbers (the next free one for a number below 1); repeated names get it as a suffix.
        Structures without contours have no voxels.

    Notes
    -----
    On one slice a contour inside another is a hole, overlapping ones are one region (`fill_contours`), CLOSEDPLANAR_XOR
    is exclusive or. Valid structures are read. Warnings name structures and contours that are damaged, of another type
    or across the slices, contours outside the image or between slices, and slices without a contour.

    Raises
    ------
    InputError
        The file is damaged, of another kind, or has no readable structure; its frame of reference is not the image's;
        or more than 100 structures overlap each other.
    """
    choice = choice or LabelChoice()
    found = structures or read_structure_set(path if isinstance(path, DicomFile) else Path(path))
    drawn = []
    for roi in _in_frame_of(image, found.references, found.rois, path):
        drawn.append((roi, lay_out(roi, image.grid)))
    rois, drawings = [], []
    for roi, drawing in _sound(drawn, found.faults, choice, path):
        rois.append(roi)
        drawings.append(drawing)
    labels = _labels(rois)
    wanted = choice.of(labels, path)
    usual = usual_step(drawings, image.grid)
    # Slices across the third axis are contiguous in memory.
    dtype = smallest_integer(max(label.value for label in wanted))
    layers = Layers(image.grid.shape, dtype, "F", _MOST_LAYERS)
    # One after the other: all masks together would take more memory than the image.
    for label, drawing in zip(labels, drawings, strict=True):
        if label in wanted:
            _add(layers, label, fill(drawing, image.grid, usual), path)
    return tuple(LabelMap(array, image.grid, tuple(members)) for array, members in layers.filled)


def _sound(
    drawn: list[tuple[Roi, Drawing]], faults: dict[str, str], choice: LabelChoice, path: _Path
) -> list[tuple[Roi, Drawing]]:
    """Return the readable structures, and name the others; refuse a file without readable structures."""
    sound, others = _readable(drawn)
    reasons = {}
    for name, fault in faults.items():
        reasons[name] = 0, fault
    texts, missed = [], []
    for name, (number, reason) in (reasons | others).items():
        text = f"{name} ({reason})"
        texts.append(text)
        if choice.wants(name, number):
            missed.append(text)
    has_contours = any(drawing.contours for _, drawing in sound)
    if not sound or (faults and not has_contours):
        raise InputError(f"{path}: holds no structure that can be read as a label; left out: {listed(texts)}")
    if missed:
        _LOG.warning("%s: left out: %s", path, listed(missed))
    return sound


def _readable(drawn: list[tuple[Roi, Drawing]]) -> tuple[list[tuple[Roi, Drawing]], dict[str, tuple[int, str]]]:
    """Return the structures that are regions, and the number and reason of the others by name."""
    sound = []
    others: dict[str, tuple[int, str]] = {}
    for roi, drawing in drawn:
        # Isocentres and markers are not regions; a structure without contours is one.
        if drawing.contours or not drawing.left_out:
            sound.append((roi, drawing))
        else:
            others[roi.name or f"roi_{roi.number}"] = roi.number, kinds(drawing.left_out)
    return sound, others


def _in_frame_of(image: Volume, references: References, rois: list[Roi], path: _Path) -> list[Roi]:
    """Leave out structures in another space than the image's; refuse if all are."""
    source = image.source if isinstance(image.source, DicomSource) else DicomSource("", "", "", ())
    frame = source.frame_of_reference_uid
    uids = {roi.frame_of_reference_uid for roi in rois}
    _warn_of_no_frame(frame, uids, path)
    foreign = uids - {"", frame} if frame else set()
    if not foreign:
        return rois
    if source.series_uid in references.series_uids:
        _LOG.warning("%s: has another frame of reference than the series that it refers to; read anyway", path)
        return rois
    own, names = [], []
    for roi in rois:
        if roi.frame_of_reference_uid in foreign:
            names.append(repr(roi.name))
        else:
            own.append(roi)
    if not own:
        raise InputError(f"{path}: its frame of reference is {min(foreign)}, the image's {frame}; give its own image")
    _LOG.warning("%s: left out, as their frame of reference is not the image's: %s", path, ", ".join(names))
    return own


def _warn_of_no_frame(frame: str, uids: Collection[str], path: _Path) -> None:
    if not frame or "" in uids:
        whose = "it" if frame else "the image"
        _LOG.warning("%s: %s has no frame of reference, so they may not belong together", path, whose)


def _labels(rois: list[Roi]) -> list[Label]:
    numbers = {roi.number for roi in rois}
    labels: dict[str, Label] = {}
    taken: set[int] = set()
    coloured = set()
    free = 1
    for roi in rois:
        value = roi.number
        if value < 1 or value in taken:
            while free in numbers:
                free += 1
            value = free
            free += 1
        name = roi.name or f"roi_{value}"
        while name in labels:
            name = f"{name}_{value}"
        labels[name] = Label(value, name, roi.colour or default_colour(value, name), roi.code, roi.algorithm)
        taken.add(value)
        if roi.colour:
            coloured.add(value)
    return list(keep_colours_apart(labels.values(), coloured))


def _add(layers: Layers, label: Label, region: Region, path: _Path) -> None:
    """Put a structure into the first label map in which it overlaps no other."""
    if region.remarks:
        _LOG.warning("%s: %r: %s", path, label.name, "; ".join(region.remarks))
    try:
        layers.add(label, region.planes)
    except OverflowError as error:
        raise InputError(
            f"{path}: more than {_MOST_LAYERS} of its structures overlap each other; choose among them by name "
            "(--only NAME,...)"
        ) from error
