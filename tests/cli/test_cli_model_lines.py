"""What `volseg inspect` tells of a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.network.description import CleanupDecision

DECIDED = {"Anterior": CleanupDecision(True, 0.0, False, 52, 0.81, 0.82)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The file of a model that made five steps and decided a clean-up."""
    released = volseg.load_model("hippocampus")
    return volseg.save_model(replace(released, steps=5, cleanup=DECIDED), tmp_path / "model.safetensors")


def told(path: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["inspect", str(path), *options])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("whole_run", [False, True])
def test_steps_weakness_and_clean_up_are_told(model: Path, whole_run: bool) -> None:
    text = told(model.parent if whole_run else model)
    assert "steps: 5 a network" in text
    assert "EXPECT NOTHING OF IT: each of its networks made 5 steps" in text
    assert "Anterior: " in text
    assert "Dice 0.8100, then 0.8200 in 52 cases" in text
    assert "doubt: no held-out cases are known" in text


def test_a_model_of_enough_steps_is_not_called_weak(model: Path) -> None:
    volseg.save_model(replace(volseg.load_model(model), steps=7000, cleanup={}), model)
    text = told(model)
    assert "steps: 7,000 a network" in text
    assert "none decided" in text
    assert "EXPECT NOTHING" not in text


def test_as_json_it_is_complete(model: Path) -> None:
    found = json.loads(told(model, "--json"))
    assert (found["steps"], found["labels"]) == (5, {"Anterior": 1, "Posterior": 2})
    assert found["cleanup"]["Anterior"]["dice_after"] == 0.82
    assert found["weakness"]
    assert found["doubt"] is None
