"""What a DICOM segmentation or structure set says of itself: names, and the scan that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.errors import AmbiguousError, InputError
from volseg.files.names import IMAGE_SUFFIXES, has_suffix
from volseg.files.plain_text import plain
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom.choice import choose_series
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.header import OtherObject
from volseg.io.dicom.seg_planes import not_read, without_place
from volseg.io.dicom.series import Listing, Series, is_dicom, scan_dicom
from volseg.io.dicom.storage import DicomFile

_TAGS = [
    "SOPClassUID",
    "PatientID",
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
_INSTANCES = ("ReferencedInstanceSequence", "ContourImageSequence", "SourceImageSequence")
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
    instance_uids : frozenset of str
        SOPInstanceUID of its slices, which tell volumes of one series apart; none where nothing is said.
    patient_id : str
        PatientID; empty where nothing is said.
    """

    series_uids: tuple[str, ...]
    frame_of_reference_uid: str
    instance_uids: frozenset[str] = frozenset()
    patient_id: str = ""


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
    named_otherwise = path.is_file() and has_suffix(path, IMAGE_SUFFIXES)
    return not named_otherwise and is_dicom(path)


def label_objects(listing: Listing) -> list[OtherObject]:
    """Return the segmentations and structure sets among the objects of a file, folder or archive."""
    return [other for other in listing.others if other.kind in _LABEL_OBJECTS]


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
            items = list(_referenced_series(dataset))
            reference = SeriesReference(
                tuple(dict.fromkeys(filter(None, (text_of(item, "SeriesInstanceUID") for item in items)))),
                _frame_of_reference(dataset),
                frozenset(uid for item in items for uid in _instance_uids(item)),
                text_of(dataset, "PatientID"),
            )
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
        found = [] if labels is None or wanted is not None else series_of(labels, series)
        if len(found) != 1:
            raise
        return found[0]


def series_of(labels: LabelObject, series: Iterable[Series]) -> list[Series]:
    """Find the volumes that a label object says it was made on: by series and, where several share that, by slices."""
    found = [entry for entry in series if entry.id.partition("#")[0] in labels.reference.series_uids]
    for instances_of in (lambda: labels.reference.instance_uids, lambda: _drawn_on(labels.file)):
        if len(found) > 1:
            uids = instances_of()
            found = [entry for entry in found if any(f.sop_instance_uid in uids for f in entry.frames)] or found
    return found


def _referenced_series(dataset: Any) -> Iterator[Any]:
    yield from dataset.get("ReferencedSeriesSequence") or ()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            yield from study.get("RTReferencedSeriesSequence") or ()


def _instance_uids(item: Any) -> Iterator[str]:
    """Give the instances that an item refers to."""
    for keyword in _INSTANCES:
        yield from filter(None, (text_of(image, "ReferencedSOPInstanceUID") for image in item.get(keyword) or ()))


def _drawn_on(file: DicomFile) -> set[str]:
    """Read which instances contours or frames were made on, of an object that lists those of more than one volume."""
    try:
        with quiet_pydicom():
            dataset = open_dataset(file, stop_before_pixels=True)
            items = [
                contour
                for roi in dataset.get("ROIContourSequence") or ()
                for contour in roi.get("ContourSequence") or ()
            ]
            groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
            items += [image for group in groups for image in group.get("DerivationImageSequence") or ()]
            return {uid for item in items for uid in _instance_uids(item)}
    except DAMAGE:
        return set()


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
