"""`volseg predict` as a user sees it: its output, its exit codes, and the files that are left when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.config import parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.volume import Volume
from volseg.network.file import Model, make_generator, save_model

GRID = Grid.from_spacing((12, 10, 6), (1, 1, 3))
EVIL = "\x1b[31mred\x07\nerror: none"
linux = pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes, and signals to a process")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, and the current folder."""
    axial = {"planes": ["axial"], "spacing_mm": [1, 1, 3], "normalisation": [{"kind": "zscore"}]}
    config = parse_config({"preparation": axial, "network": {"width": 2, "levels": 1}})
    network = make_generator(config, channels=1, labels=1)
    labels = (Label(1, EVIL, (1, 2, 3)),)
    save_model(Model(config, labels, ("MR",), {"axial.0": network}), tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_scan(path: Path, grid: Grid = GRID) -> Path:
    volseg.write(Volume(np.arange(np.prod(grid.shape), dtype=np.int32).reshape(grid.shape) % 1000, grid), path)
    return path


def predict(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments), "-m", "model.safetensors", "-o", "out"])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_what_is_there_already_is_not_said_to_be_written(folder: Path) -> None:
    write_scan(folder / "scan.nii.gz")
    code, said = predict("scan.nii.gz")
    assert code == 0
    case = Path("out") / "scan"
    assert said.splitlines()[:1] == [f"[1/1] scan.nii.gz -> {case}"]
    assert said.splitlines()[1].startswith(
        "no expected Dice: the model knows no held-out cases to compare with; look at"
    )
    assert said.splitlines()[2:] == [f"wrote {case / name}" for name in ("labels.nii.gz", "labels.tsv", "run.json")]
    code, said = predict("scan.nii.gz", "--mesh", "stl")
    assert code == 0
    assert [line for line in said.splitlines() if line.startswith("wrote")][-1] == f"wrote {case / 'run.json'}"
    assert "labels.nii.gz" not in said
    code, said = predict("scan.nii.gz")
    assert code == 0
    assert said == f"[1/1] scan.nii.gz -> {case}: finished already, skipped (--overwrite redoes it)\n"


def test_paths_in_run_json(folder: Path) -> None:
    write_scan(folder / "scans" / "scan.nii.gz")
    predict(folder / "scans" / "scan.nii.gz")
    text = (folder / "out" / "scan" / "run.json").read_text(encoding="utf-8")
    assert (json.loads(text)["input"], json.loads(text)["model"]) == (["scans/scan.nii.gz"], "model.safetensors")
    assert str(folder) not in text
    predict("scans", "--overwrite", "--full-paths")
    record = json.loads((folder / "out" / "scan" / "run.json").read_text(encoding="utf-8"))
    assert record["input"] == [(folder / "scans" / "scan.nii.gz").as_posix()]
    assert record["model"] == (folder / "model.safetensors").as_posix()


@linux
@pytest.mark.parametrize("name", [EVIL, "caf\udce9", "é" * 124, "=cmd|' C calc'!A0", "-o", "a,b"])
def test_whatever_a_scan_is_called_it_is_segmented_and_nothing_is_printed_raw(folder: Path, name: str) -> None:
    write_scan(folder / "scans" / f"{name}.nii.gz")
    write_scan(folder / "scans" / f"broken {name[:60]}.nii.gz").write_bytes(b"\x1f\x8b broken")
    code, said = predict("scans", "--mesh", "stl")
    assert code == 3
    assert all(character.isprintable() or character == "\n" for character in said)
    assert (folder / "out" / name / "labels.nii.gz").is_file()
    assert json.loads((folder / "out" / name / "run.json").read_text(encoding="utf-8"))["case"] == name
    assert "1 of 2 cases failed" in said


@linux
def test_a_name_that_is_no_text_ends_nothing_on_a_strict_terminal(folder: Path) -> None:
    write_scan(folder / "caf\udce9.nii.gz")
    command = [sys.executable, "-m", "volseg", "predict", "caf\udce9.nii.gz", "-m", "model.safetensors", "-o", "out"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / "caf\udce9" / "labels.nii.gz").is_file()


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_it_is_stopped_the_old_case_stays_and_nothing_else(folder: Path, number: signal.Signals) -> None:
    large = Grid.from_spacing((200, 200, 200), (1, 1, 3))
    write_scan(folder / "scan.nii.gz")
    predict("scan.nii.gz")
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    write_scan(folder / "scan.nii.gz", large)
    command = [sys.executable, "-m", "volseg", "predict", "scan.nii.gz", "-m", "model.safetensors", "-o", "out"]
    process = subprocess.Popen(
        [*command, "--overwrite", "--mesh", "stl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background ignores interrupts, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((folder / "out").glob(".volseg-*.new-*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted"
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()} == before
