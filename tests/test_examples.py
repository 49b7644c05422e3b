"""Every example runs, is short, and says what it writes; every recipe trains."""

from __future__ import annotations

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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    arguments = {"01": [], "02": [str(tmp_path), "0.1"]}.get(example.name[:2], [str(tmp_path)])
    run = subprocess.run([sys.executable, str(example), *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    written = [Path(line.removeprefix("wrote ")) for line in run.stdout.splitlines() if line.startswith("wrote ")]
    assert all(path.stat().st_size > 100 for path in written)
    assert written or example.name.startswith("01")


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
