"""Write a label map as a DICOM RT Structure Set: the contours of every label on the slices of the scan.

Contours run along pixel edges (see `volseg.io.dicom.contours`). Holes are kept by keyholes: the outline goes through a
channel of zero width to the hole, around it and back. PS3.3 C.8.8.6.3 requires this in CLOSED_PLANAR, and all readers
read it correctly. Two nested CLOSED_PLANAR contours are a filled disc to readers that add contours up (plastimatch by
default, dcmrtstruct2nii before 3.0, platipy before mid-2024), and few readers know CLOSEDPLANAR_XOR.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from volseg._version import __version__
from volseg.core.grid import RAS_TO_LPS, Float
from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.errors import OutputError
from volseg.files.atomic import atomic_path
from volseg.io.dicom.attributes import quiet_pydicom
from volseg.io.dicom.contours import join_holes, trace_edges
from volseg.io.dicom.derived import (
    inherit_patient,
    referable_source,
    reference_to_frame,
    reference_to_study,
    references_to,
)
from volseg.io.dicom.source import DicomSource, SourceFrame, values_on_frame
from volseg.io.dicom.texts import LONGEST_CODE, LONGEST_TEXT, fit_text, split_code

_LOG = logging.getLogger(__name__)

_CONTOUR_DATA = Tag("ContourData")
_LARGEST_NUMBER = 2**31 - 1
# DICOM's decimals have 16 characters, enough for eight digits, a sign, a point and five decimals.
_LARGEST_DECIMAL = 1e8


def write_rtstruct(
    labelmap: LabelMap, path: str | Path, *, source: DicomSource, description: str = "volseg segmentation"
) -> None:
    """Write a label map as one RT Structure Set that belongs to the series it was made from.

    Parameters
    ----------
    labelmap : LabelMap
        On any grid. Each pixel of the frames of the source gets the nearest voxel, by the two affines.
    path : path
        The file; Implicit VR Little Endian, as explicit VR cannot hold contours of more than 64 KiB.
    source : DicomSource
        `Volume.source` of the scan: single- or multi-frame instances in any orientation, also tilted or uneven.
    description : str
        SeriesDescription, at most 64 characters.

    Notes
    -----
    ROINumber is the label's value. A label without voxels is an ROI without contours. Coordinates have five decimals
    (1e-5 mm). Patient and study are copied unchanged from the source.

    Raises
    ------
    OutputError
        The label map has no labels or a value above 2**31 - 1, the source lacks an identifier that a structure set
        must refer to, its first file can no longer be read, or the file cannot be written.
    """
    path = Path(path)
    _check(labelmap, source, path)
    dataset = _of_patient(source)
    _add_series(dataset, description)
    dataset.ReferencedFrameOfReferenceSequence = [_references(source)]
    contours = _contours(labelmap, source, path)
    rois, drawings, observations = [], [], []
    for label in labelmap.labels:
        rois.append(_roi(label, source))
        drawings.append(_roi_contour(label, contours[label.value]))
        observations.append(_observation(label))
    dataset.StructureSetROISequence = rois
    dataset.ROIContourSequence = drawings
    dataset.RTROIObservationsSequence = observations
    with atomic_path(path) as temporary, quiet_pydicom():
        dataset.save_as(temporary, enforce_file_format=True)


def _check(labelmap: LabelMap, source: DicomSource, path: Path) -> None:
    if not labelmap.labels:
        raise OutputError(f"{path}: the label map has no labels; a structure set needs at least one")
    if (highest := labelmap.labels[-1].value) > _LARGEST_NUMBER:
        raise OutputError(f"{path}: label value {highest} does not fit DICOM; expected at most {_LARGEST_NUMBER}")
    referable_source(source, path, "an RT Structure Set")


def _of_patient(source: DicomSource) -> Dataset:
    dataset = inherit_patient(source)
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = source.study_uid, source.frame_of_reference_uid
    dataset.OperatorsName = ""
    return dataset


def _add_series(dataset: Dataset, description: str) -> None:
    """Add the file's own attributes: instance, series, equipment, structure set (PS3.3 A.19)."""
    now = datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid(prefix=None)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid(prefix=None)
    dataset.SeriesDescription, dataset.SeriesNumber = _fitting(description), 1
    dataset.SeriesDate, dataset.SeriesTime = date, time
    dataset.Manufacturer = dataset.ManufacturerModelName = "volseg"
    dataset.SoftwareVersions = __version__
    dataset.InstanceNumber = 1
    dataset.StructureSetLabel = "volseg"
    dataset.StructureSetDate, dataset.StructureSetTime = date, time
    dataset.ApprovalStatus = "UNAPPROVED"


