"""The calibration of the held-out cases."""

from __future__ import annotations

import numpy as np
import pytest

from volseg.calibration import calibration_error, fit_temperature, soften
from volseg.training.validation import Voxels, calibrate


def drawn(temperature: float, *, seed: int = 0, count: int = 4000) -> Voxels:
    """Voxels of one case whose probabilities were sharpened by a temperature."""
    random = np.random.default_rng(seed)
    true = random.dirichlet([1.0] * 3, count).T
    classes = (random.random(count) > true.cumsum(axis=0)).sum(axis=0)
    return soften(true, 1 / temperature).astype(np.float16), classes


def test_the_temperature_is_that_of_all_cases() -> None:
    cases = [drawn(1.8, seed=seed) for seed in range(4)]
    found = calibrate(cases)
    everything = np.concatenate([p for p, _ in cases], axis=1), np.concatenate([c for _, c in cases])
    assert found.temperature == fit_temperature(*everything) == pytest.approx(1.8, rel=0.1)
    assert found.before == calibration_error(*everything)
    assert found.after < 0.03 < found.before


def test_each_half_of_the_cases_is_softened_by_the_temperature_of_the_other() -> None:
    """Where the halves differ, the error after softening shows it: nothing is fitted to what it is measured on."""
    even, odd = drawn(3.0, seed=0), drawn(0.5, seed=1)
    found = calibrate([even, odd])
    temperatures = [fit_temperature(*even), fit_temperature(*odd)]
    softened = np.concatenate([soften(even[0], temperatures[1]), soften(odd[0], temperatures[0])], axis=1)
    assert found.after == pytest.approx(calibration_error(softened, np.concatenate([even[1], odd[1]])), abs=1e-6)
    assert found.after > found.before


def test_a_single_case_is_calibrated_by_itself() -> None:
    probabilities, classes = drawn(2.0)
    found = calibrate([(probabilities, classes)])
    temperature = fit_temperature(probabilities, classes)
    assert found.temperature == temperature
    expected = calibration_error(soften(probabilities, temperature), classes)
    assert found.after == pytest.approx(expected, abs=1e-6)


def test_cases_that_tell_nothing_leave_probabilities_as_they_are() -> None:
    nothing = np.zeros((3, 0), dtype=np.float16), np.zeros(0, dtype=np.int64)
    found = calibrate([nothing, nothing])
    assert (found.temperature, found.before, found.after) == (1.0, 0.0, 0.0)
    case = drawn(2.0)
    assert calibrate([nothing, case]).temperature == calibrate([case]).temperature
