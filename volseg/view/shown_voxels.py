"""The part and the resolution of a scan that fit into a page or a window, in RAS order and in 256 levels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid, box_grid
from volseg.core.labelmap import LabelMap
from volseg.core.resample import Reorientation
from volseg.core.volume import Volume

ORIENTATION = "RAS"
_ALIKE = 1.5  # axes are halved together if their spacings differ by less
_TABLE = 1 << 16  # entries of the table from values to levels


@dataclass(frozen=True, eq=False)
class Shown:
    """A box of a grid in RAS order, and how many voxels along each axis became one."""

    whole: Grid
    box: tuple[slice, slice, slice]
    factors: tuple[int, int, int] = (1, 1, 1)

    @classmethod
    def all_of(cls, grid: Grid) -> Shown:
        """Show all voxels of a grid in any order."""
        whole = Reorientation.between(grid, ORIENTATION).grid(grid)
        i, j, k = (slice(0, n) for n in whole.shape)
        return cls(whole, (i, j, k))

    @classmethod
    def around(cls, grid: Grid, bounds: Float, margin_mm: Float | float) -> Shown:
        """Show the box of a grid that a box in space and a margin need, and at least one layer of voxels.

        Parameters
        ----------
        grid : Grid
            In any order.
        bounds : (2, 3) float
            Lowest and highest world mm.
        margin_mm : float or (3,) float
            On each side.
        """
        whole = cls.all_of(grid).whole
        low, high = bounds[0] - margin_mm, bounds[1] + margin_mm
        corners = whole.to_voxel([*product(*np.stack([low, high], axis=1))])
        last = np.array(whole.shape) - 1
        start = np.clip(np.floor(corners.min(axis=0)), 0, last).astype(int)
        stop = np.clip(np.ceil(corners.max(axis=0)) + 1, start + 1, last + 1).astype(int)
        i, j, k = (slice(int(first), int(end)) for first, end in zip(start, stop, strict=True))
        return cls(whole, (i, j, k))

    @property
    def is_cropped(self) -> bool:
        """Whether it shows a part only."""
        return any(part.stop - part.start < n for part, n in zip(self.box, self.whole.shape, strict=True))

    @property
    def grid(self) -> Grid:
        """The grid of the voxels that are shown."""
        part = box_grid(self.whole, self.box)
        shape = [n // factor for n, factor in zip(part.shape, self.factors, strict=True)]
        coarser = np.diag([*self.factors, 1.0])
        coarser[:3, 3] = (np.array(self.factors) - 1) / 2
        return Grid((shape[0], shape[1], shape[2]), part.affine @ coarser)

    def halved(self) -> Shown:
        """Halve the resolution along the finest axes: in plane for thick slices."""
        spacing = np.array(self.whole.spacing) * self.factors
        finest = (spacing < _ALIKE * spacing.min()) & (np.array(self.grid.shape) > 1)
        i, j, k = np.where(finest, 2, 1) * self.factors
        return Shown(self.whole, self.box, (int(i), int(j), int(k)))

    def levels_of(self, volume: Volume, levels: Float, every: int = 1) -> NDArray[np.uint8]:
        """(I, J, K) number of the level nearest to each voxel, means where voxels became one.

        Parameters
        ----------
        volume : Volume
            On the whole grid, in any order.
        levels : (256,) float
            Increasing.
        every : int
            Only every so many slices along the last axis.
        """
        array = self.voxels_of(volume)
        shape, (a, b, c) = self.grid.shape, self.factors
        slices = []
        for k in range(0, shape[2], every):
            block = array[: shape[0] * a, : shape[1] * b, k * c : (k + 1) * c].astype(np.float64)
            if self.factors != (1, 1, 1):
                block = block.reshape(shape[0], a, shape[1], b, c).mean(axis=(1, 3, 4))
            slices.append(to_levels(block.reshape(shape[:2]), levels))
        return np.stack(slices, axis=2)

    def voxels_of(self, volume: Volume) -> NDArray[Any]:
        """Return the voxels of the box in RAS order and full resolution, as a view.

        Parameters
        ----------
        volume : Volume
            On the whole grid, in any order.
        """
        return Reorientation.between(volume.grid, ORIENTATION).array(volume.array)[self.box]

    def values_of(self, labels: LabelMap) -> NDArray[np.integer]:
        """(I, J, K) value of a label map on any grid at the centre of each voxel; 0 outside it.

        Parameters
        ----------
        labels : LabelMap
        """
        return self.nearest(labels.array, labels.grid)

    def nearest(self, array: NDArray[Any], grid: Grid) -> NDArray[Any]:
        """(I, J, K) value of an array on any grid that is nearest to the centre of each voxel; 0 outside it.

        Parameters
        ----------
        array : (A, B, C)
        grid : Grid
            Of the array.
        """
        own = self.grid
        to_array = np.linalg.solve(grid.affine, own.affine)[:3]
        in_plane = np.indices(own.shape[:2]).reshape(2, -1).T @ to_array[:, :2].T + to_array[:, 3]
        last = np.array(grid.shape) - 1
        slices = []
        for k in range(own.shape[2]):
            place = np.rint(in_plane + to_array[:, 2] * k).astype(np.int64)
            inside = ((place >= 0) & (place <= last)).all(axis=1)
            values = np.zeros(len(place), dtype=array.dtype)
            values[inside] = array[tuple(place[inside].T)]
            slices.append(values.reshape(own.shape[:2]))
        return np.stack(slices, axis=2)


def to_levels(values: Float, levels: Float) -> NDArray[np.uint8]:
    """Return the number of the level nearest to each value, in steps of a 65,536th of their range; NaN is the first.

    Parameters
    ----------
    values : float of any shape
    levels : (256,) float
        Increasing.
    """
    values = np.clip(np.nan_to_num(values, nan=levels[0]), levels[0], levels[-1])
    numbers = np.arange(len(levels), dtype=float)
    step = (levels[-1] - levels[0]) / (_TABLE - 1)
    if step > np.median(np.diff(levels)) / 2:  # an outlier has stretched the range
        return np.asarray(np.interp(values, levels, numbers) + 0.5, dtype=np.uint8)
    # A search for each voxel takes ten times as long as a table.
    table = (np.interp(levels[0] + step * np.arange(_TABLE), levels, numbers) + 0.5).astype(np.uint8)
    return np.asarray(table[((values - levels[0]) / step + 0.5).astype(np.uint16)])
