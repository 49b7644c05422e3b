"""Intensities: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 1_000_000
_PERCENTILES = (0.5, 99.5)
_BEYOND = 10.0
# Of CT more lies near these values (HU) than the share; of MR phases, which take all values alike, less.
_PADDING_HU = -1500
_AIR_HU, _LEAST_AIR = (-1100, -850), 0.01
_TISSUE_HU, _LEAST_TISSUE = (-200, 200), 0.1


@dataclass(frozen=True)
class Rescaling:
    """Clip to [low, high], subtract `mean`, divide by `std`: every normalisation that volseg has."""

    low: float
    high: float
    mean: float
    std: float

    def apply(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise an array of any shape to float32."""
        values = np.clip(array.astype(np.float32), self.low, self.high)
        return np.asarray((values - np.float32(self.mean)) / np.float32(self.std), dtype=np.float32)


def sample(array: NDArray[Any], *, count: int = _SAMPLES) -> NDArray[np.float64]:
    """Return about `count` values of an array, evenly spread over it, as float64."""
    flat = array.ravel(order="K") if array.flags.forc else array.reshape(-1)
    # A step that shares no factor with the row lengths would be ideal; an odd one avoids the usual powers of two.
    step = max(1, flat.size // count) | 1
    return np.asarray(flat[::step], dtype=np.float64)


def is_like_ct(array: NDArray[Any]) -> bool:
    """Whether values are those of CT in HU: of what is no padding 1 % or more near air's, 10 % near soft tissue's."""
    values = sample(array)
    values = values[values > _PADDING_HU]
    if not values.size:
        return False
    shares = [np.mean((values >= low) & (values <= high)) for low, high in (_AIR_HU, _TISSUE_HU)]
    return bool(shares[0] >= _LEAST_AIR and shares[1] >= _LEAST_TISSUE)


def percentiles(values: NDArray[Any]) -> tuple[float, float]:
    """Return the 0.5th and the 99.5th percentile: what single odd voxels do not move."""
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)


def extremes(values: NDArray[Any]) -> tuple[float, float]:
    """Return the `percentiles` of a scan's values, or the least and the largest if they are equal."""
    low, high = percentiles(values)
    # Of a scan that is nearly all zero, the rest is what matters.
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def zscore(array: NDArray[Any], *, clip: bool = True) -> Rescaling:
    """Normalisation of one scan by the mean and standard deviation that it has when clipped to its `extremes`.

    For modalities without a unit (MR): scanners differ by orders of magnitude. A constant scan maps to zeros. Without
    `clip` what is brighter or darker keeps its value, up to ten times that range away.
    """
    values = sample(array)
    low, high = extremes(values)
    clipped = np.clip(values, low, high)
    beyond = 0.0 if clip else _BEYOND * (high - low)
    return Rescaling(low - beyond, high + beyond, float(clipped.mean()), float(clipped.std()) or 1.0)
