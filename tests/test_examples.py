"""Every example runs, is short, and says what it writes; every recipe trains."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_dataset import write_case

import volseg
from volseg.config import load_config

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_examples_are_numbered_and_short() -> None:
    assert [path.name[:2] for path in EXAMPLES] == [f"{n:02d}" for n in range(1, len(EXAMPLES) + 1)]
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLES) < 60


@pytest.mark.parametrize(
    ("example", "bare"),
    [(path, bare) for path in EXAMPLES for bare in (False, True) if not (bare and path.name.startswith("02"))],
)
def test_example_runs(example: Path, tmp_path: Path, bare: bool) -> None:
    arguments = {"01": [], "02": [str(tmp_path), "0.1"]}.get(example.name[:2], [str(tmp_path)])
    run = subprocess.run(
        [sys.executable, str(example), *([] if bare else arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    written = [Path(line.removeprefix("wrote ")) for line in run.stdout.splitlines() if line.startswith("wrote ")]
    assert all(path.stat().st_size > 100 for path in written)
    assert written or example.name.startswith("01")


def test_training_example_needs_no_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shorter(*, overrides: tuple[str, ...]) -> Any:
        assert overrides[0] == "training.minutes=1.0"
        return load_config(overrides=("training.minutes=0.05", *overrides[1:]))

    monkeypatch.setattr(volseg, "load_config", shorter, raising=False)
    monkeypatch.setattr(sys, "argv", ["02"])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    runpy.run_path(str(EXAMPLES[1]), run_name="__main__")
    assert f"wrote {tmp_path}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "modality", "spacing"),
    [("hippocampus_mr", "MRI", (1.0, 1.0, 1.0)), ("thick_slice_ct", "CT", (1.0, 1.0, 3.3))],
)
def test_recipe_trains(recipe: str, modality: str, spacing: tuple[float, float, float], dataset_folder: Path) -> None:
    for seed in range(6):
        write_case(dataset_folder, f"toy_{seed}", seed=seed, spacing=spacing)
    listing = dataset_folder / "dataset.json"
    listing.write_text(listing.read_text(encoding="utf-8").replace("MRI", modality), encoding="utf-8")
    path = ROOT / "configs" / f"{recipe}.yaml"
    short = ("network.width=2", "training.minutes=null", "training.epochs=1")
    model = volseg.load_model(
        volseg.train(dataset_folder, dataset_folder / "run", config=load_config(path, overrides=short))
    )
    planned = model.config.model_dump(mode="json")
    asked = yaml.safe_load(path.read_text(encoding="utf-8"))
    asked["training"] = {key: value for key, value in asked["training"].items() if key not in ("minutes", "epochs")}
    for settings in asked.pop("cleanup").values():  # of "*", every label
        assert all(matches(entry, settings) for entry in planned["cleanup"].values())
    assert matches(planned, asked)
    (normalisation,) = planned["preparation"]["normalisation"]
    assert normalisation["kind"] == ("window" if modality == "CT" else "zscore")


def matches(planned: Any, asked: Any) -> bool:
    """Whether everything asked for is planned; tables and lists may hold more, filled with defaults."""
    if isinstance(asked, dict):
        return all(matches(planned[key], value) for key, value in asked.items())
    if isinstance(asked, list):
        return len(planned) == len(asked) and all(map(matches, planned, asked))
    return bool(planned == asked)


def test_every_recipe_is_tested() -> None:
    assert [path.stem for path in sorted((ROOT / "configs").iterdir())] == ["hippocampus_mr", "thick_slice_ct"]
