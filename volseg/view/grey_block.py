"""A scan in 8 bits, from which a window cuts slices and draws a volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid
from volseg.core.volume import Volume
from volseg.view.doubt_map import DoubtMap
from volseg.view.greyscale import grey_levels, to_grey, window_presets
from volseg.view.shown_voxels import Shown

PLANES = ("sagittal", "coronal", "axial")  # by the RAS axis that they stand on
SIDES = (("L", "R"), ("P", "A"), ("I", "S"))  # at the lower and at the higher end of each axis
_MOST_VOXELS = 1 << 25
_CLEAR, _SOLID, _MOST_OPAQUE = 0.35, 1.0, 0.35  # of a volume: shares of the window, and the opacity at its end


@dataclass(frozen=True)
class SlicePicture:
    """A slice as a flat picture in space.

    Parameters
    ----------
    grey : (H, W) uint8
    corners : (4, 3) float
        World mm of the outer corners of pixels (0, 0), (0, W-1), (H-1, W-1), (H-1, 0).
    doubt : (H, W) uint8, optional
        Level of doubt of each pixel; see `volseg.view.doubt_map`.
    """

    grey: NDArray[np.uint8]
    corners: Float
    doubt: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class GreyBlock:
    """A box of a scan with 256 levels of intensity.

    Parameters
    ----------
    numbers : (I, J, K) uint8
        The level of each voxel.
    levels : (256,) float
        The intensity of each level, increasing.
    grid : Grid
        In RAS order; oblique and sheared grids stay so.
    windows : dict of str to (float, float)
        Windows to choose from, by name: the intensities that are black and white. The first is the usual one.
    unit : str
        Of the intensities; empty if it is not known.
    doubt : (I, J, K) uint8, optional
        Level of doubt of each voxel.
    """

    numbers: NDArray[np.uint8]
    levels: Float
    grid: Grid
    windows: dict[str, tuple[float, float]]
    unit: str = ""
    doubt: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, volume: Volume, shown: Shown, unsure: DoubtMap | None = None) -> GreyBlock:
        """Make a block of a part of a scan.

        It has 33 million voxels at most (512 x 512 x 128). A larger part is halved along its finest axes until it fits;
        a voxel is then the mean of those that it stands for.

        Parameters
        ----------
        volume : Volume
        shown : Shown
            A box of the volume's grid.
        unsure : DoubtMap, optional
            On the voxels of the volume.
        """
        while np.prod(shown.grid.shape, dtype=np.int64) > _MOST_VOXELS:
            shown = shown.halved()
        levels = grey_levels(volume)
        numbers = shown.levels_of(volume, levels)
        doubt = None if unsure is None else shown.levels_of(unsure.volume, unsure.levels)
        return cls(numbers, levels, shown.grid, window_presets(volume), volume.unit or "", doubt)

    def cut(self, axis: int, index: int, window: tuple[float, float]) -> SlicePicture:
        """Cut a slice.

        Parameters
        ----------
        axis : int
            0 sagittal, 1 coronal, 2 axial.
        index : int
            Of the voxel layer along that axis.
        window : (low, high)
        """
        grey = to_grey(self.levels, window)[self.numbers.take(index, axis)]
        doubt = None if self.doubt is None else np.take(self.doubt, index, axis)
        return SlicePicture(grey, slice_corners(self.grid, axis, index), doubt)

    def volume_colours(self, window: tuple[float, float]) -> Float:
        """(256, 4) red, green, blue and opacity of each level in a volume rendering, 0 to 1.

        What is dark in the window is clear: air, fat and noise do not hide the rest.

        Parameters
        ----------
        window : (low, high)
        """
        share = np.clip((self.levels - window[0]) / (window[1] - window[0]), 0, 1)
        opacity = np.clip((share - _CLEAR) / (_SOLID - _CLEAR), 0, 1) ** 2 * _MOST_OPAQUE
        red, green, blue = share**0.6, share**0.9, share**1.1
        return np.stack([red, green, blue, opacity], axis=1)


def slice_corners(grid: Grid, axis: int, index: int) -> Float:
    """(4, 3) world mm of the outer corners of a voxel layer: pixels (0, 0), (0, W-1), (H-1, W-1) and (H-1, 0).

    Rows are the lower of the two axes that are left, columns the higher one.

    Parameters
    ----------
    grid : Grid
    axis, index : int
        The layer.
    """
    rows, columns = sorted({0, 1, 2} - {axis})
    corner = np.full((4, 3), -0.5)
    corner[:, axis] = index
    corner[2:, rows] = grid.shape[rows] - 0.5
    corner[1:3, columns] = grid.shape[columns] - 0.5
    return grid.to_world(corner)
