from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io import read, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.verification import verify

GRID = Grid.from_spacing((10, 9, 8), (1, 1.5, 2), (50, -60, 70))
ARRAY = np.zeros(GRID.shape, np.uint8)
ARRAY[1:4, 1:8, 1:7] = 1
LABELS = (Label(1, "liver", (200, 0, 0)),)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A series, and label maps on its grid, 1 mm off, and of another patient space; also the current folder."""
    monkeypatch.chdir(tmp_path)
    scan = Volume(np.arange(720, dtype=np.int16).reshape(GRID.shape), GRID, modality="CT")
    for name in ("slices", "others"):
        write_dicom_series(scan, tmp_path / name)
    write(LabelMap(ARRAY, GRID, LABELS), tmp_path / "labels.nii.gz")
    write(LabelMap(ARRAY, GRID, LABELS), tmp_path / "seg.dcm", image=read(tmp_path / "slices"))
    moved = Grid.from_spacing(GRID.shape, (1, 1.5, 2), (51, -60, 70))
    write(LabelMap(ARRAY, moved, LABELS), tmp_path / "moved.nii.gz")
    return tmp_path


def run(command: str) -> Result:
    return CliRunner().invoke(app, ["verify", *command.split()])


def test_agreement_is_said_and_ends_with_0(folder: Path) -> None:
    result = run("slices labels.nii.gz")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("agrees: labels.nii.gz: lies on the grid of the image (corners up to ")
    assert lines[1] == "image: 10x9x8 voxels, 1x1.5x2 mm, RAS, origin (50.0, -60.0, 70.0)"
    assert lines[-1] == "labels: image voxels 1 to 3, 1 to 7, 1 to 6; all inside"
    assert not result.stderr


def test_disagreement_ends_with_1_and_says_what_to_do(folder: Path) -> None:
    result = run("slices moved.nii.gz")
    assert result.exit_code == 1
    assert "agrees" not in result.stdout
    assert "labels: image voxels 2 to 4, 1 to 7, 1 to 6; all inside" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: moved.nii.gz: is displaced by (1, 0, 0) mm (corners up to 1 mm apart)")
    assert "`volseg convert moved.nii.gz OUT --image slices` brings it onto the image's grid" in line
    converted = CliRunner().invoke(app, ["convert", "moved.nii.gz", "onto.nii.gz", "--image", "slices"])
    assert converted.exit_code == 0
    assert run("slices onto.nii.gz").exit_code == 0
    assert run("slices moved.nii.gz --tolerance 1.5").exit_code == 0


def test_dicom_references(folder: Path) -> None:
    result = run("slices seg.dcm")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == ["same DICOM frame of reference: yes", "made on this series: yes"]
    result = run("others seg.dcm")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == ["same DICOM frame of reference: no", "made on this series: no"]
    assert "seg.dcm: was made on another series than others" in result.stderr
    assert "of another patient space (FrameOfReferenceUID)" in result.stderr


def test_contours(folder: Path) -> None:
    write(LabelMap(ARRAY, GRID, LABELS), folder / "rs.dcm", image=read("slices"), form="rtstruct")
    write(read("slices"), folder / "scan.nii.gz")
    result = run("scan.nii.gz rs.dcm")
    assert result.exit_code == 0, result.output
    assert "agrees: rs.dcm: has contours in patient mm, on 6 slices of the image" in result.stdout
    assert result.stdout.splitlines()[-1] == "made on this series: not known, as the image is not DICOM"


@pytest.mark.parametrize("name", ["labels.nii.gz", "moved.nii.gz", "seg.dcm"])
def test_json_is_the_same_as_the_library(folder: Path, name: str) -> None:
    result = run(f"slices {name} --json")
    assert json.loads(result.stdout) == json.loads(json.dumps(verify("slices", name).to_dict()))
    assert result.exit_code == (1 if name == "moved.nii.gz" else 0)


def test_what_cannot_be_read_is_an_error(folder: Path) -> None:
    result = run("slices none.nii.gz")
    assert result.exit_code == 1
    assert "none.nii.gz: no such file or folder" in result.stderr
    assert run("slices").exit_code == 2
