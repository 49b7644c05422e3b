"""Objects made from a scan have the identity of its patient and study, and no other attributes of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset

from volseg import read
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.io import write
from volseg.io.dicom.attributes import quiet_pydicom
from volseg.io.dicom.derived import patient_and_study, unknown_patient
from volseg.io.dicom.writing import write_dicom_series

GRID = Grid.from_spacing((6, 5, 4), (1, 1, 2))
SECRET = "SECRET"
IDENTITY = {
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "DeidentificationMethod"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID"),
    "PositionReferenceIndicator",
}
# The equipment of the scan, which a segmentation names as contributing equipment.
EQUIPMENT = {"Manufacturer", "ManufacturerModelName", "StationName", "DeviceSerialNumber", "SoftwareVersions"}
# Texts that say how a slice is read, or that the patient is an animal.
STRUCTURE = {"SpecificCharacterSet", "RescaleType", "PatientSpeciesDescription"}


def texts(dataset: Dataset) -> None:
    """Put a word into every attribute of text that a slice can have, private ones too."""
    for tag, (vr, multiplicity, _, retired, keyword) in DicomDictionary.items():
        is_text = vr in ("LO", "LT", "ST", "SH", "UT", "UC", "PN") and multiplicity == "1"
        if is_text and not retired and keyword not in STRUCTURE and 0x0008 <= tag >> 16 <= 0x4010:
            setattr(dataset, keyword, SECRET)
    dataset.private_block(0x0011, "X", create=True).add_new(1, "LO", SECRET)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "X", SECRET
    for keyword in ("ProcedureCodeSequence", "AdmittingDiagnosesCodeSequence", "RequestAttributesSequence"):
        setattr(dataset, keyword, [code])


@pytest.fixture
def scan(tmp_path: Path) -> Volume:
    volume = Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT")
    for path in write_dicom_series(volume, tmp_path / "scan"):
        dataset = pydicom.dcmread(path)
        with quiet_pydicom():
            texts(dataset)
            dataset.save_as(path)
    return read(tmp_path / "scan")


def told(dataset: Dataset) -> Iterator[str]:
    """Keywords of all attributes, at any depth, that hold the word."""
    for element in dataset.iterall():
        if element.VR != "SQ" and SECRET in str(element.value):
            yield element.keyword or str(element.tag)


@pytest.mark.parametrize("form", ["seg", "labelmap", "fractional", "rtstruct", "series"])
def test_nothing_but_identity_is_taken_over(form: str, scan: Volume, tmp_path: Path) -> None:
    labels, target = LabelMap.from_array(np.ones(GRID.shape, np.uint8), GRID), tmp_path / "out.dcm"
    if form == "series":
        target = write_dicom_series(scan, tmp_path / "out")[0]
    elif form == "fractional":
        from volseg.io.dicom.seg_writing import write_dicom_probabilities

        maps = np.full((1, *GRID.shape), 0.5)
        write_dicom_probabilities(maps, target, grid=GRID, labels=labels.labels, source=scan.source)
    else:
        write(labels, target, image=scan, form=form)
    found = set(told(pydicom.dcmread(target)))
    assert {"PatientName", "PatientID", "StudyID", "AccessionNumber"} <= found
    assert found <= IDENTITY | (EQUIPMENT if form in ("seg", "labelmap", "fractional") else set())


def test_what_must_be_there_is_there_if_empty() -> None:
    assert patient_and_study(Dataset()) == unknown_patient()
    assert {keyword_for_tag(tag) for tag in list(unknown_patient().keys())} >= {
        "PatientName",
        "StudyDate",
        "AccessionNumber",
    }


@pytest.mark.parametrize("species", [None, "Canis familiaris"])
def test_owners_are_named_of_animals_only(species: str | None) -> None:
    header: Any = Dataset()
    header.ResponsiblePerson, header.PatientBreedDescription, header.PatientName = "Smith^Anne", "Poodle", "Rex"
    if species:
        header.PatientSpeciesDescription = species
    found = patient_and_study(header)
    assert found.PatientName == "Rex"
    assert ("ResponsiblePerson" in found) == ("PatientBreedDescription" in found) == bool(species)
