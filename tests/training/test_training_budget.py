"""The length of a training, and the message for one that was too short to learn."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from volseg.config import load_config
from volseg.errors import ModelError, UsageError
from volseg.training import loop
from volseg.training.events import Planned, StepsMade
from volseg.training.journal import read_events
from volseg.training.loop import train
from volseg.training.step import Learner
from volseg.training.validation import validate

TINY = ("network.width=2", "network.levels=1", "training.batch_size=4", "training.validations=1")


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A step takes a second, reading a case a minute."""
    clock, real_step, real_cache = Clock(), Learner.step, loop.cache_case

    def step(self: Learner, *arguments: Any) -> dict[str, float]:
        clock.now += 1
        return real_step(self, *arguments)

    def cache_case(*arguments: Any, **settings: Any) -> Any:
        clock.now += 60
        return real_cache(*arguments, **settings)

    monkeypatch.setattr("volseg.training.state.time", clock)
    monkeypatch.setattr("volseg.training.loop.time", clock)
    monkeypatch.setattr(Learner, "step", step)
    monkeypatch.setattr("volseg.training.loop.cache_case", cache_case)
    return clock


@pytest.mark.parametrize(("minutes", "steps"), [(0.2, 12), (1, 60), (0.001, 1)])
def test_the_budget_begins_with_the_first_step(
    minutes: float, steps: int, clock: Clock, dataset_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=load_config(overrides=(*TINY, f"training.minutes={minutes}")), fold="all")
    events = read_events(run / "log.jsonl")
    assert [event["step"] for event in events if event["event"] == "steps"][-1] == steps
    assert events[0]["reading_seconds"] == 6 * 60
    assert events[-1]["seconds"] == steps


@pytest.mark.usefixtures("clock")
def test_a_run_without_a_step_fails_and_writes_no_model(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr("volseg.training.schedule.Budget.progress", lambda *_, **__: 1.0)
    config = load_config(overrides=(*TINY, "training.minutes=0.2"))
    with pytest.raises(
        UsageError, match=r"not one step was made in training\.minutes = 0\.2; no model is written, give"
    ):
        train(dataset_folder, run, config=config)
    assert not list(run.glob("*.safetensors"))
    assert not (run / "validation.json").exists()


def test_a_run_that_learnt_from_no_step_fails_and_writes_no_model(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(Learner, "step", lambda *_: {"reconstruction": float("nan")})
    config = load_config(overrides=(*TINY, "training.epochs=1", "training.validations=4"))
    with pytest.raises(ModelError, match=r"nothing was learnt in 8 steps, as every loss was not finite; no model is"):
        train(dataset_folder, run, config=config)
    assert not list(run.glob("*.safetensors"))


@pytest.mark.parametrize(("few", "warned"), [(9, True), (8, False)])
def test_few_steps_are_warned_of(
    few: int,
    warned: bool,
    dataset_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("volseg.training.outcome.FEW_STEPS", few)
    with caplog.at_level(logging.WARNING):
        train(dataset_folder, tmp_path / "run", config=load_config(overrides=(*TINY, "training.epochs=1")))
    assert ("only 8 steps were made, and fewer than 9 teach next to nothing" in caplog.text) is warned


@pytest.mark.parametrize("measured", [1, 2])
def test_what_was_not_measured_in_the_time_is_named(
    measured: int, dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the budget is too short for all held-out cases."""

    def some(model: Any, cases: Any, **settings: Any) -> Any:
        return validate(model, cases[:measured], **settings)

    monkeypatch.setattr("volseg.training.loop.validate", some)
    run = tmp_path / "run"
    train(dataset_folder, run, config=load_config(overrides=(*TINY, "training.epochs=1")))
    found = json.loads((run / "validation.json").read_text(encoding="utf-8"))
    assert (found["held_out"], found["cases"], len(found["by_case"])) == (2, measured, measured)
    assert len(found["left_out"]) == 2 - measured
    assert not set(found["left_out"]) & set(found["by_case"])
    assert torch.isfinite(torch.tensor(found["seconds"]))


def test_minutes_begin_with_the_first_step(dataset_folder: Path, tmp_path: Path, clock: Clock) -> None:
    first = None
    for event in loop.iterate_training(
        dataset_folder, tmp_path, config=load_config(overrides=(*TINY, "training.epochs=1"))
    ):
        if isinstance(event, Planned):
            clock.now += 600  # to make the networks and to show the plan
        if isinstance(event, StepsMade) and first is None:
            first = event
    assert first is not None
    assert first.seconds == first.step
