from __future__ import annotations

import numpy as np
import pytest

from volseg.training.schedule import Budget, rate_factor


def test_progress_counts_steps_or_the_clock() -> None:
    assert Budget(steps=200).progress(step=50, elapsed=1e9) == 0.25
    assert Budget(steps=200, minutes=1).progress(step=199, elapsed=15) == 0.25


@pytest.mark.parametrize("budget", [Budget(steps=10), Budget(steps=10, minutes=10 / 60)])
def test_progress_ends_at_one(budget: Budget) -> None:
    assert budget.progress(step=0, elapsed=0) == 0
    assert budget.progress(step=10, elapsed=10) == 1
    assert budget.progress(step=11, elapsed=12.5) == 1


@pytest.mark.parametrize("limit", [{"minutes": 60}, {"most_minutes": 60}])
def test_the_validation_at_the_end_is_part_of_the_time_that_ends_a_run(limit: dict[str, float]) -> None:
    """Whether the time was given, or is that of a run without a length of its own."""
    budget = Budget(steps=10**6, held_out=50, **limit)
    assert budget.seconds_at_the_end() == 12 * 60
    assert budget.progress(step=0, elapsed=47 * 60, case_seconds=1e3) < 1
    assert budget.progress(step=0, elapsed=48 * 60, case_seconds=1e3) == 1
    assert budget.progress(step=0, elapsed=55 * 60, case_seconds=1) < 1  # 50 s are set aside


def test_nothing_ends_the_validation_of_a_training_by_epochs() -> None:
    assert Budget(steps=10, held_out=50).seconds_at_the_end() == np.inf


def test_validations_on_the_way_keep_to_a_share_of_the_hour() -> None:
    hour = Budget(steps=10**6, most_minutes=60)
    assert hour.seconds_on_the_way(elapsed=3000, validations=50) == pytest.approx(0.08 * 3600 / 50)
    assert hour.seconds_on_the_way(elapsed=100, validations=3) == 60
    assert hour.has_time_for(50, elapsed=100, checked=0.0)
    assert not hour.has_time_for(300, elapsed=1000, checked=0.0)
    assert Budget(steps=10).has_time_for(300, elapsed=1000, checked=0.0)


def test_linear_is_constant_and_then_falls_to_zero() -> None:
    found = [rate_factor(p, "linear") for p in (0, 0.25, 0.5, 0.75, 0.9, 1)]
    assert found == pytest.approx([1, 1, 1, 0.5, 0.2, 0])


def test_cosine_warms_up_and_then_falls_to_zero() -> None:
    assert 0 < rate_factor(0, "cosine") < 0.05
    assert rate_factor(0.03, "cosine") == pytest.approx(1)
    assert rate_factor(0.03 + 0.97 / 2, "cosine") == pytest.approx(0.5)
    assert rate_factor(1, "cosine") == pytest.approx(0)
    rising = [rate_factor(p, "cosine") for p in np.linspace(0, 0.03, 50)]
    falling = [rate_factor(p, "cosine") for p in np.linspace(0.03, 1, 500)]
    assert (np.diff(rising) > 0).all()
    assert (np.diff(falling) < 0).all()


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_never_jumps(schedule: str) -> None:
    factors = np.array([rate_factor(p, schedule) for p in np.linspace(0, 1, 2001)])
    assert np.abs(np.diff(factors)).max() < 0.02
    assert factors.min() >= 0
    assert factors.max() <= 1
