"""Intensities: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAMPLES = 1_000_000
_PERCENTILES = (0.5, 99.5)
_BEYOND = 10.0
# In CT at least these shares of the values lie in the ranges of air and soft tissue (HU). In MR phase images, whose
# values are spread evenly, the shares are smaller.
_PADDING_HU = -1500
_AIR_HU, _LEAST_AIR = (-1100, -850), 0.01
_TISSUE_HU, _LEAST_TISSUE = (-200, 200), 0.1


@dataclass(frozen=True)
class Rescaling:
    """Clip to [low, high], subtract `mean`, divide by `std`: the form of all normalisations."""

    low: float
    high: float
    mean: float
    std: float

    def apply(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise an array to float32.

        Parameters
        ----------
        array : any shape, real numbers
        """
        values = np.clip(array.astype(np.float32), self.low, self.high)
        return np.asarray((values - np.float32(self.mean)) / np.float32(self.std), dtype=np.float32)


def sample(array: NDArray[Any], *, count: int = _SAMPLES) -> NDArray[np.float64]:
    """Return values of an array, evenly spread over it, as float64.

    Parameters
    ----------
    array : any shape, real numbers
    count : int
        About how many values.
    """
    # Ideally the step has no factor in common with the row lengths; an odd one avoids the usual powers of two.
    step = max(1, array.size // count) | 1
    if array.flags.forc:
        values = array.ravel(order="K")[::step]
    else:  # part of another array, of which no copy is made
        values = array[np.unravel_index(np.arange(0, array.size, step), array.shape)]
    return np.asarray(values, dtype=np.float64)


def is_like_ct(array: NDArray[Any]) -> bool:
    """Whether values look like CT in HU: without padding, at least 1 % are near air and 10 % near soft tissue.

    Parameters
    ----------
    array : any shape, real numbers
    """
    values = sample(array)
    values = values[values > _PADDING_HU]
    if not values.size:
        return False
    return _share_within(values, _AIR_HU) >= _LEAST_AIR and _share_within(values, _TISSUE_HU) >= _LEAST_TISSUE


def _share_within(values: NDArray[np.float64], limits: tuple[float, float]) -> float:
    low, high = limits
    return float(np.mean((values >= low) & (values <= high)))


def percentiles(values: NDArray[Any]) -> tuple[float, float]:
    """Return the 0.5th and the 99.5th percentile, which a few extreme voxels do not change.

    Parameters
    ----------
    values : any shape, real numbers
    """
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)


def extremes(values: NDArray[Any]) -> tuple[float, float]:
    """Return the `percentiles` of a scan's values, or the smallest and the largest value if they are equal.

    Parameters
    ----------
    values : any shape, real numbers
    """
    low, high = percentiles(values)
    # Equal percentiles: nearly all voxels are 0, and only the others matter.
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def zscore(array: NDArray[Any], *, clip: bool = True) -> Rescaling:
    """Return the normalisation of one scan by its mean and standard deviation, measured within its `extremes`.

    It is for modalities without a unit (MR), where scanners differ by orders of magnitude. A constant scan becomes 0.

    Parameters
    ----------
    array : any shape, real numbers
        Voxels of the scan.
    clip : bool
        Clip the scan to its extremes. Otherwise it is clipped ten times their range further out.
    """
    values = sample(array)
    low, high = extremes(values)
    clipped = np.clip(values, low, high)
    beyond = 0.0 if clip else _BEYOND * (high - low)
    return Rescaling(low - beyond, high + beyond, float(clipped.mean()), float(clipped.std()) or 1.0)
