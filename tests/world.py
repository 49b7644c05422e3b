"""Volumes and label maps compared where they lie in the patient, however they are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume

Float = NDArray[np.float64]


def voxel_centres(grid: Grid) -> Float:
    """(N, 3) world mm of all voxels, in the order of a ravelled array."""
    return grid.to_world(np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3))


def values_at(thing: Volume | LabelMap, points: Float) -> NDArray[np.generic]:
    """Values of the voxels with centres at the points; a point that is no centre fails."""
    ijk = thing.grid.to_voxel(points)
    nearest = np.rint(ijk).astype(int)
    assert np.abs(ijk - nearest).max() < 1e-3
    assert (nearest >= 0).all()
    return np.asarray(thing.array[tuple(nearest.T)])


def assert_same_in_world(thing: Volume | LabelMap, expected: Volume | LabelMap) -> None:
    """Check that both have the same voxels with the same values at the same points."""
    assert thing.array.size == expected.array.size
    np.testing.assert_array_equal(values_at(thing, voxel_centres(expected.grid)), expected.array.ravel())
