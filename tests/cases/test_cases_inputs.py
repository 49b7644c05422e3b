"""Inputs: which paths are the channels of which case, and the name of a case, wherever its files lie."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threshold_model import bright_box, run, threshold_model

import volseg
from volseg.cases.cohort import process_cases
from volseg.cases.inputs import collect_cases
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError, UsageError
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.images.nifti import write_nifti
from volseg.io.scan_files import file_state

GRID = Grid.from_spacing((20, 24, 6), (0.8, 0.9, 3))


def scan_of(number: int) -> Volume:
    box = bright_box(GRID)
    return Volume(np.roll(box.array, number, axis=1), GRID, modality="MR")


def test_inputs_are_grouped_into_cases(tmp_path: Path) -> None:
    for name in ("p1_0000", "p1_0001", "p2_0000", "p2_0001"):
        (tmp_path / f"{name}.nii.gz").touch()
    cases = collect_cases([str(tmp_path)], channels=2)
    assert [(case.name, [path.name for path in case.paths]) for case in cases] == [
        ("p1", ["p1_0000.nii.gz", "p1_0001.nii.gz"]),
        ("p2", ["p2_0000.nii.gz", "p2_0001.nii.gz"]),
    ]
    joined = f"{tmp_path / 'p2_0001.nii.gz'},{tmp_path / 'p1_0000.nii.gz'}"
    (case,) = collect_cases([joined], channels=2)
    assert [path.name for path in case.paths] == ["p2_0001.nii.gz", "p1_0000.nii.gz"]  # the order given, not sorted
    single = collect_cases([str(tmp_path)], channels=1)
    assert [case.name for case in single] == ["p1", "p1_0001", "p2", "p2_0001"]
    (tmp_path / "p2_0000.nii.gz").unlink()
    with pytest.raises(UsageError, match="p2: has channels 0001; expected 0000, 0001"):
        collect_cases([str(tmp_path)], channels=2)
    with pytest.raises(UsageError, match=r"p1_0000.nii.gz: given twice"):
        collect_cases([str(tmp_path / "p1_0000.nii.gz")] * 2, channels=2)


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(InputError, match=r"nothing.nii.gz: no such file or folder"):
        collect_cases([str(tmp_path / "nothing.nii.gz")], channels=1)
    with pytest.raises(UsageError, match="2 channels, the model takes 3; join the channels"):
        collect_cases([f"{tmp_path / 'a.nii.gz'},{tmp_path / 'a.nii.gz'}"], channels=3)
    with pytest.raises(UsageError, match=r"a.nii.gz: given twice"):
        collect_cases([str(tmp_path / "a.nii.gz")] * 2, channels=1)
    with pytest.raises(UsageError, match=r"given twice"):
        collect_cases([str(tmp_path), str(tmp_path / "a.nii.gz")], channels=1)


def test_names_do_not_depend_on_what_else_is_given(tmp_path: Path) -> None:
    for folder in "abc":
        volseg.write(scan_of("abx".find(folder)), tmp_path / folder / "scan.nii.gz")
    shutil.copy(tmp_path / "a" / "scan.nii.gz", tmp_path / "c" / "scan.nii.gz")

    def names(*folders: str) -> list[str]:
        return [case.name for case in collect_cases([str(tmp_path / f / "scan.nii.gz") for f in folders], channels=1)]

    assert names("a") == names("b") == ["scan"]
    first, second, third = names("a", "b", "c")
    assert (first, third) == ("scan", "scan")  # c is a's content
    assert second.startswith("scan-")
    assert len(second) == len("scan-") + 8
    assert names("a", "b") == [first, second]


def test_volumes_of_one_file_are_cases_of_their_own(tmp_path: Path) -> None:
    both = np.stack([scan_of(0).array, scan_of(3).array], axis=-1)
    write_nifti(both, scan_of(0).grid, tmp_path / "both.nii.gz")
    for series in ("both_0", "both_1"):
        (case,) = collect_cases([str(tmp_path / "both.nii.gz")], channels=1, series=series)
        assert case.name == series
        (result,) = process_cases(threshold_model(), [case], tmp_path / "out")
        number = 3 * int(series[-1])
        np.testing.assert_array_equal(volseg.read_labels(result.files[0]).array == 5, scan_of(number).array > 100)


@dataclass
class World:
    """Four DICOM scans and two images of other people, each at several places."""

    root: Path
    places: dict[str, list[Path]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    places: dict[str, list[Path]] = {}
    for number in range(4):
        # Two share their description, two have no description, and one is not named by it.
        folder = root / "first" / f"patient_{number}"
        description = ("head", "head", "", "")[number]
        for file in write_dicom_series(scan_of(number), folder, description=description):
            dataset = pydicom.dcmread(file)
            dataset.PatientID = f"P{number}"
            dataset.save_as(file)
        other = root / "second" / "DICOM" / str(number)
        shutil.copytree(folder, other)
        for n, file in enumerate(sorted(other.iterdir(), reverse=True)):
            file.rename(file.with_name(f"IM{n:04d}"))
        (root / "third").mkdir(exist_ok=True)
        archive = shutil.make_archive(str(root / "third" / f"delivery {number}"), "zip", folder)
        places[f"dicom {number}"] = [folder, other, Path(archive)]
    for number in range(2):
        one = root / "first" / f"image_{number}.nii.gz"
        volseg.write(scan_of(10 + number), one)
        shutil.copytree(one.parent, root / "moved", dirs_exist_ok=True, ignore=shutil.ignore_patterns("patient*"))
        places[f"image {number}"] = [one, root / "moved" / one.name]
    return World(root, places)


# All examples together: a name does not depend on the output folder either.
NAMES: dict[str, str] = {}
SCANS = [*(f"dicom {n}" for n in range(4)), *(f"image {n}" for n in range(2))]
CALLS = st.lists(
    st.lists(st.tuples(st.sampled_from(SCANS), st.integers(0, 2)), min_size=1, max_size=3), min_size=1, max_size=4
)


@settings(max_examples=40, deadline=None)
@given(calls=CALLS)
def test_a_scan_is_one_case_of_one_name_in_whatever_call_and_wherever_it_lies(
    world: World, calls: list[list[tuple[str, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("out")
    for call in calls:
        paths = list(dict.fromkeys(world.places[scan][place % len(world.places[scan])] for scan, place in call))
        given_as = [next(scan for scan, where in world.places.items() if path in where) for path in paths]
        for scan, result in zip(given_as, run(threshold_model(), list(paths), out), strict=True):
            assert result.error is None
            name = result.files[0].parent.name
            assert NAMES.setdefault(scan, name) == name
            number = int(scan[-1]) + 10 * scan.startswith("image")
            labels = volseg.read_labels(result.files[0]).array
            np.testing.assert_array_equal(labels == 5, scan_of(number).array > 100)
    predicted = {scan for call in calls for scan, _ in call}
    assert {path.name for path in out.iterdir()} == {NAMES[scan] for scan in predicted}


def test_names_are_told_apart_and_say_nothing_of_the_patient(world: World, tmp_path: Path) -> None:
    names = [result.case.name for result in run(threshold_model(), [world.root / "first"], tmp_path / "out")]
    assert names == ["image_0", "image_1"]
    for scan in SCANS[:4]:
        (result,) = run(threshold_model(), [world.places[scan][0]], tmp_path / "out")
        names.append(result.case.name)
    assert len(set(names)) == 6
    assert [name[:-9] for name in names[2:]] == ["head", "head", "MR", "MR"]
    assert not any("P0" in name or "patient" in name for name in names)


def test_one_series_uid_for_all_does_not_make_them_one_case(tmp_path: Path) -> None:
    """As some anonymisers leave it, also with one patient ID and study for all."""
    for number in range(3):
        for file in write_dicom_series(scan_of(number), tmp_path / str(number), description="head"):
            dataset = pydicom.dcmread(file)
            dataset.PatientID = "anonymous"
            dataset.SeriesInstanceUID = dataset.StudyInstanceUID = dataset.FrameOfReferenceUID = "1.2.3"
            dataset.save_as(file)
    results = run(threshold_model(), [tmp_path / str(number) for number in range(3)], tmp_path / "out")
    assert [result.error for result in results] == [None] * 3
    assert len({result.files[0].parent for result in results}) == 3


def test_a_scan_that_has_changed_is_the_same_case_and_refused(tmp_path: Path) -> None:
    write_dicom_series(scan_of(0), tmp_path / "a", description="head")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (first,) = run(threshold_model(), [tmp_path / "a"], tmp_path / "out")
    file = tmp_path / "b" / "0003.dcm"
    dataset = pydicom.dcmread(file)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(file)
    (changed,) = run(threshold_model(), [tmp_path / "b"], tmp_path / "out")
    assert f"{first.files[0].parent}: is there, but differs in scan files; add --overwrite" in str(changed.error)


def test_the_choice_of_a_series_names_the_same_case_in_any_words(tmp_path: Path) -> None:
    files = [
        *write_dicom_series(scan_of(0), tmp_path / "study" / "one", description="T1"),
        *write_dicom_series(scan_of(1), tmp_path / "study" / "two", description="T2"),
    ]
    for number, file in enumerate(files):
        dataset = pydicom.dcmread(file)
        dataset.SeriesNumber, dataset.StudyInstanceUID = 1 + number // 6, "1.2.3"
        dataset.save_as(file)
    uid = pydicom.dcmread(files[0]).SeriesInstanceUID
    found = set()
    for series in ("T1", "1", uid, uid[-6:]):
        cases = collect_cases([str(tmp_path / "study")], channels=1, series=series)
        (result,) = process_cases(threshold_model(), cases, tmp_path / "out")
        assert result.error is None
        found.add(result.files[0].parent)
    assert len(found) == 1
    (beside,) = run(threshold_model(), [tmp_path / "study" / "one"], tmp_path / "out")
    assert beside.skipped
    (ambiguous,) = run(threshold_model(), [tmp_path / "study"], tmp_path / "out")
    assert "2 DICOM series; choose one" in str(ambiguous.error)


def test_folders_of_earlier_versions_are_known_again(tmp_path: Path) -> None:
    """They were called by the description alone, or with digits of the path."""
    for name, former in (("a", "head"), ("b", "head-")):
        folder = tmp_path / name
        write_dicom_series(scan_of(0), folder, description="head")
        (result,) = run(threshold_model(), [folder], tmp_path / "out")
        text = f"{folder.resolve()}\n"
        if former.endswith("-"):
            former += hashlib.sha256(text.encode()).hexdigest()[:8]
        case = result.files[0].parent.rename(tmp_path / "out" / former)
        record = json.loads((case / "run.json").read_text(encoding="utf-8"))
        del record["scan"], record["written"]
        record["input"] = [str(folder.resolve())]
        record["made_by"]["model"][1] = "s0"
        record["made_by"]["scan files"] = file_state([folder])
        (case / "run.json").write_text(json.dumps(record), encoding="utf-8")
        (again,) = run(threshold_model(), [folder], tmp_path / "out")
        assert again.skipped
        assert again.case.name == former
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_what_is_no_scan_fails_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no scan", encoding="utf-8")
    results = run(threshold_model(), [tmp_path / "empty", tmp_path / "notes.txt"], tmp_path / "out")
    assert [type(result.error) for result in results] == [InputError, InputError]
    assert "no DICOM files in this folder" in str(results[0].error)