def _references(source: DicomSource) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = source.series_uid
    series.ContourImageSequence = references_to(source)
    study = reference_to_study(source.study_uid)
    study.RTReferencedSeriesSequence = [series]
    reference = Dataset()
    reference.FrameOfReferenceUID = source.frame_of_reference_uid
    reference.RTReferencedStudySequence = [study]
    return reference


def _contours(labelmap: LabelMap, source: DicomSource, path: Path) -> dict[int, list[Dataset]]:
    """Contour items by label value, along the frames."""
    found: dict[int, list[Dataset]] = {label.value: [] for label in labelmap.labels}
    for frame in source.frames:
        values = values_on_frame(frame, labelmap.array, labelmap.grid)
        for value, (rows, columns) in label_boxes(values).items():
            for polygon in join_holes(trace_edges(values[rows, columns] == value)):
                points = _to_lps(polygon + np.array([columns.start, rows.start]), frame)
                if np.abs(points).max() >= _LARGEST_DECIMAL:
                    raise OutputError(
                        f"{path}: a contour lies {np.abs(points).max():g} mm away; DICOM cannot hold that"
                    )
                found[value].append(_contour(points, frame, len(found[value]) + 1))
    for label in labelmap.labels:
        if not found[label.value]:
            _LOG.warning("%s: label %r has no voxel on a slice of the scan; written without contours", path, label.name)
    return found


def _to_lps(polygon: Float, frame: SourceFrame) -> Float:
    """Map (P, 2) pixel coordinates of a frame to (P, 3) mm in LPS+."""
    to_lps = RAS_TO_LPS @ frame.plane
    return polygon @ to_lps[:3, :2].T + to_lps[:3, 3]


def _contour(points: Float, frame: SourceFrame, number: int) -> Dataset:
    item = Dataset()
    item.ContourImageSequence = [reference_to_frame(frame)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    item.ContourNumber = number
    # Adding 0 turns -0 into 0.
    numbers = (np.round(points, 5) + 0.0).ravel().tolist()
    text = ("\\".join(["%.5f"] * len(numbers)) % tuple(numbers)).encode("ascii")
    # Bytes, since pydicom would make an object of every decimal. Implicit VR does not write the OB.
    item[_CONTOUR_DATA] = DataElement(_CONTOUR_DATA, "OB", text + b" " * (len(text) % 2))
    return item


def _roi(label: Label, source: DicomSource) -> Dataset:
    item = Dataset()
    item.ROINumber = label.value
    item.ReferencedFrameOfReferenceUID = source.frame_of_reference_uid
    item.ROIName = _fitting(label.name)
    item.ROIGenerationAlgorithm = label.algorithm or "AUTOMATIC"
    return item


def _roi_contour(label: Label, contours: list[Dataset]) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = label.value
    item.ROIDisplayColor = list(label.colour)
    if contours:
        item.ContourSequence = contours
    return item


def _observation(label: Label) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = label.value
    item.RTROIInterpretedType = item.ROIInterpreter = ""
    code = split_code(label.code)
    if code and len(code[1]) <= LONGEST_TEXT:
        concept = Dataset()
        concept.CodingSchemeDesignator, value = code
        setattr(concept, "CodeValue" if len(value) <= LONGEST_CODE else "LongCodeValue", value)
        concept.CodeMeaning = _fitting(label.name)
        item.RTROIIdentificationCodeSequence = [concept]
    return item


def _fitting(text: str) -> str:
    """Shorten a text to the limits of DICOM; warn if that changes it."""
    if (fitting := fit_text(text)) != text:
        _LOG.warning("%r does not fit DICOM's 64 characters without backslash; written as %r", text, fitting)
    return fitting
