"""The line of each event in the log, which other programs read."""

from __future__ import annotations

import json
from pathlib import Path

from volseg.config import load_config
from volseg.training.events import CaseRead, Finished, Planned, StepsMade, Validated
from volseg.training.validation import Calibration, Validation
from volseg.watching.verdict import Verdict


def test_a_plan_has_every_setting() -> None:
    config = load_config()
    found = Planned(config, "all", 4, 0, 1.5, "cpu").to_json()
    expected = {
        "event": "plan",
        "config": config.model_dump(mode="json"),
        "fold": "all",
        "cases": 4,
        "held_out": 0,
        "reading_seconds": 1.5,
        "device": "cpu",
    }
    assert found == expected
    assert list(found) == list(expected)
    assert json.loads(json.dumps(found)) == found


def test_steps_and_cases() -> None:
    losses = {"reconstruction": 0.5}
    expected = {"event": "steps", "step": 7, "progress": 0.25, "losses": losses, "seconds": 2.0}
    assert StepsMade(7, 0.25, losses, 2.0).to_json() == expected
    assert CaseRead(3, 8).to_json() == {"event": "reading", "done": 3, "total": 8}


def test_a_validation_is_logged_without_single_cases() -> None:
    scores: dict[str, float | None] = {"ball": 0.5, "bar": None}
    result = Validation(0.5, scores, 1, {"toy_0": 0.5}, Calibration(1.2, 0.1, 0.05), 3.0)
    expected = {
        "event": "final",
        "step": 8,
        "held_out": 2,
        "mean": 0.5,
        "per_label": scores,
        "cases": 1,
        "calibration": {"temperature": 1.2, "before": 0.1, "after": 0.05},
        "seconds": 3.0,
    }
    found = Validated("final", 8, 2, result).to_json()
    assert found == expected
    assert list(found) == list(expected)
    assert Validated("final", 8, 2, result, same_cases=0.4).to_json() == {**expected, "same_cases": 0.4}


def test_the_log_names_no_folder() -> None:
    files = (Path("home", "run", "model.safetensors"), Path("home", "run", "curve.png"))
    event = Finished(files, 9.0, Verdict("unknown", "too few validations"))
    assert event.to_json() == {"event": "end", "files": ["model.safetensors", "curve.png"], "seconds": 9.0}
