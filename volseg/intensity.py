"""Intensities: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 1_000_000


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


def zscore(array: NDArray[Any], *, percentiles: tuple[float, float] = (0.5, 99.5)) -> Rescaling:
    """Normalisation of one scan by its own mean and standard deviation, after clipping its extremes.

    For modalities without a unit (MR): scanners differ by orders of magnitude. A constant scan maps to zeros.
    """
    values = sample(array)
    low, high = np.percentile(values, percentiles)
    clipped = np.clip(values, low, high)
    return Rescaling(float(low), float(high), float(clipped.mean()), float(clipped.std()) or 1.0)
