"""Checks of voxels and geometry that all image readers share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volseg.core.grid import Grid
from volseg.errors import GeometryError, InputError, at

_LOG = logging.getLogger(__name__)
# A scan has from a nanometre to ten metres between voxels, and lies within a kilometre of the scanner's origin. These
# limits are wide enough for units that are wrong by a factor of 1000.
SPACING_LIMITS_MM = (1e-6, 1e4)
FARTHEST_MM = 1e6
_LABEL_TOLERANCE = 1e-3
_LARGEST_EXACT = 2**24  # in float32, the type to which all fractions are read
_LABEL_TYPES = (np.uint8, np.uint16, np.uint32, np.int64)


def clean_values(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return voxel values in the types that volseg uses: integers in native byte order, or finite float32.

    Parameters
    ----------
    array : any shape, real numbers
        As read, in any byte order.
    path : Path
        The file, for messages.

    Returns
    -------
    array
        Same shape. NaN and infinity are replaced by the background, the smaller of 0 and the smallest finite value,
        with a warning that counts them.

    Raises
    ------
    InputError
        No voxel is finite.
    """
    if array.dtype.kind in "iub":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        values = array.astype(np.float32, copy=False)
    finite = np.isfinite(values)
    bad = values.size - np.count_nonzero(finite)
    if bad == 0:
        return values
    if bad == values.size:
        raise InputError(f"{path}: every voxel is NaN or infinite; expected an image")
    background = min(values.min(where=finite, initial=np.inf), np.float32(0))
    _LOG.warning(
        "%s: %d of %d voxels are NaN or infinite; taken as background (%g)", path, bad, values.size, background
    )
    return np.where(finite, values, background)


def make_grid(shape: tuple[int, int, int], affine: ArrayLike, path: Path) -> Grid:
    """Make the grid of an image file.

    Parameters
    ----------
    shape : (I, J, K)
        Number of voxels.
    affine : (4, 4) float
        Voxel index -> world mm, RAS+.
    path : Path
        The file, for messages.

    Raises
    ------
    GeometryError
        The affine is not finite or singular, or its spacing or position is impossible for a scan.
    """
    with at(path), np.errstate(all="ignore"):  # numbers whose square overflows are refused as singular
        grid = Grid(shape, np.asarray(affine, dtype=np.float64))
    low, high = SPACING_LIMITS_MM
    if min(grid.spacing) < low or max(grid.spacing) > high:
        raise GeometryError(
            f"{path}: spacing is {grid.spacing} mm; expected {low:g} to {high:g}; the header is damaged"
        )
    if np.abs(grid.origin).max() > FARTHEST_MM:
        raise GeometryError(
            f"{path}: origin is {grid.origin} mm; expected at most {FARTHEST_MM:g} away; the header is damaged"
        )
    return grid


def to_label_values(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Turn the numbers of a label map file into integers of the smallest type that holds them.

    Parameters
    ----------
    array : any shape, real numbers
        As read.
    path : Path
        The file, for messages.

    Raises
    ------
    InputError
        A value is negative, more than 1e-3 from an integer, or a float too large to be exact.
    """
    if array.dtype.kind == "f":
        if array.max() >= _LARGEST_EXACT:
            raise InputError(
                f"{path}: has the label {array.max():g} as a fraction, which is exact only below {_LARGEST_EXACT}; "
                "store labels as integers, without scaling"
            )
        array = _rounded(array, path)
    lowest, highest = array.min(), array.max()
    if lowest < 0:
        raise InputError(
            f"{path}: has the label {int(lowest)}; expected 0 for background and positive "
            "integers; this looks like a scan, not a label map"
        )
    if highest > np.iinfo(np.int64).max:
        raise InputError(f"{path}: has the label {highest:g}; expected at most {np.iinfo(np.int64).max}")
    return array.astype(smallest_integer(int(highest)), copy=False)


def _rounded(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Convert floats that are whole numbers to integers of the smallest type; slab by slab, to save memory."""
    lowest, highest = np.rint(array.min()), np.rint(array.max())
    rounded = np.empty_like(array, dtype=np.int64 if lowest < 0 else smallest_integer(int(highest)))
    axis = int(np.argmax(np.abs(array.strides)))
    for values, whole in zip(np.moveaxis(array, axis, 0), np.moveaxis(rounded, axis, 0), strict=True):
        nearest = np.rint(values)
        wrong = np.abs(values - nearest) > _LABEL_TOLERANCE
        if wrong.any():
            raise InputError(
                f"{path}: has the value {values[wrong][0]:g}; labels are integers, so this is an image, or a label map "
                "that was resampled with interpolation"
            )
        whole[...] = nearest
    return rounded


def smallest_integer(highest: int) -> np.dtype[Any]:
    """Return the smallest type for label values.

    Parameters
    ----------
    highest : int
        The largest value, from 0 to 2**63 - 1.
    """
    return np.dtype(next(t for t in _LABEL_TYPES if highest <= np.iinfo(t).max))
