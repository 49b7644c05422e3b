"""Bad input gives one clear line, the right exit code, no traceback, and no incomplete files."""

from __future__ import annotations

import gzip
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.config import parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.io.dicom.writing import write_dicom_series
from volseg.network.file import Model, make_generator, save_model

GRID = Grid.from_spacing((12, 10, 6), (1, 1, 3))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with good files, to go wrong with; also the current one."""
    array = np.arange(720, dtype=np.int16).reshape(GRID.shape)
    volseg.write(Volume(array, GRID), tmp_path / "scan.nii.gz")
    labels = LabelMap.from_array((array > 300).astype(np.uint8), GRID)
    volseg.write(labels, tmp_path / "labels.nii.gz")
    moved = LabelMap(labels.array, Grid.from_spacing(GRID.shape, (1, 1, 3), (5, 0, 0)), labels.labels)
    volseg.write(moved, tmp_path / "moved.nii.gz")
    axial = {"planes": ["axial"], "spacing_mm": [1, 1, 3], "normalisation": [{"kind": "zscore"}]}
    config = parse_config({"preparation": axial, "network": {"width": 2, "levels": 1}})
    network = make_generator(config, channels=1, labels=1)
    save_model(Model(config, labels.labels, ("MR",), {"axial.0": network}), tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cut_gzip(folder: Path) -> None:
    (folder / "cut.nii.gz").write_bytes((folder / "scan.nii.gz").read_bytes()[:-300])


def text_as_image(folder: Path) -> None:
    (folder / "text.nii.gz").write_bytes(gzip.compress(b"not an image at all"))


def missing_slice(folder: Path) -> None:
    files = write_dicom_series(Volume(np.zeros(GRID.shape, np.int16), GRID), folder / "slices")
    files[2].unlink()


def unknown_key(folder: Path) -> None:
    (folder / "config.yaml").write_text("network:\n  decodr: upsample\n", encoding="utf-8")


def damaged_model(folder: Path) -> None:
    blob = bytearray((folder / "model.safetensors").read_bytes())
    blob[-5] ^= 1
    (folder / "damaged.safetensors").write_bytes(blob)


def foreign_model(folder: Path) -> None:
    save_file({"weight": np.zeros(3)}, folder / "foreign.safetensors")


def pickled_model(folder: Path) -> None:
    (folder / "pickled.safetensors").write_bytes(pickle.dumps({"weight": 1}))


def file_where_the_folder_goes(folder: Path) -> None:
    (folder / "taken").write_text("", encoding="utf-8")


def all_nan(folder: Path) -> None:
    volseg.write(Volume(np.full(GRID.shape, np.nan, np.float32), GRID), folder / "nan.nii.gz")


def one_slice(folder: Path) -> None:
    flat = Grid.from_spacing((12, 10, 1))
    volseg.write(LabelMap.from_array(np.ones(flat.shape, np.uint8), flat), folder / "flat.nii.gz")


def orphans(folder: Path) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    for name in ("a", "b"):
        volseg.write(Volume(array, GRID), folder / "set" / "imagesTr" / f"{name}.nii.gz")
    for name in ("b", "c"):
        volseg.write(LabelMap.from_array(array, GRID), folder / "set" / "labelsTr" / f"{name}.nii.gz")


def nothing(folder: Path) -> None:
    pass


CASES: dict[str, tuple[Callable[[Path], None], str, int, str]] = {
    "missing file": (nothing, "predict no.nii.gz -m model.safetensors -o out", 1, "no.nii.gz: no such file"),
    "truncated gzip": (cut_gzip, "predict cut.nii.gz -m model.safetensors -o out", 1, "cut.nii.gz: "),
    "not an image": (text_as_image, "inspect text.nii.gz", 1, "text.nii.gz"),
    "missing slice": (
        missing_slice,
        "predict slices -m model.safetensors -o out --strict",
        1,
        "repairs are switched off (--strict)",
    ),
    "label map on another grid": (nothing, "evaluate moved.nii.gz labels.nii.gz", 1, "5"),
    "unknown config key": (unknown_key, "train . -o run --config config.yaml", 2, "did you mean 'decoder'?"),
    "impossible value": (nothing, "train . -o run --set optimiser.learning_rate=-1", 2, "learning_rate"),
    "missing model": (nothing, "predict scan.nii.gz -m no -o out", 1, "no: no such model file"),
    "damaged model": (damaged_model, "predict scan.nii.gz -m damaged.safetensors -o out", 1, "digest"),
    "foreign model": (foreign_model, "predict scan.nii.gz -m foreign.safetensors -o out", 1, "not a volseg model"),
    "pickled model": (
        pickled_model,
        "predict scan.nii.gz -m pickled.safetensors -o out",
        1,
        "not a readable safetensors",
    ),
    "wrong number of channels": (
        nothing,
        "predict scan.nii.gz,labels.nii.gz -m model.safetensors -o out",
        2,
        "takes 1",
    ),
    "unwritable folder": (file_where_the_folder_goes, "predict scan.nii.gz -m model.safetensors -o taken", 1, "taken"),
    "all-NaN scan": (all_nan, "predict nan.nii.gz -m model.safetensors -o out", 1, "nan.nii.gz"),
    "mesh of one slice": (one_slice, "mesh flat.nii.gz -o out", 1, "slice"),
    "space for GLB": (nothing, "mesh labels.nii.gz -o out --format glb --space ras", 2, "--space"),
    "predicted space for GLB": (
        nothing,
        "predict scan.nii.gz -m model.safetensors -o out --mesh glb --space ras",
        2,
        "--space has no meaning for GLB",
    ),
    "space without surfaces": (
        nothing,
        "predict scan.nii.gz -m model.safetensors -o out --space ras",
        2,
        "--space ras goes with --mesh FORMAT",
    ),
    "unknown space": (
        nothing,
        "predict scan.nii.gz -m model.safetensors -o out --mesh stl --space rsa",
        2,
        "--space rsa is unknown; choose lps or ras",
    ),
    "name too long for a file": (
        nothing,
        f"convert labels.nii.gz {'x' * 300}.nii.gz",
        1,
        "x.nii.gz: the name is too long",
    ),
    "unknown mesh format": (nothing, "mesh labels.nii.gz -o out --format step", 2, "step"),
    "orphans in a dataset": (orphans, "train set -o run", 1, "c: "),
    "unknown device": (
        nothing,
        "predict scan.nii.gz -m model.safetensors -o out --device cuda:77",
        2,
        "--device cuda:77: cannot be used here",
    ),
    "unknown option": (nothing, "predict scan.nii.gz --modle model.safetensors -o out", 2, "--modle"),
    "no such fold": (nothing, "train . -o run --fold two", 2, "--fold is 'two'"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, folder: Path) -> None:
    spoil, command, code, words = CASES[name]
    spoil(folder)
    before = set(folder.rglob("*"))
    result = CliRunner().invoke(app, command.split())
    print(f"{name} | volseg {command} | {result.exit_code} | {result.stderr.strip()}")
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    new = {path for path in set(folder.rglob("*")) - before if path.is_file()}
    assert new <= {folder / "out" / "failures.json"}


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files, which this system cannot")
def test_disk_full_leaves_nothing(folder: Path) -> None:
    big = Grid.from_spacing((64, 64, 40))
    random = np.random.default_rng(0).normal(size=big.shape).astype(np.float32)
    volseg.write(Volume(random, big), folder / "big.nii.gz")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    command = [sys.executable, "-m", "volseg", "predict", "big.nii.gz", "-m", "model.safetensors", "-o", "out"]
    # Python would take a compiled module that was cut for whole.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=limit, check=False, cwd=folder, env=environment
    )
    assert run.returncode == 1
    assert "labels.nii.gz: cannot be written (File too large)" in run.stderr
    assert "Traceback" not in run.stderr
    assert not [path for path in (folder / "out").rglob("*") if path.is_file()]


def test_some_inputs_failed(folder: Path) -> None:
    cut_gzip(folder)
    result = CliRunner().invoke(app, ["predict", "cut.nii.gz", "scan.nii.gz", "-m", "model.safetensors", "-o", "out"])
    assert result.exit_code == 3
    assert "1 of 2 cases failed" in result.stderr
    assert (folder / "out" / "scan" / "labels.nii.gz").is_file()
    assert result.stdout.strip().splitlines()[-1].endswith(str(Path("out/scan/run.json")))


def test_nan_is_taken_as_background_and_counted(folder: Path) -> None:
    array = np.arange(720, dtype=np.float32).reshape(GRID.shape)
    array[3, 4, :2] = [np.nan, np.inf]
    volseg.write(Volume(array, GRID), folder / "holes.nii.gz")
    command = [sys.executable, "-m", "volseg", "predict", "holes.nii.gz", "-m", "model.safetensors", "-o", "out"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=os.environ.copy())
    assert run.returncode == 0, run.stderr
    assert "warning: holes.nii.gz: 2 " in run.stderr


def test_debug_shows_where(folder: Path) -> None:
    command = [sys.executable, "-m", "volseg", "--debug", "inspect", "nothing"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert run.returncode == 1
    assert "Traceback" in run.stderr


@pytest.mark.parametrize("name", ["missing file", "unknown config key", "impossible value"])
def test_debug_keeps_the_exit_code(name: str, folder: Path) -> None:
    spoil, command, code, words = CASES[name]
    spoil(folder)
    result = CliRunner().invoke(app, ["--debug", *command.split()])
    assert result.exit_code == code
    assert "Traceback (most recent call last)" in result.stderr
    assert words in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_an_interrupt_has_its_own_exit_code(options: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("volseg.inspection.inspect", interrupt)
    result = CliRunner().invoke(app, [*options, "inspect", "scan.nii.gz"])
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert ("Traceback" in result.stderr) == bool(options)
