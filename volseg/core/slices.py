"""Cutting volumes into slices: the only place that does.

Arrays here are in RAS order, so that a plane names one axis. A stack is ``(..., S, H, W)``: slices first, then the two
axes of the plane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.planes import Plane

ANISOTROPIC = 1.5  # ratio of spacings from which on slices are cut across the coarse axis only
NORMAL_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}


def stack_slices(array: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """(..., I, J, K) in RAS order -> (..., S, H, W); a view, so that what is written into slices is in the volume."""
    return np.moveaxis(array, NORMAL_AXIS[plane] - 3, -3)


def neighbour_indices(indices: NDArray[np.int64], count: int, neighbours: int) -> NDArray[np.int64]:
    """(B,) slice numbers -> (B, 2 * neighbours + 1): each slice amid its neighbours; the ends repeat themselves."""
    offsets = np.arange(-neighbours, neighbours + 1)
    return np.asarray(np.clip(np.asarray(indices)[:, None] + offsets, 0, count - 1))


def in_plane(plane: Plane) -> tuple[int, int]:
    """Return the two RAS axes of a plane, in the order (H, W)."""
    first, second = (axis for axis in range(3) if axis != NORMAL_AXIS[plane])
    return first, second
