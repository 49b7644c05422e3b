from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from handmade_dicom import write_enhanced
from typer.testing import CliRunner, Result

from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.files.plain_text import plain
from volseg.inspection import inspect
from volseg.io import read, write
from volseg.io.dicom.writing import write_dicom_series

GRID = Grid.from_spacing((6, 5, 4), (0.5, 0.5, 2.0))
VOLUME = Volume(np.arange(120, dtype=np.int16).reshape(GRID.shape), GRID, modality="CT")
LONG = "sub-01_ses-20240101_task-rest_acq-highres_run-1_part-mag_bold.nii.gz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good series and its segmentation, one to be repaired, a refused one, a file with a long name."""
    write_dicom_series(VOLUME, tmp_path / "a", description="good [1] series")
    labels = LabelMap((VOLUME.array > 60).astype(np.uint8), GRID, (Label(1, "liver", (200, 0, 0)),))
    write(labels, tmp_path / "seg.dcm", image=read(tmp_path / "a"))
    write_dicom_series(VOLUME, tmp_path / "b", description="gappy")[2].unlink()
    for file in write_dicom_series(VOLUME, tmp_path / "c", description="placeless"):
        change(file, ImagePositionPatient=None)
    write(VOLUME, tmp_path / "deep" / LONG)
    return tmp_path


def change(file: Path, **values: Any) -> None:
    dataset = pydicom.dcmread(file)
    dataset.update(values)
    dataset.save_as(file)


def run(*arguments: object, columns: int = 100) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)], env={"COLUMNS": str(columns)})


def test_table_is_for_people(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    series = {entry.name: str(entry.series)[-6:] for entry in inspect(folder).entries}
    assert lines[0].split() == ["voxels", "spacing", "mm", "axes", "type", "values", "files"]
    good = lines.index(f" 1  DICOM CT  good [1] series ({series['good [1] series']})")
    assert lines[good + 1].split() == ["6x5x4", "0.5x0.5x2", "RAS", "int16", "0", "to", "119", "HU", "4"]
    assert lines[good + 2].strip() == "order from positions along the normal, slices 2 mm apart; uncompressed"
    text = " ".join(result.stdout.split())
    assert "slices 2 mm apart, widest gap 4 mm; uncompressed" in text
    assert "repaired: slices are missing (1): 4 mm from z = 2.00 mm (0002.dcm) to z = 6.00 mm" in text
    assert "slices would be off by up to 1 mm)" in text
    assert "refused: c/0001.dcm: ImagePositionPatient is missing" in text.replace("\\", "/")
    assert "holds: liver made on: number 1" in text
    assert lines[-1] == "5 found: 1 refused, 1 repaired when read"


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_lines_fit_and_names_stay_whole(folder: Path, columns: int) -> None:
    lines = run(folder, columns=columns).stdout.splitlines()
    assert any(str(Path("deep", LONG)) in line for line in lines)
    assert max(map(len, lines)) <= columns


def test_lone_paths_are_not_repeated(folder: Path) -> None:
    (folder / "cut.nii.gz").write_bytes((folder / "deep" / LONG).read_bytes()[:60])
    result = run(folder / "cut.nii.gz")
    assert result.exit_code == 1
    assert str(folder) not in result.stdout
    assert "nothing in it can be read; the list gives the reasons" in result.stderr


def test_time_points_are_one_block(tmp_path: Path) -> None:
    scans = [Volume(np.full((4, 3, 2), n, np.int16), Grid.from_spacing((4, 3, 2))) for n in range(1, 13)]
    write_enhanced(scans, tmp_path / "time.dcm")
    lines = run(tmp_path).stdout.splitlines()
    assert "12 volumes" in lines[1]
    names = [str(entry.series_name) for entry in inspect(tmp_path).entries]
    assert f"for --series: {names[0]} to {names[-1]}" in lines[-2]
    assert "int16/float32  1 to " in lines[2]  # the scaling of this file differs from time to time
    assert lines[-1] == "12 found"


def test_volumes_are_listed_as_series_takes_them(tmp_path: Path) -> None:
    scans = [Volume(np.full((4, 3, 2), n, np.int16), Grid.from_spacing((4, 3, 2))) for n in (1, 2)]
    write_enhanced(scans, tmp_path / "time.dcm")
    (line,) = [line for line in run(tmp_path).stdout.splitlines() if "for --series: " in line]
    first, second = line.partition("for --series: ")[2].split("; ")
    found = [read(tmp_path, series=text).array.max() for text in (first, second)]
    assert found == [entry.value_range and entry.value_range[1] for entry in inspect(tmp_path).entries]
    assert found[0] != found[1]


def test_what_blocks_a_folder_is_said_at_the_end(folder: Path) -> None:
    (folder / "a" / "0002.dcm").write_bytes(b"")
    result = run(folder)
    assert result.exit_code == 0
    where = Path("a", "0002.dcm")
    assert f"damaged files block the reading of series; move them away: {where}" in result.stdout


def test_headers_alone(folder: Path) -> None:
    result = run(folder, "--headers")
    assert result.exit_code == 0
    assert "0 to 119" not in result.stdout
    assert "6x5x4" in result.stdout


def test_json_is_the_same_as_the_library(folder: Path) -> None:
    assert json.loads(run(folder, "--json").stdout) == json.loads(json.dumps(inspect(folder).to_dict()))
    quick = json.loads(run(folder, "--json", "--headers").stdout)
    assert quick == json.loads(json.dumps(inspect(folder, headers=True).to_dict()))


def test_nothing_readable_is_an_error(folder: Path) -> None:
    result = run(folder / "c")
    assert result.exit_code == 1
    assert "refused:" in result.stdout
    assert "error: " in result.stderr
    assert "nothing in it can be read" in result.stderr


def test_no_control_characters_reach_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[31mred\x1b]0;title\x07\r\nnew\u202eline\x9b2J"
    for file in write_dicom_series(VOLUME, tmp_path):
        change(file, SeriesDescription=evil)
    for arguments in ([tmp_path], [tmp_path, "--json"]):
        text = run(*arguments).stdout
        assert all(character.isprintable() or character == "\n" for character in text)
    assert "?[31mred" in run(tmp_path).stdout


def test_plain_keeps_what_can_be_read() -> None:
    assert plain("Schädel – 頭部 5 mm") == "Schädel – 頭部 5 mm"
    assert plain("a\tb\nc\x00\x1b[0m\u2028d") == "a b c??[0m d"
