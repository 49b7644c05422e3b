"""Header of a DICOM segmentation or structure set: names, and the scan that it belongs to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from volseg.files.plain_text import plain
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.header import STRUCTURE_SET, LabelObject, SeriesReference
from volseg.io.dicom.seg_planes import not_read, without_place
from volseg.io.dicom.series import Series
from volseg.io.dicom.storage import DicomFile

# Attributes that `label_object` needs in addition to those of an image.
LABEL_TAGS = (
    "SegmentSequence",
    "ReferencedSeriesSequence",
    "SourceImageSequence",
    "ImageOrientationSlide",
    "StructureSetROISequence",
    "ReferencedFrameOfReferenceSequence",
)
_INSTANCES = ("ReferencedInstanceSequence", "ContourImageSequence", "SourceImageSequence")


def label_object(dataset: Any, file: DicomFile, kind: str, modality: str) -> LabelObject:
    """Return the content of the header of a segmentation or structure set, or only its damage."""
    try:
        series_uids: dict[str, None] = {}  # in order, without repeats
        instance_uids: set[str] = set()
        for item in _referenced_series(dataset):
            if uid := text_of(item, "SeriesInstanceUID"):
                series_uids[uid] = None
            instance_uids.update(_instance_uids(item))
        space, patient = _frame_of_reference(dataset), text_of(dataset, "PatientID")
        reference = SeriesReference(tuple(series_uids), space, frozenset(instance_uids), patient)
        names = tuple(_structure_names(dataset))
        return LabelObject(file, kind, modality, names, reference, _problem(dataset, kind))
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"damaged DICOM object ({reason}); copy it again"
        return LabelObject(file, kind, modality, (), SeriesReference((), ""), problem)


def _problem(dataset: Any, kind: str) -> str | None:
    """Return why an object cannot be read, as far as its header tells."""
    if kind != STRUCTURE_SET:
        what = without_place(dataset)
        return not_read(what) if what else None
    if "StructureSetROISequence" not in dataset:  # cut off, or a damaged length hides the rest of the file
        return "damaged DICOM object (it has no list of structures); copy it again"
    return None


def series_of(labels: LabelObject, series: Iterable[Series]) -> list[Series]:
    """Find the volumes that a label object was made on.

    Parameters
    ----------
    labels : LabelObject
        It refers to series, and to slices if several volumes share a series.
    series : iterable of Series
        The volumes to choose from.
    """
    found = [entry for entry in series if entry.uid in labels.reference.series_uids]
    if len(found) > 1:
        found = _with_instances(found, labels.reference.instance_uids)
    if len(found) > 1:
        found = _with_instances(found, _drawn_on(labels.file))
    return found


def _with_instances(series: list[Series], uids: Collection[str]) -> list[Series]:
    """Return the volumes with a slice among the instances; all volumes if there is no match."""
    found = [entry for entry in series if any(frame.sop_instance_uid in uids for frame in entry.frames)]
    return found or series


def _structure_names(dataset: Any) -> Iterator[str]:
    for segment in dataset.get("SegmentSequence") or ():
        if segment.get("SegmentNumber") != 0:  # the background of a label map segmentation
            yield plain(text_of(segment, "SegmentLabel")) or "(no name)"
    for roi in dataset.get("StructureSetROISequence") or ():
        yield plain(text_of(roi, "ROIName")) or "(no name)"


def _referenced_series(dataset: Any) -> Iterator[Any]:
    yield from dataset.get("ReferencedSeriesSequence") or ()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            yield from study.get("RTReferencedSeriesSequence") or ()


def _instance_uids(item: Any) -> Iterator[str]:
    """Yield the instances that an item refers to."""
    for keyword in _INSTANCES:
        for image in item.get(keyword) or ():
            if uid := text_of(image, "ReferencedSOPInstanceUID"):
                yield uid


def _drawn_on(file: DicomFile) -> set[str]:
    """Read the instances that contours or frames refer to; the object itself may list those of several volumes."""
    uids: set[str] = set()
    try:
        with quiet_pydicom():
            dataset = open_dataset(file, stop_before_pixels=True)
            for item in _drawn_items(dataset):
                uids.update(_instance_uids(item))
    except DAMAGE:
        return set()
    return uids


def _drawn_items(dataset: Any) -> Iterator[Any]:
    for roi in dataset.get("ROIContourSequence") or ():
        yield from roi.get("ContourSequence") or ()
    for group in dataset.get("PerFrameFunctionalGroupsSequence") or ():
        yield from group.get("DerivationImageSequence") or ()


def _frame_of_reference(dataset: Any) -> str:
    """Return the frame of reference; a structure set has it in its references or in each structure."""
    if uid := text_of(dataset, "FrameOfReferenceUID"):
        return uid
    for sequence in ("ReferencedFrameOfReferenceSequence", "StructureSetROISequence"):
        for item in dataset.get(sequence) or ():
            if uid := text_of(item, "FrameOfReferenceUID", "ReferencedFrameOfReferenceUID"):
                return uid
    return ""
