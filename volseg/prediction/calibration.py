"""Temperature scaling: how well probabilities are calibrated, and how to calibrate them.

Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (arXiv:1706.04599). Here the temperature acts
on the logarithms of the final probabilities, after all averaging. The largest probability of a voxel stays the largest,
so labels never change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-7  # about the smallest float16, the type in which probabilities are kept
CERTAIN = 0.01  # where all labels together are less probable, a voxel does not tell how well a network is calibrated
_BINS = 15
TEMPERATURES = (0.2, 5.0)  # that are fitted


def soften(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float32]:
    """Apply a temperature: above 1 it moves probabilities together, below 1 apart.

    Parameters
    ----------
    probabilities : (K, ...)
        Probabilities of K classes.
    temperature : float
        Above 0; at 1 nothing changes.

    Returns
    -------
    (K, ...) float32
        They sum to 1 over the classes.
    """
    likely = np.maximum(probabilities, LEAST, dtype=np.float32)
    # Relative to the likeliest class, so that a low temperature does not turn all of them into 0.
    powers = (likely / likely.max(axis=0)) ** np.float32(1 / temperature)
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)


def fit_temperature(probabilities: NDArray[Any], classes: NDArray[Any]) -> float:
    """Find the temperature at which the reference is most likely.

    Parameters
    ----------
    probabilities : (K, N)
        Probabilities of K classes for N voxels that the network was not trained on.
    classes : (N,) int
        The true class of each voxel, 0 to K - 1.
    """
    from scipy.optimize import minimize_scalar  # takes half a second, and a prediction does not need it

    def surprise(exponent: float) -> float:
        likelihood = soften(probabilities, float(np.exp(exponent)))[classes, np.arange(len(classes))]
        return float(-np.log(likelihood, dtype=np.float64).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(surprise, bounds=(low, high), method="bounded").x))


def calibration_error(probabilities: NDArray[Any], classes: NDArray[Any]) -> float:
    """Return the expected calibration error: how far confidence and accuracy lie apart, over 15 equal bins.

    Parameters
    ----------
    probabilities : (K, N)
        Probabilities of K classes for N voxels.
    classes : (N,) int
        The true class of each voxel, 0 to K - 1.

    Notes
    -----
    Confidence is the largest probability of a voxel, accuracy how often that class is right (Guo et al., equation 3).
    """
    confidence = probabilities.max(axis=0).astype(np.float64)
    right = (probabilities.argmax(axis=0) == classes).astype(np.float64)
    bins = np.clip((confidence * _BINS).astype(int), 0, _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(classes))
