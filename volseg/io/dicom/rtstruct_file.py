"""Content of an RT Structure Set: its structures, each read separately, so that a fault affects only one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from volseg.core.grid import RAS_TO_LPS, Float
from volseg.core.labelmap import OTHER_ALGORITHMS, Colour
from volseg.core.voxels import FARTHEST_MM
from volseg.errors import InputError
from volseg.files.plain_text import plain
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.texts import read_code

_STRUCTURE_SET, _XOR = "1.2.840.10008.5.1.4.1.1.481.3", "CLOSEDPLANAR_XOR"
_CLOSED, _OPEN = ("CLOSED_PLANAR", _XOR), ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
_UNDEFINED, _FEWEST_POINTS = 0xFFFFFFFF, 3
# Contours may reach beyond a scan, which itself may lie far from the origin.
_FARTHEST_POINT_MM = 10 * FARTHEST_MM
# About 400,000 points; each coordinate is a text before it becomes a number.
_LONGEST_CONTOUR = 1 << 23


class References(NamedTuple):
    """The series of a structure set, and the frames of reference (usually one) of its coordinates; empty if missing."""

    series_uids: tuple[str, ...]
    frame_of_reference_uids: tuple[str, ...]


class Roi(NamedTuple):
    """A structure in the file.

    `contours` are the closed ones, as (is XOR, (P, 3) mm RAS+). `left_out` counts the other contours by kind; `odd`
    counts the closed ones with a harmless fault.
    """

    number: int
    name: str
    colour: Colour | None
    code: str | None
    algorithm: str | None
    frame_of_reference_uid: str
    contours: list[tuple[bool, Float]]
    left_out: Counter[str]
    odd: Counter[str]


@dataclass(frozen=True)
class StructureSet:
    """Readable structures, and the reasons why others cannot be read, by their names."""

    references: References
    rois: list[Roi]
    faults: dict[str, str]

    @property
    def contours(self) -> list[Float]:
        """All readable closed contours: (P, 3) points each, mm RAS+."""
        contours = []
        for roi in self.rois:
            for _, points in roi.contours:
                contours.append(points)
        return contours


def read_structure_set(path: Path | DicomFile) -> StructureSet:
    """Read the structures of a file; see `volseg.io.dicom.rtstruct_reading.read_rtstruct`.

    Parameters
    ----------
    path : Path or DicomFile
        The file.

    Raises
    ------
    InputError
        The file does not exist, is damaged, or is of another kind.
    """
    file = path if isinstance(path, DicomFile) else DicomFile(path)
    if file.content is None and not file.path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    with quiet_pydicom():
        try:
            dataset = open_dataset(file)
            kind = text_of(dataset, "SOPClassUID") or text_of(dataset.file_meta, "MediaStorageSOPClassUID")
            if kind != _STRUCTURE_SET:
                raise InputError(f"{path}: is of class {kind or 'unknown'}; expected an RT Structure Set")
            _check_complete(dataset)
            return _structures(dataset)
        except DAMAGE as error:
            raise InputError(f"{path}: is damaged or not an RT Structure Set ({error}); copy it again") from error


def count(number: int, what: str) -> str:
    """Return a number with its noun: ``1 contour``, ``2 contours``.

    Parameters
    ----------
    number : int
        The number.
    what : str
        The noun in the singular.
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def _check_complete(dataset: Any) -> None:
    """Refuse a file that ends within an element: pydicom would read it without a warning."""
    for element in map(dataset.get_item, list(dataset.keys())):
        if element.is_raw and len(element.value or b"") < element.length < _UNDEFINED:
            raise ValueError(f"ends within element {element.tag}, the file is cut off")


def _items(dataset: Any, keyword: str) -> Sequence[Any]:
    return dataset.get(keyword) or ()


def _references(dataset: Any) -> References:
    series_uids, spaces = [], []
    for frame in _items(dataset, "ReferencedFrameOfReferenceSequence"):
        spaces.append(text_of(frame, "FrameOfReferenceUID"))
        for study in _items(frame, "RTReferencedStudySequence"):
            for series in _items(study, "RTReferencedSeriesSequence"):
                series_uids.append(text_of(series, "SeriesInstanceUID"))
    spaces.append(text_of(dataset, "FrameOfReferenceUID"))
    for roi in _items(dataset, "StructureSetROISequence"):
        spaces.append(text_of(roi, "ReferencedFrameOfReferenceUID"))
    return References(tuple(dict.fromkeys(filter(None, series_uids))), tuple(dict.fromkeys(filter(None, spaces))))


