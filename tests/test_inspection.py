from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import typer
from typer.testing import CliRunner

from volseg.cli.inspect_command import inspect as inspect_command
from volseg.errors import InputError
from volseg.geometry import Grid
from volseg.inspection import inspect
from volseg.io.dicom_write import write_dicom_series
from volseg.volume import Volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A readable series, one with a missing slice, a structure set, a NIfTI image and a truncated one."""
    grid = Grid.from_spacing((6, 5, 4), (0.5, 0.5, 2.0))
    volume = Volume(np.arange(120, dtype=np.int16).reshape(grid.shape), grid, modality="CT")
    good = write_dicom_series(volume, tmp_path / "a", description="good [1] series")
    write_dicom_series(volume, tmp_path / "b", description="gappy")[2].unlink()
    dataset = pydicom.dcmread(good[0])
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"
    dataset.save_as(tmp_path / "a" / "rt.dcm")
    (tmp_path / "deep").mkdir()
    image = nibabel.Nifti1Image(volume.array.astype(np.float32) / 4, grid.affine)
    image.to_filename(tmp_path / "deep" / "scan.nii.gz")
    whole = (tmp_path / "deep" / "scan.nii.gz").read_bytes()
    (tmp_path / "deep" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "readme.txt").write_text("not an image", encoding="utf-8")
    return tmp_path


def test_everything_is_listed_with_what_it_is(folder: Path) -> None:
    found = inspect(folder)
    entries = {entry.name: entry for entry in found.entries}
    assert set(entries) == {
        "good [1] series",
        "gappy",
        "rt.dcm",
        str(Path("deep", "scan.nii.gz")),
        str(Path("deep", "cut.nii.gz")),
    }
    good, scan = entries["good [1] series"], entries[str(Path("deep", "scan.nii.gz"))]
    assert set(found.readable) == {good, scan}
    assert (good.kind, good.modality, good.shape, good.files) == ("DICOM series", "CT", (6, 5, 4), 4)
    assert (good.spacing_mm, good.orientation, good.dtype) == ((0.5, 0.5, 2.0), "RAS", "int16")
    assert good.value_range == (0, 119)
    assert (scan.kind, scan.shape, scan.dtype, scan.value_range) == ("NIfTI", (6, 5, 4), "float32", (0, 29.75))
    assert "a slice is missing" in str(entries["gappy"].problem)
    assert entries["gappy"].shape == (6, 5, 3)
    assert "RT Structure Set is not an image" in str(entries["rt.dcm"].problem)
    assert "cut.nii.gz" in str(entries[str(Path("deep", "cut.nii.gz"))].problem)


def test_damaged_file_is_an_entry(folder: Path) -> None:
    (folder / "a" / "0002.dcm").write_bytes(b"")
    (damaged,) = [entry for entry in inspect(folder / "a").entries if entry.kind == "DICOM file"]
    assert damaged.name == "0002.dcm"
    assert "damaged" in str(damaged.problem)


def test_single_files(folder: Path) -> None:
    (entry,) = inspect(folder / "a" / "0001.dcm").entries
    assert (entry.shape, entry.files) == ((6, 5, 1), 1)
    (entry,) = inspect(folder / "deep" / "scan.nii.gz").entries
    assert (entry.name, entry.files) == ("scan.nii.gz", 1)


def test_absent_or_empty_paths_are_errors(folder: Path) -> None:
    with pytest.raises(InputError, match="absent: no such file or folder"):
        inspect(folder / "absent")
    with pytest.raises(InputError, match=r"readme.txt: nothing to read; expected DICOM, NIfTI"):
        inspect(folder / "readme.txt")


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(inspect_command)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_table_is_for_people(folder: Path) -> None:
    text = run(str(folder))
    lines = text.splitlines()
    assert max(len(line) for line in lines if not line.startswith("not readable")) <= 100
    series = next(entry.series for entry in inspect(folder).entries if entry.name == "gappy")
    assert "good [1]" in text
    assert f"({str(series)[-6:]})" in text
    assert any(line.startswith("not readable:") and "a slice is missing" in line for line in lines)


def test_json_is_the_same_as_the_library(folder: Path) -> None:
    assert json.loads(run(str(folder), "--json")) == json.loads(json.dumps(inspect(folder).to_dict()))


def test_nothing_readable_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match="nothing in it can be read"):
        run(str(folder / "b"))
