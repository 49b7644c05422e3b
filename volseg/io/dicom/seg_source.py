"""What a DICOM Segmentation takes from the image that it belongs to: frames, references, patient and study.

highdicom is given stand-ins for the source frames, made of what `DicomSource` knows, as it refuses much of what real
files hold: long texts, private kinds of image, orientations frame by frame. Once it has laid out the object, the true
references take their place, and what belongs to patient and study is taken over from the source as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DSfloat

from volseg.core.grid import RAS_TO_LPS
from volseg.errors import OutputError
from volseg.io.dicom.attributes import DAMAGE, text_of
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.patient import patient_and_study, reference_to
from volseg.io.dicom.source import DicomSource, SourceFrame, stack_of

_LOG = logging.getLogger(__name__)

# Parallel frames may be turned against each other by this part of a pixel at the far edge.
_TURN = 0.1
# Frames that are nearer to each other than this part of a pixel are in one place.
_APART = 1e-3
# Stand-ins for source frames are called this and their number; no true UID is (below 2.25 is one number only).
_STAND_IN = "2.25.0."
# Where patient, study and equipment are described; damage elsewhere in the source does not matter.
_GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_STUDY = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime")
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "StationName")


def checked_source(source: Any, path: Path) -> DicomSource:
    """Return the source if a Segmentation can refer to it and lie on its frames."""
    if not isinstance(source, DicomSource) or not source.frames:
        raise OutputError(f"{path}: the image is not from DICOM, which a DICOM Segmentation refers to; write .nii.gz")
    frames = source.frames
    if source.missing:
        missing = ", ".join(source.missing)
        raise OutputError(f"{frames[0].file}: has no {missing}, which a DICOM Segmentation refers to; write .nii.gz")
    problem = _problem(frames)
    if problem is not None:
        raise OutputError(f"{frames[0].file.folder}: {problem}; a DICOM Segmentation cannot refer to it, write .nii.gz")
    return source


def _problem(frames: Sequence[SourceFrame]) -> str | None:
    """Say why a Segmentation cannot lie on these frames."""
    if len({(frame.sop_instance_uid, frame.frame) for frame in frames}) < len(frames):
        return "several slices are tiles of one picture (mosaic) or one instance was met twice"
    sizes = {(frame.columns, frame.rows) for frame in frames}
    if len(sizes) > 1:
        return f"the frames have {len(sizes)} sizes"
    stack = stack_of(frames)
    if stack.turns_mm.max() > _TURN * stack.pixel_mm:
        return "the frames are not parallel or differ in pixel spacing"
    if len(frames) > 1 and stack.gaps.min() < _APART * stack.pixel_mm:
        return "several frames lie in one place"
    return None


def read_first_header(source: DicomSource) -> Dataset:
    """Read what is said of patient, study and equipment in the first instance; what cannot be read is left out."""
    first = source.frames[0]
    try:
        dataset = open_dataset(first.file, stop_before_pixels=True)
        uid = text_of(dataset, "SOPInstanceUID")
    except DAMAGE as error:
        raise OutputError(f"{first.file}: the image's file cannot be read any more ({error})") from error
    if uid != first.sop_instance_uid:
        raise OutputError(f"{first.file}: is now the instance {uid!r}, not that which was read; read the image again")
    header = Dataset()
    for tag in dataset.keys():  # noqa: SIM118 (a loop over values would convert them all)
        if tag.group in _GROUPS:
            try:
                header.add(_decoded(dataset[tag]))
            except DAMAGE as error:
                _LOG.warning("%s: %s is damaged and not taken over (%s)", first.file, tag, error)
    return header


def _decoded(element: Any) -> Any:
    if element.VR == "SQ":
        for item in element.value:
            item.decode()
    return element


def stand_ins(source: DicomSource, header: Dataset, shape: tuple[int, ...]) -> list[Dataset]:
    """Make a classic single-frame header for every frame, with nothing in it that highdicom does not need."""
    frames = source.frames
    columns_rows = RAS_TO_LPS[:3, :3] @ frames[0].plane[:3, :2]
    spacing = np.linalg.norm(columns_rows, axis=0)
    stack = stack_of(frames)
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
    template.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    template.ImageOrientationPatient = [_decimal(cosine) for cosine in (columns_rows / spacing).T.ravel()]
    between = stack.even_gap_mm if len(frames) > 1 else positive(header, "SpacingBetweenSlices")
    usual = float(stack.gaps.mean()) if len(frames) > 1 else between
    template.SliceThickness = _decimal(positive(header, "SliceThickness") or usual or 1.0)
    if between:
        template.SpacingBetweenSlices = _decimal(between)
    return [_stand_in(template, number, frame) for number, frame in enumerate(frames, start=1)]


def _stand_in(template: Dataset, number: int, frame: SourceFrame) -> Dataset:
    dataset = Dataset()
    dataset.update(template)
    dataset.SOPInstanceUID = f"{_STAND_IN}{number}"
    dataset.ImagePositionPatient = [_decimal(x) for x in (RAS_TO_LPS @ frame.plane)[:3, 3]]
    return dataset


def _decimal(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)


def positive(header: Dataset, keyword: str) -> float | None:
    """Return a number above 0; None where the header has none."""
    try:
        value = float(header.get(keyword) or 0)
    except (TypeError, ValueError):
        return None
    return value if 0 < value < np.inf else None


def frame_keys(segmentation: Dataset) -> Iterator[tuple[int, int]]:
    """Yield the plane of every frame, and its segment number or 0, while the references are those to stand-ins."""
    shared = segmentation.SharedFunctionalGroupsSequence[0].get("SegmentIdentificationSequence")
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        image = item.DerivationImageSequence[0].SourceImageSequence[0]
        identified = item.get("SegmentIdentificationSequence") or shared
        number = identified[0].ReferencedSegmentNumber if identified else 0
        yield _plane_of(image), int(number)


def _plane_of(image: Dataset) -> int:
    return int(image.ReferencedSOPInstanceUID.removeprefix(_STAND_IN)) - 1


def finish(segmentation: Any, source: DicomSource, header: Dataset) -> None:
    """Put the true references in the place of those to stand-ins, and take over what belongs to patient and study."""
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        (image,) = item.DerivationImageSequence[0].SourceImageSequence
        # Frames of one place share this item.
        if image.ReferencedSOPInstanceUID.startswith(_STAND_IN):
            frame = source.frames[_plane_of(image)]
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
            if frame.frame is not None:
                image.ReferencedFrameNumber = frame.frame
    references = [reference_to(*instance) for instance in source.instances]
    segmentation.SourceImageSequence = references
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = references
    inherited = patient_and_study(header)
    del inherited.PositionReferenceIndicator  # highdicom has it from the stand-ins
    segmentation.update(inherited)
    texts = (segment.get("TrackingID", "") for segment in segmentation.SegmentSequence)
    charset = header.get("SpecificCharacterSet") if all(map(str.isascii, texts)) else "ISO_IR 192"
    if charset:
        segmentation.SpecificCharacterSet = charset
