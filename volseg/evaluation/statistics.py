"""Mean, spread and bootstrap interval of one number over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000
SEED = 0
FEWEST_CASES = 5


@dataclass(frozen=True)
class Statistics:
    """Statistics of a number over cases; NaN if there are too few.

    Parameters
    ----------
    n : int
        Number of cases that have the number.
    mean, std, median : float
        The standard deviation is the sample's (n - 1).
    low, high : float
        95 % interval of the mean; NaN below 5 cases.
    """

    n: int
    mean: float
    std: float
    median: float
    low: float
    high: float


def summarise(values: Sequence[float]) -> Statistics:
    """Compute statistics over cases, leaving NaN out.

    Parameters
    ----------
    values : sequence of float
        One number for each case.

    Notes
    -----
    The interval is the percentile bootstrap of the mean: 10,000 draws of n cases with replacement from a fixed seed,
    2.5th to 97.5th percentile (B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    nan = float("nan")
    if not len(known):
        return Statistics(0, nan, nan, nan, nan, nan)
    low, high = _interval(known) if len(known) >= FEWEST_CASES else (nan, nan)
    spread = float(known.std(ddof=1)) if len(known) > 1 else nan
    return Statistics(len(known), float(known.mean()), spread, float(np.median(known)), low, high)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    # Deviations from the mean, so that float32 weights cost no digits.
    centre = values.mean()
    means = centre + _draw_counts(len(values)) @ (values - centre).astype(np.float32) / len(values)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@lru_cache(maxsize=2)
def _draw_counts(n: int) -> NDArray[np.float32]:
    """(draws, n) how often each case is in each draw; the same for every metric, so kept."""
    random = np.random.default_rng(SEED)
    blocks = []
    for _ in range(10):  # in parts, to save memory
        blocks.append(random.multinomial(n, np.full(n, 1 / n), size=DRAWS // 10).astype(np.float32))
    return np.concatenate(blocks)
