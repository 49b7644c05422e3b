"""What `volseg train` tells while it learns."""

from __future__ import annotations

from volseg.cli.train_command import _describe
from volseg.training.events import StepsMade


def test_steps_per_second_are_of_learning_alone() -> None:
    before = StepsMade(100, 0.1, {"reconstruction": 1.0}, 50.0)
    now = StepsMade(160, 0.2, {"reconstruction": 0.5}, 80.0, seconds_left=240.0)
    assert _describe(now, before, 0.0) == "step 160: reconstruction 0.500; 2 steps/s, 4 min left"
    assert _describe(now, before, 20.0) == "step 160: reconstruction 0.500; 6 steps/s, 4 min left"
    # A run that is resumed has made steps that this sitting did not see.
    assert _describe(now, None, 20.0) == "step 160: reconstruction 0.500; 4 min left"
