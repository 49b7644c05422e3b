"""Volumes with other orientations and spacings.

Only this module permutes or flips voxel axes, and only this module interpolates between voxels.
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
    """A permutation and flips of the three voxel axes.

    Reoriented arrays are views. To undo a reorientation, write through the view.

    Parameters
    ----------
    axes : (int, int, int)
        The old axis of each new axis.
    flips : (bool, bool, bool)
        Whether each new axis runs backwards.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def between(cls, grid: Grid, orientation: str) -> Reorientation:
        """Find the reorientation that brings a grid nearest to an orientation.

        Parameters
        ----------
        grid : Grid
        orientation : str
            Three letters, one each of R/L, A/P and S/I, such as ``RAS``.

        Raises
        ------
        GeometryError
            The orientation is not three such letters.
        """
        wanted = [_LETTERS[letter] for letter in orientation if letter in _LETTERS]
        world_axes = sorted(axis for axis, _ in wanted)
        if len(orientation) != 3 or world_axes != [0, 1, 2]:
            raise GeometryError(f"orientation is {orientation!r}; expected three letters such as RAS or LPI")
        old_axes, old_signs = grid.world_axes
        axes, flips = [], []
        for world_axis, sign in wanted:
            axis = old_axes.index(world_axis)
            axes.append(axis)
            flips.append(old_signs[axis] != sign)
        return cls((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))

    @classmethod
    def onto(cls, grid: Grid, target: Grid) -> Reorientation:
        """Find the reorientation that brings the axes of a grid nearest to those of another.

        Parameters
        ----------
        grid : Grid
            The grid to reorient.
        target : Grid
            The grid whose axes it should have.
        """
        alike = target.direction.T @ grid.direction
        first, second, third = np.abs(alike).tolist()
        i, j, k = max(permutations(range(3)), key=lambda axes: first[axes[0]] + second[axes[1]] + third[axes[2]])
        return cls((i, j, k), (bool(alike[0, i] < 0), bool(alike[1, j] < 0), bool(alike[2, k] < 0)))

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array with its last three axes reoriented.

        Parameters
        ----------
        array : (..., I, J, K)
        """
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + a for a in self.axes))
        i, j, k = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return turned[..., i, j, k]

    def grid(self, grid: Grid) -> Grid:
        """Reorient a grid, so that every voxel keeps its world position.

        Parameters
        ----------
        grid : Grid
        """
        i, j, k = self.axes
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for new, (old, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[old, new] = -1 if flip else 1
            matrix[old, 3] = grid.shape[old] - 1 if flip else 0
        return Grid((grid.shape[i], grid.shape[j], grid.shape[k]), grid.affine @ matrix)


def reorient(array: NDArray[Any], grid: Grid, orientation: str = "RAS") -> tuple[NDArray[Any], Grid]:
    """Permute and flip voxel axes to the nearest `orientation`; values keep their world positions.

    Parameters
    ----------
    array : (..., I, J, K)
    grid : Grid
        Grid of the last three axes.
    orientation : str
        Three letters, one each of R/L, A/P and S/I.

    Returns
    -------
    (array, grid)
        A view of the array, and its grid.
    """
    change = Reorientation.between(grid, orientation)
    return change.array(array), change.grid(grid)


def interpolation_matrix(size_in: int, size_out: int) -> Float:
    """Return linear interpolation over the same extent as a matrix.

    Samples are pixel centres, and the outer pixel edges of both samplings coincide, so that nothing shifts by half a
    pixel. If the output is coarser, the triangle filter is as wide as its pixels, so that pixels are averaged, not
    skipped.

    Parameters
    ----------
    size_in, size_out : int
        Number of samples before and after.

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
    """Resample slices to another size over the same extent.

    Parameters
    ----------
    slices : (..., H, W)
    size : (h, w)
        Size of the new slices. An axis that already has its new size is not changed.

    Returns
    -------
    (..., h, w) float32
    """
    result = np.asarray(slices, dtype=np.float32)
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        have = result.shape[axis]
        if have == wanted:
            continue
        matrix = interpolation_matrix(have, wanted).astype(np.float32)
        result = matrix @ result if axis == -2 else result @ matrix.T
    return result
