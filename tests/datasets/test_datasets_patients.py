"""Whose scans there are, and folds that keep a patient's scans together."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pydicom
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.datasets import Case, Dataset, Patient, check_dataset, count_folds, describe_patients, read_dataset, split
from volseg.datasets.patients import find_patients
from volseg.errors import DatasetError
from volseg.io import write
from volseg.io.dicom import write_dicom_series

GRID = Grid.from_spacing((4, 4, 4))
ORGAN = Label(1, "organ", (200, 60, 60))


def dataset_of(patients: dict[str, str | None]) -> Dataset:
    """Return a dataset of cases without files, by name, and their patients."""
    cases = []
    for name, patient in patients.items():
        cases.append(Case(name, (Path(name),), patient=Patient(patient, "sub-") if patient else None))
    return Dataset("set", tuple(cases), (ORGAN,), ("image",), (None,), None, Path("set"))


def patient_of(path: str, name: str = "") -> str | None:
    """Return the patient of the case of an image at a path in a dataset."""
    root = Path("/data/sub-nobody/patient999_all")
    case = Case(name or Path(path).name.split(".")[0], (root / path,))
    (found,) = find_patients([case], root)
    return found.patient and found.patient.name


@pytest.mark.parametrize(
    ("path", "patient"),
    [
        ("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-01"),
        ("sub-A7_run-2_bold.nii.gz", "sub-A7"),
        ("imagesTr/study_sub-003_0000.nii.gz", "sub-003"),
        ("patient001/patient001_frame01.nii.gz", "patient001"),
        ("patient001/frame12.nii.gz", "patient001"),
        ("patient0001_2CH_ED.nii.gz", "patient0001"),
        ("siteA_patient001_ED.nii.gz", "siteA_patient001"),
        ("Subject_12-T2.nii.gz", "Subject_12"),
        ("BraTS-GLI-00005-100.nii.gz", "BraTS-GLI-00005"),
        ("BraTS-MEN-RT-0001-1.nii.gz", "BraTS-MEN-RT-0001"),
        ("TCGA-02-0006_1996.08.23.nii.gz", "TCGA-02-0006"),
        ("LIDC-IDRI-0001_2.nii.gz", "LIDC-IDRI-0001"),
        ("OAS30001_MR_d0129.nii.gz", "OAS30001"),
        ("OAS2_0001_MR2.nii.gz", "OAS2_0001"),
        ("ADNI_002_S_0295_MR_1.nii.gz", "ADNI_002_S_0295"),
        ("psma_95b833d46f153cd2_2018-04-16_0000.nii.gz", "psma_95b833d46f153cd2"),
        ("case012_visit2.nii.gz", "case012"),
        ("hippocampus_001_left.nii.gz", "hippocampus_001"),
        ("A0S9V90_01_ES.nii.gz", "A0S9V90_01"),
    ],
)
def test_names_of_one_patient(path: str, patient: str) -> None:
    assert patient_of(path) == patient


@pytest.mark.parametrize(
    "name",
    [
        *("hippocampus_001", "case_0001", "case_00001_0000", "liver_12", "BRATS_001", "Brats20_Training_001", "la_003"),
        *("train_12_0000", "s0011", "scan_7", "amos_0001", "FLARE22_Tr_0001", "T1_frame01", "scan_visit1", "patient"),
        *(
            "patient_left",
            "patientA_1",
            "inpatient01_2",
            "subset01_1",
            "sub01_2",
            "patch12_3",
            "path_1",
            "PT_01",
            "1-PET",
        ),
        *("toy_0", "2016_05_12", "sub-", "mysub-01", "frame01", "ED", "01_LEDGE", "hepaticvessel_001", "case_10_x"),
    ],
)
def test_names_that_number_scans(name: str) -> None:
    assert patient_of(f"imagesTr/{name}.nii.gz") is None


def test_a_column_goes_before_names(tmp_path: Path) -> None:
    rows = ["image,label,case,patient"]
    for number, patient in enumerate(["x", "x", "", "y"]):
        array = np.ones(GRID.shape, np.uint8)
        write(Volume(array.astype(np.float32), GRID), tmp_path / f"sub-0{number}.nii.gz")
        write(LabelMap(array, GRID, (ORGAN,)), tmp_path / f"label_{number}.nii.gz")
        rows.append(f"sub-0{number}.nii.gz,label_{number}.nii.gz,case_{number},{patient}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    cases = read_dataset(tmp_path / "pairs.csv").cases
    assert [case.patient.name for case in cases if case.patient] == ["x", "x", "sub-02", "y"]
    assert describe_patients(cases) == "3 patients of 4 scans, by column patient"


def dicom_cases(folder: Path, ids: list[str]) -> list[Case]:
    """Write a DICOM series of each PatientID."""
    cases = []
    for number, patient in enumerate(ids):
        image = folder / f"case_{number}"
        for file in write_dicom_series(Volume(np.ones(GRID.shape, np.int16), GRID), image):
            header = pydicom.dcmread(file)
            header.PatientID = patient
            header.save_as(file)
        cases.append(Case(image.name, (image,)))
    return cases


def test_patients_of_dicom_images(tmp_path: Path) -> None:
    cases = dicom_cases(tmp_path, ["P7", "Anonymous", "P7 ", "ANONYMIZED", "", "000", "P8"])
    found = find_patients([*cases, Case("lost", (tmp_path / "lost",)), Case("orphan", ())], tmp_path)
    assert [case.patient and case.patient.name for case in found] == ["P7", None, "P7", *[None] * 3, "P8", None, None]
    assert describe_patients(found) == "8 patients of 9 scans, by DICOM PatientID"


def test_one_patient_id_for_all_tells_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = dicom_cases(tmp_path, ["STUDY7"] * 3)
    caplog.clear()
    assert [case.patient for case in find_patients(cases, tmp_path)] == [None] * 3
    (record,) = caplog.records
    assert "by DICOM PatientID all scans would be of one patient, 'STUDY7'" in record.getMessage()


@pytest.mark.parametrize(
    ("names", "told_by", "patient"),
    [
        (["tg4510_tp3_10_20130523_UT", "tg4510_tp3_11_20130523_UT"], "names like 012_visit1", "tg4510"),
        (["sub-01_run-1", "sub-01_run-2"], "sub-", "sub-01"),
    ],
)
def test_names_of_one_patient_for_all_tell_nothing(
    names: list[str], told_by: str, patient: str, caplog: pytest.LogCaptureFixture
) -> None:
    cases = [Case(name, (Path(f"{name}.nii.gz"),)) for name in names]
    assert [case.patient for case in find_patients(cases, Path())] == [None, None]
    (record,) = caplog.records
    assert f"by {told_by} all scans would be of one patient, {patient!r}" in record.getMessage()
    assert "column patient" in record.getMessage()
    assert "splits_final.json" in record.getMessage()


def test_another_patient_makes_names_tell_something(caplog: pytest.LogCaptureFixture) -> None:
    names = ["sub-01_run-1", "sub-01_run-2", "sub-02_run-1"]
    cases = [Case(name, (Path(f"{name}.nii.gz"),)) for name in names]
    assert [case.patient and case.patient.name for case in find_patients(cases, Path())] == ["sub-01"] * 2 + ["sub-02"]
    assert not caplog.records


def test_patient_ids_count_where_names_tell_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [replace(case, name=f"tg4510_tp3_{case.name}") for case in dicom_cases(tmp_path, ["P1", "P1", "P2"])]
    caplog.clear()
    assert [case.patient and case.patient.name for case in find_patients(cases, tmp_path)] == ["P1", "P1", "P2"]
    assert not caplog.records


def test_a_column_may_say_that_all_are_one_patient() -> None:
    cases = [Case(name, (), patient=Patient("x", "column patient")) for name in "ab"]
    assert find_patients(cases, Path()) == cases


def test_folds_keep_patients_together_and_are_balanced() -> None:
    sizes = [7, 1, 1, 1, 5, 2, 2, 3, 1, 4, 3, 2, 1, 1, 1, 1]
    patients = {f"p{n:02}_{scan}": f"p{n:02}" for n, size in enumerate(sizes) for scan in range(size)}
    dataset = dataset_of({**patients, "lone_a": None, "lone_b": None})
    held_out = []
    for fold in range(count_folds(dataset)):
        training, validation = split(dataset, fold)
        sides = [{case.patient.name for case in side if case.patient} for side in (training, validation)]
        assert not sides[0] & sides[1]
        assert {*training, *validation} == set(dataset.cases)
        held_out.append([case.name for case in validation])
    assert sorted(chain(*held_out)) == sorted(case.name for case in dataset.cases)
    assert sorted(map(len, held_out)) == [7, 7, 8, 8, 8]
    shuffled = replace(dataset, cases=dataset.cases[::-1])
    assert [[case.name for case in split(shuffled, fold)[1]] for fold in range(5)] == held_out


def test_folds_of_patients_with_one_scan_each_are_those_of_cases() -> None:
    names = [f"sub-{n:03}" for n in range(23)]
    own, none = dataset_of(dict(zip(names, names, strict=True))), dataset_of(dict.fromkeys(names))
    # scikit-learn's KFold(5, shuffle=True, random_state=12345)
    numbers = [[3, 8, 10, 17, 19], [0, 7, 12, 15, 16], [6, 11, 14, 18, 20], [9, 13, 21, 22], [1, 2, 4, 5]]
    for fold in range(5):
        for dataset in (own, none):
            assert [case.name for case in split(dataset, fold)[1]] == [names[n] for n in numbers[fold]]
    assert describe_patients(own.cases) == ""


def test_fewer_patients_than_folds_are_refused() -> None:
    dataset = dataset_of({f"p{n % 4}_{n}": f"p{n % 4}" for n in range(9)})
    message = r"the dataset has 4 patients of 9 scans, by sub-, too few for 5 folds; add a splits_final\.json"
    with pytest.raises(DatasetError, match=message):
        split(dataset, 0)


def test_own_folds_that_part_a_patient_are_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"patient{n:03}_frame{frame:02}" for n in range(3) for frame in (1, 9)]
    for name in names:
        array = np.ones(GRID.shape, np.uint8)
        write(Volume(array.astype(np.float32), GRID), tmp_path / "imagesTr" / f"{name}.nii.gz")
        write(LabelMap(array, GRID, (ORGAN,)), tmp_path / "labelsTr" / f"{name}.nii.gz")
    folds = [{"train": names[2:], "val": names[:2]}, {"train": names[::2], "val": names[3::2]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        dataset = check_dataset(read_dataset(tmp_path))
    (record,) = caplog.records
    said = "patient 'patient001' is in training and validation of fold 1; 2 patients are on both sides of a fold"
    assert said in record.getMessage()
    assert [case.name for case in split(dataset, 1)[1]] == names[3::2]
    assert [case.name for case in split(dataset, 1)[0]] == names[::2]
