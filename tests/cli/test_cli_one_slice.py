"""Labels on one slice of a scan have no surface: the error names a remedy, and the remedy works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from volseg.cases.subject import read_subject
from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io import read, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.mesh.reading import read_meshes

GRID = Grid.from_spacing((12, 10, 6), (1, 1, 3), (5, 6, 7))
SLICE = 3


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_dicom_series(Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT"), tmp_path / "scan")
    return tmp_path / "scan"


def one_slice(form: str, scan: Path, folder: Path) -> Path:
    array = np.zeros(GRID.shape, np.uint8)
    array[3:8, 2:7, SLICE] = 1
    label = (Label(1, "liver", (9, 9, 9)),)
    if form in ("seg", "labelmap"):
        write(LabelMap(array, GRID, label), folder / "a.dcm", image=read(scan), form=form)
        return folder / "a.dcm"
    grid = GRID.crop((0, 0, SLICE), (12, 10, SLICE + 1))
    return write(LabelMap(array[:, :, SLICE : SLICE + 1], grid, label), folder / f"a{form}")[0]


def assert_lies_on_its_slice(folder: Path) -> None:
    (mesh,) = read_meshes(folder / "liver.stl")
    low, high = np.min(mesh.vertices, axis=0), np.max(mesh.vertices, axis=0)
    centre = GRID.to_world([5, 4, SLICE])
    np.testing.assert_allclose((low + high) / 2, centre, atol=0.4)


@pytest.mark.parametrize("form", ["seg", "labelmap"])
def test_segments_are_put_among_the_slices_of_their_scan(form: str, scan: Path, tmp_path: Path) -> None:
    path = one_slice(form, scan, tmp_path)
    if form == "labelmap":  # which has all frames
        assert run("mesh", path, "-o", tmp_path / "out").exit_code == 0
        return
    refused = run("mesh", path, "-o", tmp_path / "out")
    assert refused.exit_code == 1
    text = " ".join(refused.output.split())
    assert re.search(r"holds a single slice \(12x10x1 voxels\).*; give the scan that was segmented too \(--image", text)
    result = run("mesh", path, "-o", tmp_path / "out", "--image", scan, "--no-smooth")
    assert result.exit_code == 0, result.output
    assert_lies_on_its_slice(tmp_path / "out")


@pytest.mark.parametrize("form", [".nii.gz", ".seg.nrrd"])
def test_other_labels_are_put_there_by_convert(form: str, scan: Path, tmp_path: Path) -> None:
    path = one_slice(form, scan, tmp_path)
    text = " ".join(run("mesh", path, "-o", tmp_path / "out").output.split())
    command = re.search(r"`volseg (convert a\S+ OUT\.nii\.gz --image SCAN)` puts it among the slices of its scan", text)
    assert command
    places = {path.name: path, "OUT.nii.gz": tmp_path / "OUT.nii.gz", "SCAN": scan}
    arguments = [places.get(word, word) for word in command[1].split()]
    assert run(*arguments).exit_code == 0
    assert run("mesh", tmp_path / "OUT.nii.gz", "-o", tmp_path / "out", "--no-smooth").exit_code == 0
    assert_lies_on_its_slice(tmp_path / "out")


def test_where_the_scan_has_one_slice_nothing_helps(tmp_path: Path) -> None:
    grid = GRID.crop((0, 0, 0), (12, 10, 1))
    write_dicom_series(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), tmp_path / "scan")
    labels = LabelMap(np.ones(grid.shape, np.uint8), grid, (Label(1, "liver", (9, 9, 9)),))
    write(labels, tmp_path / "a.dcm", image=read(tmp_path / "scan"))
    result = run("mesh", tmp_path / "a.dcm", "-o", tmp_path / "out", "--image", tmp_path / "scan")
    assert "its scan is a single slice too" in " ".join(result.output.split())


def test_measure_and_view_say_it_too(scan: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = one_slice("seg", scan, tmp_path)
    assert run("measure", path).exit_code == 0
    assert "holds a single slice (12x10x1 voxels)" in caplog.text
    caplog.clear()
    assert read_subject([path]).surfaces() == []
    assert "--image; to `view` as INPUT), to put it among its slices; --contact-sheet draws it" in caplog.text
    caplog.clear()
    subject = read_subject([scan, path])
    assert [layer.grid.shape for layer in subject.labels] == [GRID.shape]
    assert [mesh.name for mesh in subject.surfaces()] == ["liver"]
    assert "single slice" not in caplog.text
