"""Positions and directions with few decimals: the even stack that gives them by rounding, if there is one.

A stack is not changed if it is uneven or rotated by more than the rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float

# Decimals finer than this, in mm or as a cosine, change nothing noticeable.
_FINE = 1e-5
_EXACT = 1 + 1e-6
# Fraction of the step from slice to slice: coarser decimals would hide a missing slice.
_COARSEST = 0.25


def common_axes(axes: Float, last_digit: float) -> Float:
    """Give slices one orientation if the decimals allow it: the nearest perpendicular unit vectors.

    Parameters
    ----------
    axes : (K, 3, 2) float64
        Directions of the rows and columns of each slice.
    last_digit : float
        Value of one unit in the last decimal of the cosines; 0 if they are exact.

    Returns
    -------
    (K, 3, 2) float64
        Unchanged if there are many decimals, or the slices differ by more than the rounding.
    """
    if last_digit < _FINE or np.ptp(axes, axis=0).max() > last_digit * _EXACT:
        return axes
    left, _, right = np.linalg.svd(axes.mean(axis=0), full_matrices=False)
    return np.broadcast_to(left @ right, axes.shape)


def even_steps(positions: Float, last_digit: float) -> tuple[Float, Float] | None:
    """Find the steps of the even stacks with these positions after rounding.

    Parameters
    ----------
    positions : (K, 3) float64
        In order, mm.
    last_digit : float
        Value of one unit in their last decimal, mm; 0 if they are exact.

    Returns
    -------
    (3,) and (3,) float64, or None
        The shortest and longest step along each axis. None if no even stack has these positions, or the decimals are
        too coarse.
    """
    count = len(positions)
    low, high = np.full(3, -np.inf), np.full(3, np.inf)
    for lag in range(1, count):
        moved = positions[lag:] - positions[:-lag]
        low = np.maximum(low, (moved.max(axis=0) - last_digit * _EXACT) / lag)
        high = np.minimum(high, (moved.min(axis=0) + last_digit * _EXACT) / lag)
        if (low > high).any():
            return None
    return None if last_digit > _COARSEST * np.abs(low + high).max() / 2 else (low, high)


def along(normal: Float, low: Float, high: Float) -> Float:
    """Choose one of the steps: the one along the normal if possible, else the middle one.

    Parameters
    ----------
    normal : (3,) float64
        Unit vector.
    low, high : (3,) float64
        From `even_steps`, mm.
    """
    moves = np.abs(normal) > _FINE
    ends = np.sort([low[moves] / normal[moves], high[moves] / normal[moves]], axis=0)
    first, last = ends[0].max(), ends[1].min()
    upright = first <= last and bool((low[~moves] <= _FINE).all() and (high[~moves] >= -_FINE).all())
    return normal * (first + last) / 2 if upright else (low + high) / 2


def on_line(positions: Float, step: Float) -> Float:
    """(K, 3) positions of the even stack with this step that is nearest to the given positions.

    Parameters
    ----------
    positions : (K, 3) float64
        In order, mm.
    step : (3,) float64
        From each slice to the next, mm.
    """
    line = np.arange(len(positions))[:, None] * step
    offsets = positions - line
    return np.asarray(line + (offsets.min(axis=0) + offsets.max(axis=0)) / 2)


def turned_onto(axes: NDArray[np.float64], normal: Float) -> Float:
    """Rotate the (3, 2) axes of a slice by the smallest angle that makes them normal to a direction.

    Parameters
    ----------
    axes : (3, 2) float64
        Unit vectors of rows and columns.
    normal : (3,) float64
        Unit vector.
    """
    upright = axes - np.outer(normal, normal @ axes)
    left, _, right = np.linalg.svd(upright, full_matrices=False)
    return np.asarray(left @ right)
