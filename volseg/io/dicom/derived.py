"""Data that objects take from their DICOM scan: patient, study, references (for CT, SEG, RTSTRUCT)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from volseg.errors import OutputError
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.source import DicomSource, SourceFrame

_LOG = logging.getLogger(__name__)

# The attributes of patient and study that are copied: those that the modules Patient, General Study, Clinical Trial
# Subject and Clinical Trial Study (PS3.3 C.7.1 and C.7.2) require, and the issuers of their numbers. Comments,
# descriptions, history and allergies are not copied.
_INHERITED = [
    "PatientName PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence PatientBirthDate",
    "PatientSex PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence",
    "StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber",
    "IssuerOfAccessionNumberSequence LongitudinalTemporalInformationModified",
    "ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID",
    "ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID ClinicalTrialTimePointID",
]
# Required only for animals; for people some of these name relatives.
_OF_ANIMALS = [
    "PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence",
    "BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientSexNeutered",
]
_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
_SPECIES = ("PatientSpeciesDescription", "PatientSpeciesCodeSequence")
_FRAME_OF_REFERENCE = ["FrameOfReferenceUID PositionReferenceIndicator PatientPosition"]
# These may be empty, but not missing.
_ALWAYS = [
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID",
    "AccessionNumber PositionReferenceIndicator",
]


def referable_source(source: Any, path: Path, what: str) -> DicomSource:
    """Return the source of an image if an object can refer to it.

    Parameters
    ----------
    source : any
        `Volume.source`.
    path : Path
        The file to be written, for messages.
    what : str
        The kind of object, for messages: ``a DICOM Segmentation``.

    Raises
    ------
    OutputError
        The image is not from DICOM, or lacks an identifier that the object needs.
    """
    if not isinstance(source, DicomSource) or not source.frames:
        raise OutputError(f"{path}: the image is not from DICOM, but {what} refers to DICOM files; write .nii.gz")
    if source.missing:
        missing = ", ".join(source.missing)
        raise OutputError(f"{source.frames[0].file}: has no {missing}, but {what} refers to it; write .nii.gz")
    return source


def unknown_patient() -> Dataset:
    """Return a data set with the required attributes of patient and study, all empty."""
    dataset = Dataset()
    for keyword in _keywords(_ALWAYS):
        setattr(dataset, keyword, "")
    return dataset


def read_header(source: DicomSource, others: Sequence[str] = ()) -> Dataset:
    """Read patient, study and frame of reference from the first instance of a scan.

    An attribute that is damaged is left out with a warning.

    Parameters
    ----------
    source : DicomSource
        The scan.
    others : sequence of str
        Further keywords to read.

    Raises
    ------
    OutputError
        The file can no longer be read, or is now another instance.
    """
    first = source.frames[0]
    wanted = ["SOPInstanceUID", *_keywords(_INHERITED, _OF_ANIMALS, _FRAME_OF_REFERENCE), *others]
    header = Dataset()
    with quiet_pydicom():
        try:
            dataset = open_dataset(first.file, stop_before_pixels=True, specific_tags=wanted)
            uid = text_of(dataset, "SOPInstanceUID")
        except DAMAGE as error:
            raise OutputError(f"{first.file}: the image's file can no longer be read ({error})") from error
        if uid != first.sop_instance_uid:
            raise OutputError(
                f"{first.file}: is now the instance {uid!r}, not the one that was read; read the image again"
            )
        for tag in tuple(dataset.keys()):
            try:
                header.add(_decoded(dataset[tag]))
            except DAMAGE as error:
                _LOG.warning("%s: %s is damaged and not copied (%s)", first.file, tag, error)
    return header


def _decoded(element: Any) -> Any:
    """Return an element with decoded texts: the new file may have another character set."""
    if element.VR == "SQ":
        for item in element.value:
            item.decode()
    return element


def inherit_patient(source: DicomSource) -> Dataset:
    """Return a data set with patient, study and frame of reference of a scan, unchanged; raises as `read_header`.

    Parameters
    ----------
    source : DicomSource
        The scan.
    """
    header = read_header(source)
    result = patient_and_study(header)
    _copy(header, result, _keywords(_FRAME_OF_REFERENCE))
    return result


def patient_and_study(header: Dataset) -> Dataset:
    """Return patient and study for objects made from a scan; required attributes that it lacks are empty.

    Parameters
    ----------
    header : Dataset
        From `read_header`.
    """
    wanted = _keywords(_INHERITED)
    if any(header.get(keyword) for keyword in _SPECIES):
        wanted += _keywords(_OF_ANIMALS)
    result = unknown_patient()
    _copy(header, result, wanted)
    return result


def _copy(header: Dataset, result: Dataset, keywords: Sequence[str]) -> None:
    for keyword in keywords:
        if keyword in header:
            result[keyword] = header[keyword]


def _keywords(*lists: list[str]) -> list[str]:
    return " ".join(line for lines in lists for line in lines).split()


def references_to(source: DicomSource) -> list[Dataset]:
    """Make the items of a sequence that refers to all instances of a scan.

    Parameters
    ----------
    source : DicomSource
        The scan.
    """
    return [_reference(*instance) for instance in source.instances]


def reference_to_frame(frame: SourceFrame) -> Dataset:
    """Make the item of a sequence that refers to one frame of a scan.

    Parameters
    ----------
    frame : SourceFrame
        A frame of the scan.
    """
    item = _reference(frame.sop_class_uid, frame.sop_instance_uid)
    if frame.frame is not None:
        item.ReferencedFrameNumber = frame.frame
    return item


def reference_to_study(uid: str) -> Dataset:
    """Make the item of a sequence that refers to a study, as RT Structure Sets do.

    Parameters
    ----------
    uid : str
        StudyInstanceUID.
    """
    return _reference(_STUDY_MANAGEMENT, uid)


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item
