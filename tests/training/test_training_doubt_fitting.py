"""What a model keeps of its held-out cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from volseg.network.doubt_fit import FEWEST, DoubtFit
from volseg.training.doubt_fitting import HeldOutScores, fit_doubt, percentiles_by_others

NAN = float("nan")


def drawn(count: int, seed: int = 0) -> list[HeldOutScores]:
    """Cases whose Dice rises with both scores, and whose volumes are predicted too small."""
    random, cases = np.random.default_rng(seed), []
    for quality in random.normal(0, 0.03, count):
        soft, planes = 0.9 + quality + random.normal(0, 0.01, 2)
        true = float(random.lognormal(0, 0.3))
        predicted = true / 1.08 * float(np.exp(random.normal(0, 0.05)))
        dice = float(0.85 + quality + random.normal(0, 0.02))
        cases.append(HeldOutScores(float(soft), float(planes), dice, {"liver": (predicted, true)}))
    return cases


def expected(fit: DoubtFit, case: HeldOutScores) -> tuple[float, float]:
    assert fit.dice is not None
    line = fit.dice
    shares = [
        np.searchsorted(known, score, side="right") / len(known)
        for known, score in ((fit.soft_dice, case.soft_dice), (fit.plane_agreement, case.plane_agreement))
    ]
    centre = line.at_0 + (line.at_100 - line.at_0) * min(shares)
    return centre - line.below, centre + line.above


def test_intervals_cover_what_they_are_made_for() -> None:
    dices, volumes = [], []
    for seed in range(60):
        cases = drawn(80, seed)
        fit = fit_doubt(cases[:40])
        of_label = fit.volumes["liver"]
        assert of_label.low is not None
        assert of_label.high is not None
        assert of_label.low < 1.08 < of_label.high
        for case in cases[40:]:
            low, high = expected(fit, case)
            dices.append(low <= case.dice <= high)
            predicted, true = case.volumes_ml["liver"]
            volumes.append(of_label.low <= true / predicted <= of_label.high)
    assert 0.88 < np.mean(dices) < 0.96
    assert 0.88 < np.mean(volumes) < 0.96


def test_the_expected_dice_rises_with_the_scores_and_never_falls() -> None:
    cases = drawn(60)
    fit = fit_doubt(cases)
    assert fit.dice is not None
    assert fit.dice.at_0 < 0.83 < 0.87 < fit.dice.at_100
    turned = fit_doubt([replace(case, dice=1 - case.dice) for case in cases])
    assert turned.dice is not None
    assert turned.dice.at_0 == turned.dice.at_100 == pytest.approx(1 - np.mean([case.dice for case in cases]), abs=1e-6)


def test_few_cases_give_no_interval() -> None:
    few, enough = fit_doubt(drawn(FEWEST - 1)), fit_doubt(drawn(FEWEST))
    assert (few.cases, few.dice) == (19, None)
    assert (few.volumes["liver"].cases, few.volumes["liver"].low, few.volumes["liver"].high) == (19, None, None)
    assert len(few.soft_dice) == len(few.plane_agreement) == 19
    assert enough.dice is not None
    # Of 20 cases the interval of the volume goes from the smallest ratio to the largest.
    ratios = sorted(true / predicted for predicted, true in (case.volumes_ml["liver"] for case in drawn(FEWEST)))
    assert (enough.volumes["liver"].low, enough.volumes["liver"].high) == pytest.approx((ratios[0], ratios[-1]))
    nothing = fit_doubt([])
    assert (nothing.cases, nothing.soft_dice, nothing.dice, nothing.volumes) == (0, (), None, {})


def test_cases_that_tell_nothing_do_not_count() -> None:
    cases = drawn(30)
    empty = HeldOutScores(NAN, NAN, 0.0, {"liver": (0.0, 1.0)})
    unlabelled = HeldOutScores(0.9, 0.9, NAN, {"liver": (1.0, 0.0)})
    found, usual = fit_doubt([*cases, empty]), fit_doubt(cases)
    assert found == usual
    found = fit_doubt([*cases, unlabelled])
    assert (found.cases, found.dice, found.soft_dice) == (30, usual.dice, usual.soft_dice)
    assert found.volumes["liver"].cases == 31  # there it is predicted, and nothing is true
    one_plane = replace(cases[0], plane_agreement=NAN)
    assert fit_doubt([*cases, one_plane]).soft_dice == usual.soft_dice
    alone = fit_doubt([replace(case, plane_agreement=NAN) for case in cases])
    assert (alone.cases, alone.plane_agreement, alone.soft_dice) == (30, (), usual.soft_dice)


def test_the_lower_percentile_is_among_the_other_cases() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    assert percentiles_by_others(scores).tolist() == [0, 50, 0]
    assert percentiles_by_others(scores[:, :1]).tolist() == [0, 50, 100]


def test_of_many_cases_quantiles_are_kept() -> None:
    fit = fit_doubt(drawn(500))
    assert len(fit.soft_dice) == 101
    scores = [case.soft_dice for case in drawn(500)]
    assert fit.soft_dice[50] == pytest.approx(np.median(scores), abs=1e-6)


@pytest.mark.parametrize(("count", "told"), [(FEWEST - 1, None), (FEWEST, 1.5), (50, 1.5)])
def test_surfaces_are_scaled_so_that_nine_tenths_of_the_distances_are_within(count: int, told: float | None) -> None:
    true = 1.5 * np.abs(np.random.default_rng(0).normal(size=(count, 500))) / 1.645
    cases = [replace(case, surfaces=(row,)) for case, row in zip(drawn(count), true, strict=True)]
    fit = fit_doubt(cases).surface
    assert fit is not None
    assert fit.surfaces == count
    assert fit.factor == (None if told is None else pytest.approx(told, rel=0.03))
    assert fit_doubt(drawn(30)).surface is None
