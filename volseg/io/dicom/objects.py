"""What a DICOM segmentation or structure set says of itself: names, and the scan that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from volseg.files.plain_text import plain
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.header import STRUCTURE_SET, LabelObject, SeriesReference
from volseg.io.dicom.seg_planes import not_read, without_place
from volseg.io.dicom.series import Series
from volseg.io.dicom.storage import DicomFile

# What `label_object` needs of a header, besides what is read of an image.
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
    """Return what the header of a segmentation or structure set says; if it is damaged, only that it is."""
    try:
        references = list(_referenced_series(dataset))
        reference = SeriesReference(
            tuple(dict.fromkeys(filter(None, (text_of(item, "SeriesInstanceUID") for item in references)))),
            _frame_of_reference(dataset),
            frozenset(uid for item in references for uid in _instance_uids(item)),
            text_of(dataset, "PatientID"),
        )
        what = None if kind == STRUCTURE_SET else without_place(dataset)
        names = tuple(_structure_names(dataset))
        return LabelObject(file, kind, modality, names, reference, not_read(what) if what else None)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"damaged DICOM object ({reason}); copy it again"
        return LabelObject(file, kind, modality, (), SeriesReference((), ""), problem)


def series_of(labels: LabelObject, series: Iterable[Series]) -> list[Series]:
    """Find the volumes that a label object was made on.

    Parameters
    ----------
    labels : LabelObject
        It refers to series and, if several volumes share one, to slices.
    series : iterable of Series
        The volumes to choose from.
    """
    found = [entry for entry in series if entry.uid in labels.reference.series_uids]
    for instances_of in (lambda: labels.reference.instance_uids, lambda: _drawn_on(labels.file)):
        if len(found) > 1:
            uids = instances_of()
            found = [entry for entry in found if any(f.sop_instance_uid in uids for f in entry.frames)] or found
    return found


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
