"""Other orientations and other spacings of the same patient space.

The only place that permutes or flips voxel axes, and the only one that interpolates between voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid
from volseg.errors import GeometryError

_LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Reorientation:
    """A permutation and flips of the three voxel axes: exact, and undone by writing through the view that it gives.

    Parameters
    ----------
    axes : (int, int, int)
        For each new axis the old axis that it is.
    flips : (bool, bool, bool)
        For each new axis whether it runs backwards.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def between(cls, grid: Grid, orientation: str) -> Reorientation:
        """Find the reorientation that brings `grid` nearest to an orientation such as ``RAS``."""
        wanted = [_LETTERS.get(letter) for letter in orientation]
        world = [axis for axis, _ in filter(None, wanted)]
        if len(wanted) != 3 or sorted(world) != [0, 1, 2]:
            raise GeometryError(f"orientation is {orientation!r}; expected three letters such as RAS or LPI")
        old_axes, old_signs = grid.world_axes
        i, j, k = (old_axes.index(axis) for axis in world)
        flips = [old_signs[a] != sign for a, (_, sign) in zip((i, j, k), filter(None, wanted), strict=True)]
        return cls((i, j, k), (flips[0], flips[1], flips[2]))

    @classmethod
    def onto(cls, grid: Grid, target: Grid) -> Reorientation:
        """Find the reorientation that brings the axes of `grid` nearest to those of another grid."""
        alike = target.direction.T @ grid.direction
        i, j, k = max(
            permutations(range(3)), key=lambda axes: sum(abs(alike[new, old]) for new, old in enumerate(axes))
        )
        return cls((i, j, k), (bool(alike[0, i] < 0), bool(alike[1, j] < 0), bool(alike[2, k] < 0)))

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """Reorient the last three axes of an array; a view."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + a for a in self.axes))
        i, j, k = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return turned[..., i, j, k]

    def grid(self, grid: Grid) -> Grid:
        """Reorient a grid, so that every voxel keeps its world position."""
        shape = [grid.shape[a] for a in self.axes]
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for new, (old, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[old, new] = -1 if flip else 1
            matrix[old, 3] = grid.shape[old] - 1 if flip else 0
        return Grid((shape[0], shape[1], shape[2]), grid.affine @ matrix)


def reorient(array: NDArray[Any], grid: Grid, orientation: str = "RAS") -> tuple[NDArray[Any], Grid]:
    """Permute and flip voxel axes to the nearest `orientation`; values keep their world positions.

    Parameters
    ----------
    array : (..., I, J, K)
    grid : Grid
        Of the last three axes.
    orientation : str
        Three letters out of R/L, A/P, S/I.

    Returns
    -------
    (array, grid)
        A view of the array, and its grid.
    """
    change = Reorientation.between(grid, orientation)
    return change.array(array), change.grid(grid)


def interpolation_matrix(size_in: int, size_out: int) -> Float:
    """Linear interpolation of `size_in` samples to `size_out` over the same extent, as a matrix.

    Samples are pixel centres and the outer pixel edges of both samplings coincide (so nothing shifts by half a
    pixel). When the output is coarser, the triangle filter widens to its pixels and so averages instead of skipping.

    Returns
    -------
    (size_out, size_in) float64
        Every row sums to 1.
    """
    scale = size_in / size_out
    positions = (np.arange(size_out) + 0.5) * scale - 0.5
    positions = np.clip(positions, 0, size_in - 1)
    distance = np.abs(positions[:, None] - np.arange(size_in)) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def resample_plane(slices: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resample (..., H, W) slices to (..., h, w) over the same extent; float32.

    Along an axis of the wanted size nothing is computed.
    """
    result = np.asarray(slices, dtype=np.float32)
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        have = result.shape[axis]
        if have == wanted:
            continue
        matrix = interpolation_matrix(have, wanted).astype(np.float32)
        result = matrix @ result if axis == -2 else result @ matrix.T
    return result
