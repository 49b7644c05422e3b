"""Patient and study of a DICOM scan, and references to it, for the objects that are made from it."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset

from volseg.errors import OutputError
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.source import DicomSource

# Whose it is and of which study, as far as a source says it: what the modules Patient, General Study, Clinical Trial
# Subject and Study (PS3.3 C.7.1 and C.7.2) require, and the issuers of its numbers. Comments, descriptions, history,
# allergies and the like stay where they are.
_INHERITED = [
    "PatientName PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence PatientBirthDate",
    "PatientSex PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence",
    "StudyInstanceUID StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber",
    "IssuerOfAccessionNumberSequence LongitudinalTemporalInformationModified",
    "ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID",
    "ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID ClinicalTrialTimePointID",
]
# Required of animals only; of people some of it names relatives.
_OF_ANIMALS = [
    "PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence",
    "BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientSexNeutered",
]
_SPECIES = ("PatientSpeciesDescription", "PatientSpeciesCodeSequence")
_FRAME_OF_REFERENCE = ["FrameOfReferenceUID PositionReferenceIndicator PatientPosition"]
# These may be empty, but not missing.
_ALWAYS = [
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID",
    "AccessionNumber PositionReferenceIndicator",
]


def unknown_patient() -> Dataset:
    """Start a data set of nobody's: what must be there, empty."""
    dataset = Dataset()
    for keyword in _keywords(_ALWAYS):
        setattr(dataset, keyword, "")
    return dataset


def inherit_patient(source: DicomSource, path: Path) -> Dataset:
    """Start a data set with patient, study and frame of reference of a scan, unchanged.

    Raises
    ------
    OutputError
        The scan's first file cannot be read any more; `path`, what was to be written, is named.
    """
    file = source.frames[0].file
    tags = ["SOPClassUID", *_keywords(_INHERITED, _OF_ANIMALS, _FRAME_OF_REFERENCE)]
    with quiet_pydicom():
        try:
            dataset = open_dataset(file, stop_before_pixels=True, specific_tags=tags)
            # Texts may be in another character set than the new file's.
            dataset.decode()
        except DAMAGE as error:
            raise OutputError(f"{path}: {file}, whose patient it shall name, cannot be read ({error})") from error
    result = patient_and_study(dataset)
    frame = _keywords(_FRAME_OF_REFERENCE)
    result.update({element.tag: element for element in dataset if element.keyword in frame})
    return result


def patient_and_study(header: Dataset) -> Dataset:
    """Return what is said of patient and study in objects made from a scan; what must be there is, if only empty."""
    wanted = set(_keywords(_INHERITED))
    if any(header.get(keyword) for keyword in _SPECIES):
        wanted.update(_keywords(_OF_ANIMALS))
    result = unknown_patient()
    result.update({element.tag: element for element in header if element.keyword in wanted})
    return result


def _keywords(*lists: list[str]) -> list[str]:
    return [keyword for lines in lists for line in lines for keyword in line.split()]


def reference_to(sop_class_uid: str, sop_instance_uid: str, frame: int | None = None) -> Dataset:
    """Make the item of a sequence that refers to an instance, or to one of its frames (from 1)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    if frame is not None:
        item.ReferencedFrameNumber = frame
    return item
