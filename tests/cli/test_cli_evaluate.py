from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from volseg.cli.evaluate_command import evaluate
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.errors import PartialError
from volseg.io import write
from volseg.phantoms import sphere_labelmap

SPHERE = sphere_labelmap(Grid.from_spacing((16, 16, 8), (1, 1, 2)), radius_mm=5, name="tumour [left]")

app = typer.Typer()
app.command()(evaluate)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for number in range(6):
        moved = LabelMap(np.roll(SPHERE.array, number % 3, axis=0), SPHERE.grid, SPHERE.labels)
        write(moved, tmp_path / "out" / f"case_{number}" / "labels.nii.gz")
        write(SPHERE, tmp_path / "references" / f"case_{number}.nii.gz")
    return tmp_path / "out", tmp_path / "references"


def test_prints_a_table_with_intervals_and_lists_the_files(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(*folders, "--csv", tmp_path / "rows.csv", "--json", tmp_path / "all.json")
    assert result.exit_code == 0, result.output
    assert "tumour [left]" in result.output
    assert "class-mean Dice 0." in result.output
    assert "[0." in result.output
    assert "over 6 cases" in result.output
    assert result.output.splitlines()[-2:] == [f"wrote {tmp_path / 'rows.csv'}", f"wrote {tmp_path / 'all.json'}"]
    assert len((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()) == 7


def test_the_tolerance_is_used(folders: tuple[Path, Path]) -> None:
    assert "of both surfaces within 2.5 mm of the other" in run(*folders, "--tolerance", 2.5).output
    assert run(*folders, "--tolerance", -1).exit_code == 2


def test_missed_labels_are_said(tmp_path: Path) -> None:
    write(LabelMap(0 * SPHERE.array, SPHERE.grid, SPHERE.labels), tmp_path / "p.nii.gz")
    write(SPHERE, tmp_path / "r.nii.gz")
    output = run(tmp_path / "p.nii.gz", tmp_path / "r.nii.gz").output
    assert "tumour [left]: 1 missed of 1 (counted as Dice 0 and as the grid's diagonal)" in output


def test_a_prediction_without_reference_is_named_after_the_others(folders: tuple[Path, Path]) -> None:
    (folders[1] / "case_3.nii.gz").unlink()
    result = run(*folders)
    assert isinstance(result.exception, PartialError)
    assert "1 of 6 cases could not be compared:\ncase_3: no reference; " in str(result.exception)
    assert "over 5 cases" in result.output


def test_a_failing_case_is_named_after_the_others_are_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (folders[1] / "case_3.nii.gz").write_bytes(b"nothing of use")
    result = run(*folders, "--csv", tmp_path / "rows.csv")
    assert isinstance(result.exception, PartialError)
    assert result.exception.exit_code == 3
    assert "1 of 6 cases could not be compared:\ncase_3: " in str(result.exception)
    assert len((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()) == 6
