"""Temperatures and the calibration error, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.prediction.calibration import calibration_error, fit_temperature, soften


@given(st.floats(1e-3, 1 - 1e-3), st.floats(0.05, 20))
def test_two_classes_are_a_logistic_curve(probability: float, temperature: float) -> None:
    """The log-odds are divided by the temperature."""
    first, second = soften(np.array([[probability], [1 - probability]]), temperature)[:, 0]
    odds = np.log(probability / (1 - probability)) / temperature
    assert first == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)
    assert first + second == pytest.approx(1, abs=1e-6)


def test_temperatures_known_by_heart() -> None:
    found = soften(np.array([[0.8], [0.2]]), 2.0)[:, 0]
    assert found == pytest.approx([2 / 3, 1 / 3])  # the square roots are as 2 to 1
    found = soften(np.array([[0.6], [0.3], [0.1]]), 0.5)[:, 0]
    assert found == pytest.approx(np.array([36, 9, 1]) / 46)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-3, 0.5, 1.0, 3.0, 1e3])
def test_softened_probabilities_add_up_and_keep_their_order(dtype: type, temperature: float) -> None:
    probabilities = np.random.default_rng(0).dirichlet([0.5] * 4, size=(5, 6)).transpose(2, 0, 1).astype(dtype)
    probabilities[:, 0, 0] = (0, 1, 0, 0)
    before = probabilities.copy()
    found = soften(probabilities, temperature)
    assert (found.dtype, found.shape) == (np.float32, probabilities.shape)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(found.argmax(axis=0), probabilities.argmax(axis=0))
    assert np.array_equal(probabilities, before)
    if temperature == 1.0:
        assert np.allclose(found, probabilities, atol=2e-3)


def drawn(temperature: float, *, count: int = 20_000) -> tuple[np.ndarray, np.ndarray, float]:
    """Classes drawn from some probabilities; these, sharpened; and the standard error of the log of a fit to them."""
    random = np.random.default_rng(7)
    logits = random.normal(0, 1.5, (3, count))
    true = np.exp(logits) / np.exp(logits).sum(axis=0)
    classes = (random.random(count) > true.cumsum(axis=0)).sum(axis=0)
    variance = (true * logits**2).sum(axis=0) - (true * logits).sum(axis=0) ** 2  # Fisher's information
    sharpened = np.exp(logits * temperature)
    return sharpened / sharpened.sum(axis=0), classes, 1 / np.sqrt(variance.sum())


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.6, 3.0])
def test_the_temperature_that_sharpened_probabilities_is_found_again(temperature: float) -> None:
    probabilities, classes, error = drawn(temperature)
    assert error < 0.02
    assert np.log(fit_temperature(probabilities, classes)) == pytest.approx(np.log(temperature), abs=3 * error)


def test_softening_by_the_fit_calibrates() -> None:
    probabilities, classes, _ = drawn(3.0)
    before = calibration_error(probabilities, classes)
    after = calibration_error(soften(probabilities, fit_temperature(probabilities, classes)), classes)
    assert before > 0.1
    assert after < 0.02


@pytest.mark.parametrize(("right", "error"), [(100, 0.2), (80, 0.0), (50, 0.3), (0, 0.8)])
def test_whoever_says_80_percent_should_be_right_so_often(right: int, error: float) -> None:
    probabilities = np.tile([[0.05], [0.8], [0.15]], 100)
    classes = np.where(np.arange(100) < right, 1, 2)
    assert calibration_error(probabilities, classes) == pytest.approx(error, abs=1e-9)


def test_too_sure_here_and_too_unsure_there_do_not_cancel() -> None:
    certainty = np.repeat([0.9, 0.6], 100)
    right = np.concatenate([np.arange(100) < 80, np.arange(100) < 70])
    assert calibration_error(np.stack([certainty, 1 - certainty]), np.where(right, 0, 1)) == pytest.approx(0.1)
    assert (certainty - right).mean() == pytest.approx(0)


@pytest.mark.parametrize(("right", "error"), [(True, 0.0), (False, 1.0)])
def test_certainty_has_a_bin_too(right: bool, error: float) -> None:
    assert calibration_error(np.tile([[1.0], [0.0]], 10), np.full(10, 0 if right else 1)) == error


def test_half_precision_is_enough() -> None:
    probabilities, classes, _ = drawn(1.6)
    halved = probabilities.astype(np.float16)
    assert calibration_error(halved, classes) == pytest.approx(calibration_error(probabilities, classes), abs=2e-3)
    assert fit_temperature(halved, classes) == pytest.approx(fit_temperature(probabilities, classes), rel=1e-2)
