"""Clean-up is kept where held-out cases gain from it, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from volseg.config import CleanupConfig
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.datasets.types import Case, Patient
from volseg.evaluation.metrics import dice
from volseg.prediction.cleanup import clean_labels
from volseg.training.cleanup_choice import CleanupTrial, Steps, group_cases

LABELS = (Label(3, "liver", (200, 0, 0)), Label(7, "kidneys", (0, 200, 0)))
LARGEST, FILLED = CleanupConfig(largest_component=True), CleanupConfig(fill_holes=True)
Array = NDArray[np.uint8]


def label_map(array: Array) -> LabelMap:
    return LabelMap(array, Grid.from_spacing((24, 24, 12), (1, 1, 2)), LABELS)


def reference() -> Array:
    """A liver of 1000 mm3 and two kidneys of 128 mm3."""
    array = np.zeros((24, 24, 12), dtype=np.uint8)
    array[2:12, 2:12, 3:8] = 3
    array[15:19, 2:6, 3:7] = array[15:19, 10:14, 3:7] = 7
    return array


def specks(value: int, count: int) -> Callable[[Array], None]:
    """Add pieces of 2 mm3 that are not there."""

    def add(array: Array) -> None:
        array[22, 1 : 1 + 2 * count : 2, 0] = value

    return add


def cavity(array: Array) -> None:
    array[4:9, 4:9, 4:7] = 0


def unchanged(_: Array) -> None:
    pass


def trial_of(*changes: Callable[[Array], None], given: dict[str, CleanupConfig] | None = None) -> CleanupTrial:
    trial = CleanupTrial(LABELS, given or {})
    for change in changes:
        predicted = reference()
        change(predicted)
        pair = label_map(predicted), label_map(reference())
        trial.add(lambda pair=pair: pair)  # type: ignore[misc]
    return trial


def test_the_largest_component_is_kept_where_that_pays() -> None:
    assert trial_of(*[specks(3, 8)] * 6).decide() == {"liver": LARGEST}


def test_a_label_with_two_bodies_keeps_both_and_loses_its_specks() -> None:
    """Specks of 2 mm3; a hundredth of both kidneys is 2.56 mm3."""
    assert trial_of(*[specks(7, 8)] * 6).decide() == {"kidneys": CleanupConfig(minimum_mm3=2.56)}


def test_a_body_that_some_cases_have_twice_is_kept_too() -> None:
    """The largest component would bring 5 cases a little, and cost one case half of its label."""

    trial = CleanupTrial(LABELS, {})
    for number in range(6):
        predicted, truth = reference(), reference()
        if number:
            predicted[15:19, 10:14, 3:7] = truth[15:19, 10:14, 3:7] = 0
            specks(7, 4)(predicted)
        pair = label_map(predicted), label_map(truth)
        trial.add(lambda pair=pair: pair)  # type: ignore[misc]
    steps = trial.decide()
    assert not steps["kidneys"].largest_component
    cleaned = clean_labels(label_map(reference()), steps).array
    np.testing.assert_array_equal(cleaned, reference())


def test_holes_are_filled_where_that_pays() -> None:
    trial = trial_of(*[cavity] * 6)
    assert trial.decide() == {"liver": FILLED}
    assert trial.table([{"liver": FILLED}] * 6)[0].tolist() == [1.0, 1.0]


def test_a_cavity_that_is_true_stays() -> None:
    trial = CleanupTrial(LABELS, {})
    truth = reference()
    cavity(truth)
    for _ in range(6):
        trial.add(lambda: (label_map(truth), label_map(truth)))
    assert trial.decide() == {}


def test_holes_are_counted_when_the_specks_in_them_are_gone() -> None:
    """A piece of kidney inside the liver keeps its cavity open for what is filled, until it is cleared."""

    def speck_inside(array: Array) -> None:
        cavity(array)
        array[6, 6, 5] = 7

    assert trial_of(*[speck_inside] * 6, given={"kidneys": LARGEST}).decide()["liver"] == FILLED
    trial = trial_of(*[speck_inside] * 6)
    steps = {"liver": FILLED, "kidneys": CleanupConfig(minimum_mm3=100)}
    assert trial.table([steps] * 6)[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("cases", [1, 3, 4])
def test_few_cases_decide_nothing(cases: int) -> None:
    trial = trial_of(*[specks(3, 8)] * cases)
    assert trial.decide() == {}
    decision = trial.sum_up({}, [{}] * cases)["liver"]
    assert (decision.cases, decision.settings) == (cases, CleanupConfig())
    assert decision.dice_before == decision.dice_after


def test_cases_without_the_label_do_not_count() -> None:
    """They tell nothing about how many bodies it has."""
    trial = trial_of(*[specks(3, 8)] * 4)
    nothing = np.zeros_like(reference())
    wrong = nothing.copy()
    specks(3, 8)(wrong)
    for _ in range(5):
        trial.add(lambda: (label_map(wrong), label_map(nothing)))
    assert trial.decide() == {}
    assert trial.sum_up({}, [{}] * 9)["liver"].cases == 4


def test_one_case_that_gains_much_decides_nothing() -> None:
    assert trial_of(specks(3, 8), *[unchanged] * 9).decide() == {}
    assert trial_of(*[specks(3, 8)] * 5, *[unchanged] * 5).decide() == {"liver": LARGEST}


def test_a_gain_below_rounding_decides_nothing() -> None:
    """One voxel beside 4000 is 0.0001."""
    big = np.zeros((24, 24, 12), dtype=np.uint8)
    big[2:22, 2:22, 1:11] = 3
    trial = CleanupTrial(LABELS, {})
    predicted = big.copy()
    predicted[23, 23, 11] = 3
    for _ in range(6):
        trial.add(lambda: (label_map(predicted), label_map(big)))
    assert trial.decide() == {}


def test_what_a_user_has_set_is_not_decided() -> None:
    nothing = CleanupConfig(largest_component=False)
    trial = trial_of(*[specks(3, 8)] * 6, given={"liver": nothing})
    assert trial.decide() == {"liver": nothing}
    assert set(trial.sum_up(trial.decide(), [{}] * 6)) == {"kidneys"}
    assert trial_of(*[specks(3, 8)] * 6, given={"*": nothing}).sum_up({}, [{}] * 6) == {}


def test_each_group_is_cleaned_as_the_others_decide() -> None:
    """The five cases with specks decide for the others, who need nothing, and not the other way round."""
    trial = trial_of(*[specks(3, 8)] * 5, *[unchanged] * 5)
    by_others = trial.decide_by_others([0] * 5 + [1] * 5)
    assert by_others == [{}] * 5 + [{"liver": LARGEST}] * 5
    decision = trial.sum_up(trial.decide(), by_others)["liver"]
    assert decision.largest_component
    assert decision.dice_before == decision.dice_after  # the cases that gain were cleaned by those that do not
    half = trial.sum_up(trial.decide(), trial.decide_by_others([0, 1] * 5))["liver"]
    assert half.dice_before == pytest.approx((5 + 5 * 1000 / 1008) / 10, abs=1e-6)
    assert half.dice_after is not None


def test_scans_of_a_patient_are_in_one_group() -> None:
    cases = [Case(f"c{n}", (Path("x"),), patient=Patient(f"p{n // 2}", "test")) for n in range(8)]
    assert group_cases(cases) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert group_cases([Case(f"c{n}", (Path("x"),)) for n in range(40)])[::4] == list(range(10))
    assert group_cases([]) == []


def test_it_can_be_interrupted() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    trial = CleanupTrial(LABELS, {}, heed=stop)
    with pytest.raises(KeyboardInterrupt):
        trial.add(lambda: (label_map(reference()), label_map(reference())))


def noisy(random: np.random.Generator, share: float) -> Array:
    values = np.array([0, 3, 7], dtype=np.uint8)
    return values[random.choice(3, size=(24, 24, 12), p=[1 - share, 0.8 * share, 0.2 * share])]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_the_scores_are_those_of_the_cleaned_label_maps(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    predicted, truth = label_map(noisy(random, share)), label_map(noisy(random, 0.5))
    trial = CleanupTrial(LABELS, {"kidneys": FILLED})
    trial.add(lambda: (predicted, truth))
    liver: Sequence[CleanupConfig] = (LARGEST, CleanupConfig(minimum_mm3=6, fill_holes=True), FILLED)
    for step in liver:
        steps: Steps = {"liver": step, "kidneys": CleanupConfig(largest_component=True)}
        cleaned = clean_labels(predicted, steps)
        expected = [dice(cleaned.mask(label), truth.mask(label)) for label in LABELS]
        np.testing.assert_allclose(trial.table([steps])[0], expected)
