"""What a training is said to come to, before it starts and on the way."""

from __future__ import annotations

import pytest

from volseg.config import TrainingConfig
from volseg.training.growth import Stage
from volseg.training.outlook import Workload, look_ahead, seconds_left, told_time
from volseg.training.pace import Pace
from volseg.training.schedule import Budget

STAGES = (Stage(0.5, (64, 64, 64), 16), Stage(1.0, (128, 128, 128), 4))
PACE = Pace((1.0, 2.0), 0.0)
WORK = Workload(slices=100, case_pixels=0.0)


def test_steps_take_the_time_of_their_stages() -> None:
    half, whole, twice = look_ahead(TrainingConfig(), Budget(steps=100), STAGES, PACE, WORK)
    assert (whole.steps, whole.seconds, whole.passes) == (100, 150, (50 * 16 + 50 * 4) / 100)
    assert (half.steps, half.seconds) == (50, 75)
    assert (twice.steps, twice.seconds) == (200, 300)


def test_minutes_are_filled_with_the_steps_that_fit() -> None:
    _, whole, twice = look_ahead(TrainingConfig(), Budget(steps=5, minutes=1), STAGES, PACE, WORK)
    assert (whole.steps, whole.seconds) == (30 + 15, 60)
    assert twice.steps == 90


def test_a_slow_machine_ends_by_the_clock_and_a_quick_one_by_its_steps() -> None:
    budget = Budget(steps=1000, most_minutes=1)
    slow = look_ahead(TrainingConfig(), budget, STAGES, PACE, WORK)[1]
    assert (slow.steps, slow.seconds) == (45, 60)
    quick = look_ahead(TrainingConfig(), budget, STAGES, Pace((0.01, 0.02), 0.0), WORK)[1]
    assert (quick.steps, quick.seconds) == (1000, pytest.approx(15))
    assert budget.progress(step=10, elapsed=30) == 0.5
    assert budget.progress(step=900, elapsed=30) == 0.9


@pytest.mark.parametrize("budget", [Budget(5, minutes=1, held_out=4), Budget(1000, most_minutes=1, held_out=4)])
def test_validations_take_their_share_of_the_time(budget: Budget) -> None:
    dear = Workload(slices=100, case_pixels=1e9)
    whole = look_ahead(TrainingConfig(), budget, STAGES, Pace((1.0, 2.0), 1.0), dear)[1]
    assert (whole.steps, whole.seconds) == (round(45 * 0.72), pytest.approx(60))  # 8 % and 20 %


def test_the_time_that_is_left_takes_account_of_larger_slices_to_come() -> None:
    left = seconds_left(Budget(steps=100), STAGES, PACE, progress=0.5, elapsed=80)
    assert left == pytest.approx(160)
    assert seconds_left(Budget(steps=100, minutes=2), STAGES, PACE, progress=0.1, elapsed=30) == 90
    assert seconds_left(Budget(steps=100, most_minutes=2), STAGES, PACE, progress=0.5, elapsed=80) == 40


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (99, "99 s"), (100, "2 min"), (5400, "90 min"), (12600, "3.5 h")]
)
def test_times_are_told_as_users_say_them(seconds: float, text: str) -> None:
    assert told_time(seconds) == text
