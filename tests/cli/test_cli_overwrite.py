"""One rule for every command that writes where the user says: existing files stay unless --overwrite is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io import write

GRID = Grid.from_spacing((12, 10, 8), (1, 1, 2))
COMMANDS = {
    "mesh labels.nii.gz -o one.stl": ["one.stl"],
    "mesh labels.nii.gz -o one.obj": ["one.mtl", "one.obj"],
    "mesh labels.nii.gz -o out --format stl,vtm": ["out/liver.stl", "out/spleen.stl", "out/surfaces.vtm"],
    "mesh labels.nii.gz -o out --single-file --report": ["out/surfaces.stl", "out/surfaces_quality.tsv"],
    "mesh scan.nii.gz --threshold 100 -o bone.stl": ["bone.stl"],
    "mesh scan.nii.gz --threshold 100 -o bone": ["bone/scan.stl"],
    "measure labels.nii.gz --csv sizes.csv --json sizes.json": ["sizes.csv", "sizes.json"],
    "evaluate labels.nii.gz labels.nii.gz --csv scores.csv --json scores.json": ["scores.csv", "scores.json"],
    "view scan.nii.gz -s labels.nii.gz --contact-sheet sheet.png": ["sheet.png"],
    "convert labels.nii.gz new.nii.gz --labels labels.tsv": ["new.nii.gz", "new.tsv"],
    "convert scan.nii.gz slices": ["slices/0001.dcm"],
    "convert scan.nii.gz all --all": ["all/scan.nii.gz"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    array = np.zeros(GRID.shape, np.uint8)
    array[1:5, 1:8, 1:7], array[7:10, 2:5, 2:6] = 1, 2
    labels = (Label(1, "liver", (200, 0, 0)), Label(2, "spleen", (0, 200, 0)))
    write(LabelMap(array, GRID, labels), tmp_path / "labels.nii.gz")
    write(Volume(array.astype(np.int16) * 200, GRID), tmp_path / "scan.nii.gz")
    return tmp_path


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, names in COMMANDS.items() for name in names]
)
def test_what_is_there_stays_unless_it_may_be_replaced(command: str, name: str, folder: Path) -> None:
    there = folder / name
    there.parent.mkdir(exist_ok=True)
    there.write_text("precious")
    before = {path for path in folder.rglob("*") if path.is_file()}
    result = run(command)
    assert result.exit_code == 1, result.output
    assert "is there already; overwrite it (--overwrite), or choose another name" in result.stderr
    assert there.read_text() == "precious"
    assert {path for path in folder.rglob("*") if path.is_file()} == before
    if name.startswith("slices"):
        return
    assert run(f"{command} --overwrite").exit_code == 0
    assert there.read_bytes() != b"precious"


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_stands_in_the_way_of_new_files(command: str, folder: Path) -> None:
    result = run(command)
    assert result.exit_code == 0, result.output
    assert all((folder / name).stat().st_size > 50 for name in COMMANDS[command])


def test_of_several_cases_those_that_are_there_stay_and_the_others_are_written(folder: Path) -> None:
    labels = (folder / "labels.nii.gz").read_bytes()
    for case in "abc":
        (folder / "cases" / case).mkdir(parents=True)
        (folder / "cases" / case / "labels.nii.gz").write_bytes(labels)
    (folder / "out" / "b").mkdir(parents=True)
    (folder / "out" / "b" / "label_1.stl").write_text("precious")
    result = run("mesh cases -o out")
    assert result.exit_code == 3, result.output
    assert "1 of 3 cases failed" in result.stderr
    assert (folder / "out" / "b" / "label_1.stl").read_text() == "precious"
    assert {path.parent.name for path in (folder / "out").rglob("label_2.stl")} == {"a", "c"}


@pytest.mark.parametrize(
    "command",
    ["measure labels.nii.gz --csv a --json a", "view scan.nii.gz --contact-sheet a.png --screenshot a.png"],
)
def test_one_file_for_two_things_is_refused(command: str, folder: Path) -> None:
    result = run(command)
    assert result.exit_code == 2
    assert "is named for two outputs" in result.stderr
