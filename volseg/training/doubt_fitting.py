"""What a model keeps of its held-out cases, to tell how far a prediction is in doubt.

Intervals are split-conformal (V. Vovk et al., "Algorithmic Learning in a Random World", 2005), with 5 % on either side:
of n cases those of rank (n + 1) * 5 % and (n + 1) * 95 %, rounded outwards. Residuals of the Dice are those of lines
that are fitted without their case. The volume is a multiple of the predicted one, which takes out a bias as well. That
holds for scans like those held out, and for no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from volseg.network.doubt_fit import COVERAGE, FEWEST, DiceFit, DoubtFit, SurfaceFit, VolumeFit

_KEPT = 101  # scores
_DIGITS = 6
_LEAST_FACTOR = 0.01
WITHIN = 1.645  # standard deviations hold 90 % of a normal distribution
_TAIL = (1 - COVERAGE) / 2


@dataclass(frozen=True)
class HeldOutScores:
    """A held-out case as it was predicted, and what is true of it.

    Parameters
    ----------
    soft_dice, plane_agreement : float
        As in `volseg.prediction.doubt.Doubt`; NaN where there is none.
    dice : float
        Mean over labels, after clean-up.
    volumes_ml : dict of str to (float, float)
        For each label the predicted volume after clean-up, and that of the reference.
    surfaces : tuple of (N,) arrays
        For each surface that was measured, distances from the true one as multiples of 1.645 standard deviations.
    """

    soft_dice: float
    plane_agreement: float
    dice: float
    volumes_ml: Mapping[str, tuple[float, float]]
    surfaces: tuple[NDArray[np.float64], ...] = ()


def fit_doubt(cases: Sequence[HeldOutScores]) -> DoubtFit:
    """Fit what a model keeps of its held-out cases.

    Parameters
    ----------
    cases : sequence of HeldOutScores
        Those in which nothing was predicted tell nothing. If planes were compared in some cases, only these count.
    """
    told = [case for case in cases if not np.isnan([case.soft_dice, case.dice]).any()]
    compared = [case for case in told if not np.isnan(case.plane_agreement)]
    scored = compared or told
    scores = np.array([[case.soft_dice, case.plane_agreement] for case in scored]).reshape(-1, 2)
    scores = scores[:, : 2 if compared else 1]
    kept = [_keep(column) for column in scores.T]
    volumes = {}
    for name in dict.fromkeys(name for case in cases for name in case.volumes_ml):
        volumes[name] = _fit_volume([case.volumes_ml[name] for case in cases if name in case.volumes_ml])
    return DoubtFit(
        len(scored),
        soft_dice=kept[0] if scored else (),
        plane_agreement=kept[1] if compared else (),
        dice=_fit_dice(percentiles_by_others(scores), np.array([case.dice for case in scored])),
        volumes=volumes,
        surface=_fit_surface([distances for case in cases for distances in case.surfaces]),
    )


def _keep(scores: NDArray[np.float64]) -> tuple[float, ...]:
    if len(scores) > _KEPT:
        scores = np.quantile(scores, np.linspace(0, 1, _KEPT))
    # Sums of single precision may be a little above what they are a share of.
    return tuple(np.sort(scores).clip(0, 1).round(_DIGITS).tolist())


def percentiles_by_others(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each case the lower percentile of its scores among the other cases.

    Parameters
    ----------
    scores : (N, S)
    """
    no_better = (scores[None, :, :] <= scores[:, None, :]).sum(axis=1) - 1  # without the case itself
    return np.asarray(100 * no_better.min(axis=1) / max(1, len(scores) - 1))


def _fit_dice(percentiles: NDArray[np.float64], dices: NDArray[np.float64]) -> DiceFit | None:
    if len(dices) < FEWEST:
        return None
    at_0, at_100 = _fit_line(percentiles, dices)
    residuals = []
    for number in range(len(dices)):
        start, end = _fit_line(np.delete(percentiles, number), np.delete(dices, number))
        residuals.append(dices[number] - (start + (end - start) * percentiles[number] / 100))
    low, high = _interval(np.array(residuals))
    return DiceFit(round(at_0, _DIGITS), round(at_100, _DIGITS), round(-low, _DIGITS), round(high, _DIGITS))


def _fit_line(percentiles: NDArray[np.float64], dices: NDArray[np.float64]) -> tuple[float, float]:
    """Return a line that never falls, at 0 and at 100."""
    offsets = percentiles - percentiles.mean()
    spread = float((offsets**2).sum())
    slope = max(0.0, float((offsets * dices).sum()) / spread) if spread else 0.0
    at_0 = float(dices.mean()) - slope * float(percentiles.mean())
    return at_0, at_0 + 100 * slope


def _fit_volume(volumes: Sequence[tuple[float, float]]) -> VolumeFit:
    ratios = np.array([true / predicted for predicted, true in volumes if predicted > 0])
    if len(ratios) < FEWEST:
        return VolumeFit(len(ratios))
    low, high = _interval(ratios)
    return VolumeFit(len(ratios), round(low, _DIGITS), round(high, _DIGITS))


def _fit_surface(surfaces: Sequence[NDArray[np.float64]]) -> SurfaceFit | None:
    if not surfaces:
        return None
    if len(surfaces) < FEWEST:
        return SurfaceFit(len(surfaces))
    factor = float(np.quantile(np.concatenate(surfaces), COVERAGE))
    return SurfaceFit(len(surfaces), round(max(factor, _LEAST_FACTOR), _DIGITS))


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the numbers between which a further one lies with a probability of `COVERAGE` or more."""
    ordered, n = np.sort(values), len(values) + 1
    return float(ordered[floor(n * _TAIL + _SMALL) - 1]), float(ordered[ceil(n * (1 - _TAIL) - _SMALL) - 1])


_SMALL = 1e-9  # keeps rounding from moving a rank
