"""Data that a DICOM Segmentation takes from its image: frames, references, patient and study.

highdicom gets stand-ins for the source frames, made from `DicomSource`, as it refuses many real files: those with long
texts, private kinds of image, or an orientation for each frame. When it has made the object, the true references
replace the stand-ins, and patient and study are copied unchanged from the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from volseg.core.grid import RAS_TO_LPS
from volseg.errors import OutputError
from volseg.io.dicom.derived import patient_and_study, read_header, referable_source, references_to
from volseg.io.dicom.source import DicomSource, SourceFrame, stack_of
from volseg.io.dicom.texts import decimal

# Parallel frames may be rotated against each other by this fraction of a pixel at the far edge.
_TURN = 0.1
# Frames closer to each other than this fraction of a pixel are at one position.
_APART = 1e-3
# UIDs of stand-ins for source frames start with this; no true UID does, as 2.25 is followed by only one number.
_STAND_IN = "2.25.0."
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_STUDY = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime")
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "StationName")
_SERIES = ("SeriesNumber", "SliceThickness", "SpacingBetweenSlices")


def checked_source(source: Any, path: Path) -> DicomSource:
    """Return the source of an image if a Segmentation can refer to it and use its frames.

    Parameters
    ----------
    source : any
        `Volume.source`.
    path : Path
        The file to be written, for messages.

    Raises
    ------
    OutputError
        The image is not from DICOM, lacks an identifier, or its frames are not parallel, differ in size or share a
        position.
    """
    checked = referable_source(source, path, "a DICOM Segmentation")
    problem = _problem(checked.frames)
    if problem is not None:
        folder = checked.frames[0].file.folder
        raise OutputError(f"{folder}: {problem}; a DICOM Segmentation cannot refer to it, write .nii.gz")
    return checked


def _problem(frames: Sequence[SourceFrame]) -> str | None:
    """Return the reason why a Segmentation cannot use these frames; empty if it can."""
    if len({(frame.sop_instance_uid, frame.frame) for frame in frames}) < len(frames):
        return "several slices are tiles of one image (mosaic), or an instance is there twice"
    sizes = {(frame.columns, frame.rows) for frame in frames}
    if len(sizes) > 1:
        return f"the frames have {len(sizes)} sizes"
    stack = stack_of(frames)
    if stack.turns_mm.max() > _TURN * stack.pixel_mm:
        return "the frames are not parallel or differ in pixel spacing"
    if len(frames) > 1 and stack.gaps.min() < _APART * stack.pixel_mm:
        return "several frames lie at one position"
    return None


def read_segmentation_header(source: DicomSource) -> Dataset:
    """Read attributes that a Segmentation copies from the first instance; see `volseg.io.dicom.derived.read_header`.

    Parameters
    ----------
    source : DicomSource
        The source of the image.
    """
    return read_header(source, (*_EQUIPMENT, *_SERIES))


def stand_ins(source: DicomSource, header: Dataset, shape: tuple[int, ...]) -> list[Dataset]:
    """Make a classic single-frame header for every frame, with only the attributes that highdicom needs.

    Parameters
    ----------
    source : DicomSource
        The source of the image.
    header : Dataset
        From `read_segmentation_header`.
    shape : (rows, columns)
        Shape of the frames for highdicom.
    """
    columns_rows = RAS_TO_LPS[:3, :3] @ source.frames[0].plane[:3, :2]
    spacing = np.linalg.norm(columns_rows, axis=0)
    template = Dataset()
    template.SOPClassUID = CTImageStorage
    template.StudyInstanceUID, template.SeriesInstanceUID = source.study_uid, source.series_uid
    template.FrameOfReferenceUID = source.frame_of_reference_uid
    template.Modality = "CT"
    for keyword in (*_PATIENT, *_STUDY):
        setattr(template, keyword, None)
    for keyword in (*_EQUIPMENT, "PositionReferenceIndicator"):
        if keyword in header:
            template[keyword] = header[keyword]
    template.Rows, template.Columns = shape
    template.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
    template.ImageOrientationPatient = list(map(decimal, (columns_rows / spacing).T.ravel()))
    _say_distances(template, source.frames, header)
    return [_stand_in(template, number, frame) for number, frame in enumerate(source.frames, start=1)]


def _say_distances(template: Dataset, frames: Sequence[SourceFrame], header: Dataset) -> None:
    """Set the thickness of slices, and their distance if it is the same everywhere."""
    if len(frames) > 1:
        stack = stack_of(frames)
        between, usual = stack.even_gap_mm, float(stack.gaps.mean())
    else:
        between = positive(header, "SpacingBetweenSlices")
        usual = between or 1.0
    template.SliceThickness = decimal(positive(header, "SliceThickness") or usual)
    if between:
        template.SpacingBetweenSlices = decimal(between)


def _stand_in(template: Dataset, number: int, frame: SourceFrame) -> Dataset:
    dataset = Dataset()
    dataset.update(template)
    dataset.SOPInstanceUID = f"{_STAND_IN}{number}"
    dataset.ImagePositionPatient = list(map(decimal, (RAS_TO_LPS @ frame.plane)[:3, 3]))
    return dataset


def positive(header: Dataset, keyword: str) -> float | None:
    """Return a number above 0; None if it is missing.

    Parameters
    ----------
    header : Dataset
        Header of the first instance.
    keyword : str
        The attribute.
    """
    try:
        value = float(header.get(keyword) or 0)
    except (TypeError, ValueError):
        return None
    return value if 0 < value < np.inf else None


def frame_keys(segmentation: Dataset) -> Iterator[tuple[int, int]]:
    """Yield the plane and the segment number (or 0) of every frame while the references are those of stand-ins.

    Parameters
    ----------
    segmentation : Dataset
        The object that highdicom made.
    """
    shared = segmentation.SharedFunctionalGroupsSequence[0].get("SegmentIdentificationSequence")
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        image = item.DerivationImageSequence[0].SourceImageSequence[0]
        identified = item.get("SegmentIdentificationSequence") or shared
        number = identified[0].ReferencedSegmentNumber if identified else 0
        yield _plane_of(image), int(number)


def _plane_of(image: Dataset) -> int:
    return int(image.ReferencedSOPInstanceUID.removeprefix(_STAND_IN)) - 1


def finish(segmentation: Any, source: DicomSource, header: Dataset) -> None:
    """Replace the references to stand-ins by the true ones, and copy patient and study.

    Parameters
    ----------
    segmentation : highdicom Segmentation
        The object made with `stand_ins`; it is changed.
    source : DicomSource
        The source of the image.
    header : Dataset
        From `read_segmentation_header`.
    """
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        (image,) = item.DerivationImageSequence[0].SourceImageSequence
        # Frames at one position share this item.
        if image.ReferencedSOPInstanceUID.startswith(_STAND_IN):
            frame = source.frames[_plane_of(image)]
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
            if frame.frame is not None:
                image.ReferencedFrameNumber = frame.frame
    references = references_to(source)
    segmentation.SourceImageSequence = references
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = references
    inherited = patient_and_study(header)
    del inherited.PositionReferenceIndicator  # highdicom took it from the stand-ins
    segmentation.update(inherited)
    charset = header.get("SpecificCharacterSet")
    for segment in segmentation.SegmentSequence:
        if not segment.get("TrackingID", "").isascii():
            charset = "ISO_IR 192"
    if charset:
        segmentation.SpecificCharacterSet = charset
