"""What the curves say: improving, flat since when, or falling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from volseg.watching.curves import Curves, Event
from volseg.watching.verdict import Verdict, judge


def said(dices: Sequence[float | None], *, final: dict[str, float] | None = None) -> Verdict:
    """The verdict on validations every 100 steps."""
    events: list[Event] = [{"event": "steps", "step": 1, "losses": {"reconstruction": 1.0}, "seconds": 1.0}]
    for number, mean in enumerate(dices, 1):
        events.append({"event": "validation", "step": 100 * number, "mean": mean, "per_label": {}, "cases": 2})
    if final is not None:
        events.append({"event": "final", "step": 100 * len(dices) + 50, "per_label": {}, "cases": 9, **final})
    return judge(Curves.of(events))


def test_a_dice_that_rises_to_the_end_is_improving() -> None:
    found = said([0.3, 0.5, 0.6, 0.66, 0.70, 0.73])
    assert found.trend == "improving"
    assert found.text == "the mean Dice of held-out cases still rose, by 0.070 over the last 200 of 600 steps"


def test_a_slow_rise_counts_where_the_curve_is_smooth() -> None:
    assert said([0.595, 0.755, 0.794, 0.805, 0.832, 0.833, 0.837, 0.845, 0.846]).trend == "improving"
    assert said([0.595, 0.755, 0.794, 0.805, 0.832, 0.845, 0.833, 0.846, 0.837]).trend == "flat"


def test_a_dice_that_stays_is_flat_since_it_got_there() -> None:
    found = said([0.3, 0.6, 0.799, 0.801, 0.8, 0.802, 0.799, 0.801])
    assert found.trend == "flat"
    assert "flat since step 300 of 800" in found.text


def test_a_dice_that_falls_is_told_from_its_top() -> None:
    found = said([0.5, 0.7, 0.8, 0.76, 0.72, 0.7])
    assert found.trend == "falling"
    assert "from at most 0.800 at step 300 to 0.700" in found.text


def test_labels_that_are_not_found_are_told_beside_a_flat_mean() -> None:
    events: list[Event] = []
    for step in range(100, 900, 100):
        scores = {"liver": 0.9, "aorta": 0.02, "absent": None}
        events.append({"event": "validation", "step": step, "mean": 0.46, "per_label": scores, "cases": 2})
    found = judge(Curves.of(events))
    assert found.trend == "nothing"
    assert found.text.endswith("1 of 3 labels are not found yet")


def test_networks_that_find_nothing_are_not_called_flat() -> None:
    found = said([0.007, 0.007, 0.007, 0.007])
    assert found.trend == "nothing"
    assert "have not begun to find the labels" in found.text


def test_noise_about_a_level_is_seldom_a_trend() -> None:
    random = np.random.default_rng(0)
    trends = [said((0.8 + random.normal(0, 0.004, size=11)).tolist()).trend for _ in range(100)]
    assert trends.count("flat") > 90


def test_only_the_same_cases_are_compared() -> None:
    """The last validation has other cases, too: their mean says nothing of a trend."""
    rising = [0.5, 0.7, 0.8, 0.82, 0.84]
    assert said(rising, final={"mean": 0.6}).trend == "improving"
    assert said(rising, final={"mean": 0.9, "same_cases": 0.8}).trend == "flat"


@pytest.mark.parametrize("dices", [[], [0.1, 0.2, 0.3], [None, None, None, None, None]])
def test_too_few_validations_say_nothing(dices: list[float | None]) -> None:
    assert said(dices).trend == "unknown"


def test_without_held_out_cases_the_loss_is_told_for_what_it_is() -> None:
    events: list[Event] = [
        {"event": "steps", "step": n, "losses": {"reconstruction": 1 / n}, "seconds": n} for n in range(1, 10)
    ]
    assert "does not say how good it is on other scans" in judge(Curves.of(events)).text
