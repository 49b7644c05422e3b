"""Patient and study of a DICOM scan, for the objects that are made from it."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset

from volseg.errors import OutputError
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom
from volseg.io.dicom_header import open_dataset
from volseg.io.dicom_source import DicomSource

# Modules Patient, General Study, Patient Study, Clinical Trial and Frame of Reference, as far as a source has them.
_INHERITED = [
    "PatientName PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence PatientBirthDate",
    "PatientBirthTime PatientSex OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments",
    "PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence",
    "BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved",
    "DeidentificationMethod DeidentificationMethodCodeSequence StudyInstanceUID StudyDate StudyTime",
    "ReferringPhysicianName StudyID AccessionNumber IssuerOfAccessionNumberSequence StudyDescription",
    "PhysiciansOfRecord ReferencedStudySequence ProcedureCodeSequence PatientAge PatientSize PatientWeight",
    "MedicalAlerts Allergies PregnancyStatus PatientSexNeutered AdditionalPatientHistory ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID ClinicalTrialSiteName",
    "ClinicalTrialSubjectID ClinicalTrialSubjectReadingID ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription FrameOfReferenceUID PositionReferenceIndicator PatientPosition",
    "LongitudinalTemporalInformationModified",
]
# These may be empty, but not missing.
_ALWAYS = [
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID",
    "AccessionNumber PositionReferenceIndicator",
]


def unknown_patient() -> Dataset:
    """Start a data set of nobody's: what must be there, empty."""
    dataset = Dataset()
    for keyword in (keyword for line in _ALWAYS for keyword in line.split()):
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
    tags = [tag for line in _INHERITED for tag in line.split()]
    with quiet_pydicom():
        try:
            dataset = open_dataset(file, stop_before_pixels=True, specific_tags=["SOPClassUID", *tags])
            # Texts may be in another character set than the new file's.
            dataset.decode()
        except DAMAGE as error:
            raise OutputError(f"{path}: {file}, whose patient it shall name, cannot be read ({error})") from error
    result = unknown_patient()
    result.update({element.tag: element for element in dataset if element.keyword in tags})
    return result
