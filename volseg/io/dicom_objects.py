"""What a DICOM segmentation or structure set says of itself: names, and the scan that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.errors import AmbiguousError, InputError
from volseg.io import read
from volseg.io.dicom import read_stack
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom_choice import choose_series
from volseg.io.dicom_files import DicomFile
from volseg.io.dicom_header import OtherObject, open_dataset
from volseg.io.dicom_seg_planes import not_read, without_place
from volseg.io.dicom_series import Scan, Series, is_dicom, list_series, scan_dicom
from volseg.io.names import ITK_SUFFIXES, NIFTI_SUFFIXES, has_suffix
from volseg.io.plain_text import plain
from volseg.volume import Volume

_TAGS = [
    "SOPClassUID",
    "FrameOfReferenceUID",
    "SegmentSequence",
    "ReferencedSeriesSequence",
    "SourceImageSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ImageOrientationSlide",
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
    """A segmentation or structure set by its header: the names of its structures, and where it belongs.

    `problem` says why it is not read, though it is sound.
    """

    file: DicomFile
    names: tuple[str, ...]
    reference: SeriesReference
    is_contours: bool
    problem: str | None = None


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
                plain(text_of(item, keyword)) or "(no name)"
                for sequence, keyword in _NAMES.items()
                for item in dataset.get(sequence) or ()
                if item.get("SegmentNumber") != 0  # the background of a label map segmentation
            )
            series = tuple(dict.fromkeys(filter(None, _series_uids(dataset))))
            reference = SeriesReference(series, _frame_of_reference(dataset))
            is_contours = "StructureSetROISequence" in dataset
            what = None if is_contours else without_place(dataset)
            return LabelObject(file, names, reference, is_contours, not_read(what) if what else None)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: damaged DICOM object ({reason}); copy it again") from error


def find_label_object(path: Path) -> LabelObject | None:
    """Read the header of the one segmentation or structure set at a path; None where there is none, or several."""
    found = label_objects(scan_dicom(path)) if is_dicom_input(path) else []
    return read_label_object(found[0].file) if len(found) == 1 else None


def choose_series_of(
    labels: LabelObject | None, series: list[Series], path: Path, *, wanted: str | None = None
) -> Series:
    """Choose a series as `choose_series`, but of several that of which a label object says that it was made on it."""
    try:
        return choose_series(series, path, wanted)
    except AmbiguousError:
        own = () if labels is None or wanted is not None else labels.reference.series_uids
        found = [entry for entry in series if entry.id.partition("#")[0] in own]
        if len(found) != 1:
            raise
        return found[0]


def read_scan_of(labels: Path, image: Path, *, series: str | None = None, strict: bool = False) -> Volume:
    """Read an image as `volseg.read` does; of several series the one that the labels were made on, if they say so."""
    if series is not None or not is_dicom_input(image):
        return read(image, series=series, strict=strict)
    chosen = choose_series_of(find_label_object(labels), list_series(image), image)
    return read_stack(chosen, image, strict=strict)


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
