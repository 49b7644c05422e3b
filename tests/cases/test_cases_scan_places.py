"""Which scans a folder stands for: every scan once and whole, however the folders lie."""

from __future__ import annotations

import logging
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import volseg
from volseg.cases.scan_places import expand_folder
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.scan_files import find_scan_files

GRID = Grid.from_spacing((4, 5, 4))


def series(folder: Path, number: int, *, patient: str, study: str = "", description: str = "head") -> list[Path]:
    """Write a scan of four slices."""
    volume = Volume(np.full(GRID.shape, number, np.int16), GRID, modality="MR")
    files = write_dicom_series(volume, folder, description=description)
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.PatientID, dataset.StudyInstanceUID = patient, f"1.2.{patient[1:]}.{study or 0}"
        dataset.save_as(file)
    return files


@cache
def instances_in(folder: Path) -> list[str]:
    return [str(pydicom.dcmread(file).SOPInstanceUID) for file in folder.iterdir()]


def zipped(folder: Path) -> Path:
    archive = shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    return Path(archive)


def places(folder: Path, wanted: str | None = None) -> list[tuple[str, bool]]:
    return [
        (place.path.relative_to(folder).as_posix(), place.series is not None) for place in expand_folder(folder, wanted)
    ]


def test_folders_of_several_patients_are_a_cohort(tmp_path: Path) -> None:
    series(tmp_path / "anna", 1, patient="P1")
    series(tmp_path / "site" / "bert", 2, patient="P2")
    series(tmp_path / "site" / "carl" / "deep" / "slices", 3, patient="P3")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "readme.txt").write_text("no scan", encoding="utf-8")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert places(tmp_path) == [("anna", False), ("site/bert", False), ("site/carl", False)]
    assert places(tmp_path / "site") == [("bert", False), ("carl", False)]
    assert places(tmp_path / "anna") == [(".", False)]


def test_two_studies_of_one_patient_are_two_scans_and_one_study_is_one(tmp_path: Path) -> None:
    for study in "12":
        for description in ("T1", "T2"):
            series(tmp_path / study / description, 1, patient="P1", study=study, description=description)
    assert places(tmp_path) == [("1", False), ("2", False)]
    assert places(tmp_path / "1") == [(".", False)]


def test_archives_are_scans_each_and_a_broken_one_too(tmp_path: Path) -> None:
    for number in range(3):
        zipped(series(tmp_path / f"p{number}", number, patient="P1")[0].parent)
    (tmp_path / "p2.zip").write_bytes(b"PK\x03\x04 broken")
    series(tmp_path / "folder", 5, patient="P1")
    assert places(tmp_path) == [("folder", False), ("p0.zip", False), ("p1.zip", False), ("p2.zip", False)]


@pytest.mark.parametrize("archives", [False, True])
def test_a_series_that_is_spread_over_folders_is_not_taken_apart(tmp_path: Path, archives: bool) -> None:
    files = series(tmp_path / "0000", 1, patient="P1")
    (tmp_path / "0001").mkdir()
    for file in files[2:]:
        file.rename(tmp_path / "0001" / file.name)
    series(tmp_path / "0002", 2, patient="P2")
    if archives:
        for folder in list(tmp_path.iterdir()):
            zipped(folder)
    assert places(tmp_path) == [(".", False)]


def test_copies_of_a_scan_do_not_keep_a_folder_from_being_a_cohort(tmp_path: Path) -> None:
    series(tmp_path / "a", 1, patient="P1")
    shutil.copytree(tmp_path / "a", tmp_path / "a again")
    series(tmp_path / "b", 2, patient="P2")
    assert places(tmp_path) == [("a", False), ("a again", False), ("b", False)]


def test_patients_side_by_side_in_one_folder_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        for description in ("T1", "T2")[:number]:
            for file in series(tmp_path / "tmp", number, patient=f"P{number}", description=description):
                file.rename(tmp_path / f"{number}{description}{file.name}")
    (tmp_path / "tmp").rmdir()
    assert places(tmp_path) == [(".", False)]  # of the second patient one has to be chosen
    found = expand_folder(tmp_path, "T1")
    assert len({place.series for place in found}) == 2
    for place in found:
        assert len(volseg.read(place.path, series=place.series).source.files) == 4
    assert len(expand_folder(tmp_path, "T2")) == 1
    assert "left out: " in caplog.text
    assert "no DICOM series 'T2'" in caplog.text


def test_beside_image_files_others_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volseg.write(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "scan.nii.gz")
    series(tmp_path / "slices", 1, patient="P1")
    zipped(series(tmp_path / "archive", 2, patient="P2")[0].parent)
    (tmp_path / "labels").mkdir()
    (tmp_path / ".hidden.nii.gz").write_bytes(b"")
    assert places(tmp_path) == [("scan.nii.gz", False)]
    assert caplog.record_tuples == [
        (
            "volseg.cases.scan_places",
            logging.WARNING,
            f"{tmp_path}: only its image files are taken; left out, give them by name: archive.zip, slices",
        )
    ]


@pytest.mark.parametrize("content", [[], ["notes.txt"], ["deep/folder/notes.txt"]])
def test_a_folder_without_scans_is_left_to_its_reader(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("no scan", encoding="utf-8")
    assert places(tmp_path) == [(".", False)]


def test_results_inside_the_folder_are_no_scans(tmp_path: Path) -> None:
    """So that a second call with the same words, `predict . -o out --dicom seg`, finds the same scans."""
    for number in (1, 2):
        series(tmp_path / f"p{number}", number, patient=f"P{number}")
    image = volseg.read(tmp_path / "p1")
    labels = volseg.LabelMap.from_array(np.ones(GRID.shape, np.uint8), image.grid)
    volseg.write(labels, tmp_path / "out" / "case" / "labels_seg.dcm", image=image)
    assert places(tmp_path) == [("p1", False), ("p2", False)]


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[str, int, bool]]:
    """Where scans lie, of which patient each is, and whether its folder is an archive."""
    count = draw(st.integers(1, 5))
    parents = st.sampled_from(["", "a/", "a/b/", "c/"])
    return [(f"{draw(parents)}s{n}", draw(st.integers(1, 3)), draw(st.booleans())) for n in range(count)]


@settings(max_examples=40, deadline=None)
@given(tree=trees())
def test_every_scan_is_found_once_and_whole_or_has_to_be_chosen(
    tree: list[tuple[str, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    instances = []
    for number, (where, patient, archive) in enumerate(tree):
        kept = tmp_path_factory.getbasetemp() / f"kept_{number}_of_P{patient}"
        if not kept.exists():
            series(kept, number, patient=f"P{patient}")
        shutil.copytree(kept, root / where)
        instances.append(frozenset(instances_in(kept)))
        if archive:
            zipped(root / where)
    found = expand_folder(root)
    covered: list[frozenset[str]] = []
    for place in found:
        if len(found) == 1 and len(tree) > 1:
            patients = {patient for _, patient, _ in tree}
            assert len(patients) == 1  # one study: one of its series has to be chosen
            return
        scans = [tree[n] for n in range(len(tree)) if (root / tree[n][0]).is_relative_to(place.path.with_suffix(""))]
        if len(scans) > 1:  # a folder of one study
            assert len({patient for _, patient, _ in scans}) == 1
            covered += [instances[n] for n in range(len(tree)) if tree[n] in scans]
        else:
            (chosen,) = find_scan_files([place.path], place.series).chosen
            covered.append(frozenset(frame.sop_instance_uid for frame in chosen.frames))
    assert sorted(map(sorted, covered)) == sorted(map(sorted, instances))
