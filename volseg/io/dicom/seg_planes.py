"""Positions of the frames of a DICOM Segmentation, read as those of a multi-frame image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from volseg.core.grid import RAS_TO_LPS, Float
from volseg.errors import InputError
from volseg.io.dicom.attributes import Attributes, number_of, numbers_of, text_of
from volseg.io.dicom.frames import attributes_of_frames
from volseg.io.dicom.planes import PlaneStack, directions_of, levels_of, normal_of, planes_of
from volseg.io.dicom.storage import DicomFile

_GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "SegmentIdentificationSequence",
)
# Positions closer than this fraction of a pixel are the same.
_SAME = 0.01
# Directions and pixel spacings that differ by less are the same.
_ALIKE = 1e-3
# Words in the class names of images with a position in a patient.
_CROSS_SECTIONS = ("CT Image", "MR Image", "MR Color", "Positron Emission", "Nuclear Medicine", "Volume", "Tomo")


@dataclass(frozen=True, eq=False, slots=True)
class SegmentFrames:
    """The position and the segment of each frame.

    Parameters
    ----------
    file : DicomFile
        The Segmentation.
    stack : PlaneStack
        The planes with frames, RAS+.
    planes : (F,) intp
        The plane of each frame.
    segments : list of F ints
        The segment number of each frame; 0 in a label map segmentation, whose frames hold all segments.
    spacing, thickness : float or None
        Spacing between slices and thickness of a slice in the file, mm.
    frame_of_reference_uid : str
        FrameOfReferenceUID of the patient space; empty if missing.
    """

    file: DicomFile
    stack: PlaneStack
    planes: NDArray[np.intp]
    segments: list[int]
    spacing: float | None
    thickness: float | None
    frame_of_reference_uid: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(planes, rows, columns)."""
        return len(self.stack.planes), self.stack.rows, self.stack.columns


class _FramePlace(NamedTuple):
    """A frame in the form of `volseg.io.dicom.planes.Placed`."""

    file: DicomFile
    number: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None

    def __str__(self) -> str:
        return f"{self.file} (frame {self.number})"


def without_place(dataset: Any) -> str | None:
    """Describe the image of a valid Segmentation if it has no position in a patient: a slide, a projection.

    Parameters
    ----------
    dataset : Dataset
        The Segmentation with its functional groups and references.

    Returns
    -------
    str or None
        None if it has a position, or should have one.
    """
    groups = Dataset()
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):  # the latter may be long
        groups = (dataset.get(keyword) or [Dataset()])[0]
        if "PlanePositionSequence" in groups or "PlaneOrientationSequence" in groups:
            return None
    if "PlanePositionSlideSequence" in groups or "ImageOrientationSlide" in dataset:
        return "a whole-slide image, which has tiles of a microscope slide as frames"
    source = _source_class(dataset)
    if _may_be_cross_section(source) and text_of(dataset, "FrameOfReferenceUID"):
        return None
    return f"a projection or other image without a position in the patient ({source or 'unknown'})"


def _may_be_cross_section(source: str) -> bool:
    return not source or any(kind in source for kind in _CROSS_SECTIONS)


def not_read(what: str) -> str:
    """Explain why a Segmentation without a position in a patient is not read.

    Parameters
    ----------
    what : str
        From `without_place`.
    """
    return f"is a valid segmentation of {what}; not read, as volseg reads only those of slices (CT, MR, PET)"


def _source_class(dataset: Any) -> str:
    """Return the kind of image that a Segmentation refers to; empty if missing."""
    images = dataset.get("SourceImageSequence")
    if not images:
        series = dataset.get("ReferencedSeriesSequence") or [Dataset()]
        images = series[0].get("ReferencedInstanceSequence") or [Dataset()]
    return str(UID(text_of(images[0], "ReferencedSOPClassUID")).name)


def read_frames(dataset: Dataset, file: DicomFile) -> SegmentFrames:
    """Find the planes of the frames of a Segmentation.

    Parameters
    ----------
    dataset : Dataset
        The Segmentation.
    file : DicomFile
        Its file, for messages.

    Raises
    ------
    InputError
        The position of a frame is missing or unusable, the frames have several orientations, or frames at one height
        are shifted against each other.
    ValueError
        The number of described frames differs from NumberOfFrames, or an attribute has impossible values.
    """
    frames = list(attributes_of_frames(dataset, _GROUPS))
    planes = _parallel_planes(frames, file)
    normal = normal_of(planes[0])
    positions = planes[:, :3, 3]
    same = _SAME * float(np.linalg.norm(planes[0, :3, :2], axis=0).min())
    levels = levels_of(positions @ normal, same)
    _, firsts = np.unique(levels, return_index=True)
    if np.abs(positions - positions[firsts][levels]).max() > same:
        raise InputError(f"{file}: frames of one plane are shifted against each other; expected one position for each")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    return SegmentFrames(
        file=file,
        stack=PlaneStack(planes=planes[firsts], normal=normal, columns=columns, rows=rows),
        planes=levels,
        segments=_segments(dataset, frames),
        spacing=_length(frames, "SpacingBetweenSlices"),
        thickness=_length(frames, "SliceThickness"),
        frame_of_reference_uid=text_of(dataset, "FrameOfReferenceUID"),
    )


def _parallel_planes(frames: Sequence[Attributes], file: DicomFile) -> Float:
    """(F, 4, 4) planes of the frames, RAS+, all with the directions and pixel spacing of the first."""
    positions = _numbers_of_frames(frames, "ImagePositionPatient", 3)
    orientations = _numbers_of_frames(frames, "ImageOrientationPatient", 6)
    spacings = _numbers_of_frames(frames, "PixelSpacing", 2)
    places = []
    for number, (position, orientation, spacing) in enumerate(zip(positions, orientations, spacings, strict=True), 1):
        places.append(_FramePlace(file, number, position, orientation, spacing))
    directions = directions_of(places)
    planes = RAS_TO_LPS @ planes_of(places, directions)
    scales = np.linalg.norm(planes[:, :3, :2], axis=1)
    if max(np.ptp(directions, axis=0).max(), np.ptp(scales, axis=0).max()) > _ALIKE:
        raise InputError(f"{file}: its frames have several orientations or pixel spacings; expected one; split it")
    planes[:, :3, :2] = planes[0, :3, :2]
    return planes


def _numbers_of_frames(frames: Sequence[Attributes], keyword: str, count: int) -> list[tuple[float, ...] | None]:
    """Return the numbers of an attribute in every frame; a value that frames share is read once."""
    read: dict[int, tuple[float, ...] | None] = {}
    numbers = []
    for frame in frames:
        value = id(frame.get(keyword))
        if value not in read:
            read[value] = numbers_of(frame, keyword, count)
        numbers.append(read[value])
    return numbers


def _segments(dataset: Dataset, frames: Sequence[Attributes]) -> list[int]:
    if dataset.SegmentationType == "LABELMAP":
        return [0] * len(frames)
    numbers = []
    for frame in frames:
        number = frame.get("ReferencedSegmentNumber")
        if number is None:
            raise ValueError("a frame has no ReferencedSegmentNumber")
        numbers.append(int(number))
    return numbers


def _length(frames: Sequence[Attributes], keyword: str) -> float | None:
    """Return the first length above 0 in the frames."""
    for frame in frames:
        length = number_of(frame, keyword, 0)
        if length > 0:
            return length
    return None
