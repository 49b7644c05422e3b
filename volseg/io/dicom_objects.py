"""What a DICOM segmentation or structure set says of itself: names, and the series that it belongs to; no pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.errors import InputError
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom_files import DicomFile
from volseg.io.dicom_header import OtherObject, open_dataset
from volseg.io.dicom_series import Scan, is_dicom
from volseg.io.names import ITK_SUFFIXES, NIFTI_SUFFIXES, has_suffix

_TAGS = [
    "SOPClassUID",
    "FrameOfReferenceUID",
    "SegmentSequence",
    "ReferencedSeriesSequence",
    "StructureSetROISequence",
    "ReferencedFrameOfReferenceSequence",
]
_LABEL_OBJECTS = ("Segmentation", "Label Map Segmentation", "RT Structure Set")
# Sequence of the structures, and the attribute that names one.
_NAMES = {"SegmentSequence": "SegmentLabel", "StructureSetROISequence": "ROIName"}


@dataclass(frozen=True)
class SeriesReference:
    """Which DICOM series something is or refers to.

    Parameters
    ----------
    series_uids : tuple of str
        SeriesInstanceUID of each; none where nothing is said.
    frame_of_reference_uid : str
        Of the patient space; empty where nothing is said.
    """

    series_uids: tuple[str, ...]
    frame_of_reference_uid: str


@dataclass(frozen=True)
class LabelObject:
    """A segmentation or structure set by its header: the names of its structures, and where it belongs."""

    names: tuple[str, ...]
    reference: SeriesReference


def is_dicom_input(path: Path) -> bool:
    """Whether `volseg.io.read` takes a path for DICOM: by content, but for files named as another format."""
    named_otherwise = path.is_file() and has_suffix(path, (*NIFTI_SUFFIXES, *ITK_SUFFIXES))
    return not named_otherwise and is_dicom(path)


def label_objects(scan: Scan) -> list[OtherObject]:
    """Return the segmentations and structure sets among the objects of a file, folder or archive."""
    return [other for other in scan.others if other.kind in _LABEL_OBJECTS]


def is_structure_set(other: OtherObject) -> bool:
    """Whether it is an RTSTRUCT: contours, which have no grid of their own."""
    return other.kind == "RT Structure Set"


def read_label_object(file: DicomFile) -> LabelObject:
    """Read the header of a DICOM segmentation or structure set.

    Raises
    ------
    InputError
        The file is damaged.
    """
    try:
        with quiet_pydicom():
            dataset = open_dataset(file, stop_before_pixels=True, specific_tags=_TAGS)
            names = tuple(
                text_of(item, keyword) or "(no name)"
                for sequence, keyword in _NAMES.items()
                for item in dataset.get(sequence) or ()
                if item.get("SegmentNumber") != 0  # the background of a label map segmentation
            )
            series = tuple(dict.fromkeys(filter(None, _series_uids(dataset))))
            return LabelObject(names, SeriesReference(series, _frame_of_reference(dataset)))
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: damaged DICOM object ({reason}); copy it again") from error


def _series_uids(dataset: Any) -> Iterator[str]:
    for item in dataset.get("ReferencedSeriesSequence") or ():
        yield text_of(item, "SeriesInstanceUID")
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                yield text_of(item, "SeriesInstanceUID")


def _frame_of_reference(dataset: Any) -> str:
    """Return the object's own; a structure set names it with what it refers to, or with each structure."""
    if uid := text_of(dataset, "FrameOfReferenceUID"):
        return uid
    items = [
        *(dataset.get("ReferencedFrameOfReferenceSequence") or ()),
        *(dataset.get("StructureSetROISequence") or ()),
    ]
    uids = (text_of(item, "FrameOfReferenceUID", "ReferencedFrameOfReferenceUID") for item in items)
    return next(filter(None, uids), "")
