"""Volumes are cut into slices here, and only here.

Arrays are in RAS order, so that each plane is across one axis. A stack is ``(..., S, H, W)``: slices first, then the
two axes of the plane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.planes import Plane

ANISOTROPIC = 1.5  # from this ratio of spacings on, slices are cut across the coarse axis only
_COARSE = 1.2  # from this ratio of spacings on, slices are looked at across the coarse axis
NORMAL_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}


def stack_slices(array: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """Return a view of a volume as a stack of slices; writing into a slice writes into the volume.

    Parameters
    ----------
    array : (..., I, J, K)
        In RAS order.
    plane : {"axial", "coronal", "sagittal"}

    Returns
    -------
    (..., S, H, W)
    """
    return np.moveaxis(array, NORMAL_AXIS[plane] - 3, -3)


def coarse_plane(grid: Grid) -> Plane:
    """Return the plane of the slices that a person looks at.

    Parameters
    ----------
    grid : Grid
        Its axes are those of the patient, in that order and in either direction, as in RAS or LPI.

    Returns
    -------
    Plane
        A single slice shows its own plane, and a scan of thick slices these; nearly isotropic scans are looked at in
        axial slices.
    """
    by_axis: dict[int, Plane] = {axis: plane for plane, axis in NORMAL_AXIS.items()}
    if grid.shape.count(1) == 1:
        return by_axis[grid.shape.index(1)]
    coarsest = int(np.argmax(grid.spacing))
    return by_axis[coarsest] if grid.spacing[coarsest] > _COARSE * sorted(grid.spacing)[1] else "axial"


def neighbour_indices(indices: NDArray[np.int64], count: int, neighbours: int) -> NDArray[np.int64]:
    """Return the numbers of slices together with those of their neighbours.

    Parameters
    ----------
    indices : (B,) int
        Slice numbers.
    count : int
        Number of slices in the stack.
    neighbours : int
        Number of neighbours on either side; beyond an end the last slice is repeated.

    Returns
    -------
    (B, 2 * neighbours + 1) int64
        In order along the stack.
    """
    offsets = np.arange(-neighbours, neighbours + 1)
    return np.asarray(np.clip(np.asarray(indices)[:, None] + offsets, 0, count - 1))


def in_plane(plane: Plane) -> tuple[int, int]:
    """Return the two RAS axes of a plane, in the order (H, W).

    Parameters
    ----------
    plane : {"axial", "coronal", "sagittal"}
    """
    first, second = (axis for axis in range(3) if axis != NORMAL_AXIS[plane])
    return first, second