def _structures(dataset: Any) -> StructureSet:
    references = _references(dataset)
    frame = references.frame_of_reference_uids[0] if references.frame_of_reference_uids else ""
    listed = _by_number(dataset, "StructureSetROISequence", "ROINumber")
    drawn = _by_number(dataset, "ROIContourSequence", "ReferencedROINumber")
    observed = _by_number(dataset, "RTROIObservationsSequence", "ReferencedROINumber")
    if listed and not drawn:
        raise ValueError("ROIContourSequence is missing, the file may be cut off")
    rois, faults = [], {}
    for number, items in listed.items():
        drawings = drawn.pop(number, [])
        try:
            _check_number(number, len(items), len(drawings))
            drawing, observation = (drawings or [{}])[0], observed.get(number, [{}])[0]
            rois.append(_roi(number, items[0], drawing, observation, frame))
        except DAMAGE as error:
            for item in items:
                faults[_called(item, number)] = str(error)
    for number in drawn:
        whose = "contours" if number is None else f"contours of ROI {number}"
        faults[whose] = "no structure has that number"
    return StructureSet(references, rois, faults)


def _by_number(dataset: Any, sequence: str, keyword: str) -> dict[int | None, list[Any]]:
    """Return the items of a sequence by ROI number; None for items without a number."""
    found: dict[int | None, list[Any]] = {}
    for item in _items(dataset, sequence):
        try:
            number = int(item[keyword].value)
        except DAMAGE:
            number = None
        found.setdefault(number, []).append(item)
    return found


def _check_number(number: int | None, listed: int, drawn: int) -> None:
    if number is None:
        raise ValueError("it has no ROI number")
    if max(listed, drawn) > 1:
        where = "listed" if listed > 1 else "drawn"
        raise ValueError(f"ROI {number} is {where} twice, so its contours are ambiguous")


def _called(item: Any, number: int | None) -> str:
    return plain(text_of(item, "ROIName")) or f"roi_{number}"


def _roi(number: int | None, item: Any, drawing: Any, observation: Any, frame: str) -> Roi:
    assert number is not None
    contours: list[tuple[bool, Float]] = []
    left_out: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    for contour in _items(drawing, "ContourSequence"):
        kind = text_of(contour, "ContourGeometricType")
        try:
            points = _points(contour)
        except DAMAGE:
            left_out["with damaged coordinates"] += 1
            continue
        if flaw := _flaw(kind, len(points)):
            left_out[flaw] += 1
            continue
        contours.append((kind.upper() == _XOR, points))
        odd.update([f"of the type {kind!r}, which should be {kind.upper()}"] if kind != kind.upper() else [])
    made = text_of(item, "ROIGenerationAlgorithm")
    return Roi(
        number,
        plain(text_of(item, "ROIName")),
        _colour(drawing),
        _code(observation),
        made if made in OTHER_ALGORITHMS else None,
        text_of(item, "ReferencedFrameOfReferenceUID") or frame,
        contours,
        left_out,
        odd,
    )


def _flaw(kind: str, points: int) -> str | None:
    """Describe the type of a contour that is not closed."""
    if not kind:
        return "without a type (ContourGeometricType)"
    if kind.upper() not in _CLOSED:
        return f"of the type {kind}" if kind in _OPEN else f"of the unknown type {kind!r}"
    return None if points >= _FEWEST_POINTS else f"of fewer than {_FEWEST_POINTS} points"


def _points(contour: Any) -> Float:
    """Return the points of an item of a ContourSequence: (P, 3) mm RAS+; raises ValueError for other values."""
    value = contour.get_item("ContourData").value if "ContourData" in contour else None
    # Usually still the bytes of the file: one pydicom object for each coordinate would take 50 times as long.
    if isinstance(value, bytes) and len(value) > _LONGEST_CONTOUR:
        raise ValueError(f"a contour has {len(value)} bytes; expected at most {_LONGEST_CONTOUR}")
    if isinstance(value, bytes):
        value = value.decode("ascii").strip(" \0").split("\\") if value.strip(b" \0") else []
    numbers = np.array([float(number) for number in np.ravel(value or [])])
    if numbers.size % 3 or not (np.abs(numbers) < _FARTHEST_POINT_MM).all():
        raise ValueError(
            f"a contour has {numbers.size} coordinates; expected triples of millimetres below {_FARTHEST_POINT_MM:g}"
        )
    return numbers.reshape(-1, 3) @ RAS_TO_LPS[:3, :3]


def _colour(drawing: Any) -> Colour | None:
    try:
        red, green, blue = map(int, drawing.get("ROIDisplayColor"))
    except DAMAGE:
        return None
    return (red, green, blue) if 0 <= min(red, green, blue) <= max(red, green, blue) <= 255 else None


def _code(observation: Any) -> str | None:
    codes = _items(observation, "RTROIIdentificationCodeSequence")
    return read_code(codes[0]) if codes else None
