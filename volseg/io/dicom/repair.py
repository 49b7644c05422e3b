"""Resampling of tilted, uneven and incomplete stacks onto a straight grid, with every slice at its true position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import RAS_TO_LPS, Float, Grid
from volseg.errors import InputError
from volseg.io.dicom.stack import Stack, place

# In a gap of three usual ones, two thirds of the slices are missing: values between them would be guessed.
_WIDEST_GAP = 3.0
# Slices may be shifted sideways, but most of the straight grid must not be empty.
_LARGEST_GROWTH = 4.0
# Shifts below this, in pixels, are ignored.
_NO_SHIFT = 0.01


@dataclass(frozen=True, eq=False)
class Repair:
    """How a stack is resampled onto a straight grid.

    Parameters
    ----------
    stack : Stack
        The stored slices.
    grid : Grid
        A straight grid from the first slice of the stack to the last, parallel to them.
    what : str
        Description of the fault of the stack.
    displacement_mm : float
        Largest error of a slice position if the slices were stacked evenly and upright instead.
    """

    stack: Stack
    grid: Grid
    what: str
    displacement_mm: float

    def describe(self) -> str:
        """Describe the resampling and the error that it avoids."""
        size, spacing = self.grid.shape, self.grid.spacing
        return (
            f"{self.what}; resampled at the true positions onto {size[2]} straight slices {spacing[2]:.4g} mm apart "
            f"(stacked without resampling, slices would be off by up to {self.displacement_mm:.3g} mm)"
        )


def plan_repair(stack: Stack) -> Repair | None:
    """Plan how to make a stack straight and even; return None if it already is.

    A stack that is tilted by less than half a pixel from end to end is kept as it is: its sheared affine is exact.

    Parameters
    ----------
    stack : Stack
        From `make_stack`.

    Raises
    ------
    InputError
        Slices are rotated against each other or differ in pixel size; a gap is wider than three usual ones; the
        slices lie side by side.
    """
    count = len(stack.frames)
    if count == 1 or stack.is_straight:
        return None
    heights, lateral = stack.heights, _lateral(stack)
    _refuse_turned(stack)
    _refuse_holes(stack)
    straight = stack.planes[0].copy()
    straight[:3, 2] = stack.normal * (heights[-1] - heights[0]) / (count - 1)
    displacement = float(stack.misplacement_mm(straight).max())
    return Repair(stack, _straight_grid(stack, lateral), _what_is_wrong(stack), displacement)


def resample(repair: Repair, slice_of: Callable[[int], NDArray[Any]], background: float) -> NDArray[Any]:
    """Interpolate a stack onto its straight grid, linearly, slice by slice.

    Parameters
    ----------
    repair : Repair
        From `plan_repair`.
    slice_of : callable
        Returns the (I, J) values of a slice by its number.
    background : float
        Value of voxels that no slice reaches.

    Returns
    -------
    (I, J, K) array, F-ordered
        Same type as the slices; integers are rounded.
    """
    stack, grid = repair.stack, repair.grid
    heights = stack.heights - stack.heights[0]
    wanted = np.linspace(0, heights[-1], grid.shape[2])
    upper = np.clip(np.searchsorted(heights, wanted), 1, len(heights) - 1)
    offsets = _offsets(repair)
    array: NDArray[Any] | None = None
    at: dict[int, NDArray[np.floating[Any]]] = {}
    for k, (height, above) in enumerate(zip(wanted, upper, strict=True)):
        below = int(above) - 1
        for n in (below, below + 1):
            if n not in at:
                values = slice_of(n)
                at[n] = _shifted(values, offsets[n], grid.shape[:2], background)
                array = np.empty(grid.shape, values.dtype, order="F") if array is None else array
        weight = (height - heights[below]) / (heights[above] - heights[below])
        mixed = at[below] * (1 - weight) + at[below + 1] * weight
        assert array is not None
        array[:, :, k] = np.rint(mixed) if array.dtype.kind in "iu" else mixed
        at = {n: values for n, values in at.items() if n >= below}
    assert array is not None
    return array


def _lateral(stack: Stack) -> Float:
    """(K, 2) mm of each slice's first pixel from that of the first slice, along rows and along columns."""
    axes = stack.planes[0, :3, :2] / np.linalg.norm(stack.planes[0, :3, :2], axis=0)
    return np.asarray((stack.planes[:, :3, 3] - stack.planes[0, :3, 3]) @ axes)


def _refuse_turned(stack: Stack) -> None:
    turned = stack.turns_mm
    worst = int(turned.argmax())
    if turned[worst] > max(stack.tolerance_mm, 0.05):
        raise InputError(
            f"{stack.frames[worst]}: the slice at {place(stack.frames[worst])} is rotated against the first or has "
            f"other pixel spacing: its corners are off by {turned[worst]:.3g} mm; expected parallel slices"
        )


def _refuse_holes(stack: Stack) -> None:
    gaps, usual = stack.gaps, stack.usual_gap_mm
    thickness = max(frame.thickness or 0.0 for frame in stack.frames)
    k = int(gaps.argmax())
    # If thick slices follow thin ones, their larger distance is not a gap.
    if gaps[k] > _WIDEST_GAP * max(usual, min(thickness, gaps.mean())) * (1 + 1e-3):
        below, above = stack.frames[k], stack.frames[k + 1]
        raise InputError(
            f"{below.file.folder}: slices are missing: {gaps[k]:.4g} mm from {place(below)} ({below.file.name}) to "
            f"{place(above)} ({above.file.name}); expected {usual:.4g} mm as between the others; a gap this wide is "
            "not filled: find the missing files, or read the parts from separate folders"
        )


def _what_is_wrong(stack: Stack) -> str:
    gaps, usual, lateral = stack.gaps, stack.usual_gap_mm, _lateral(stack)
    found = []
    odd = np.abs(gaps - usual) > 0.5 * stack.tolerance_mm
    if odd.any():
        k = int(np.abs(gaps - usual).argmax())
        whole = np.abs(gaps / usual - np.rint(gaps / usual)) < 0.05
        missing = int(np.rint(gaps / usual).sum() - len(gaps))
        what = f"slices are missing ({missing})" if whole.all() and missing else "the spacing is uneven"
        below, above = stack.frames[k], stack.frames[k + 1]
        found.append(
            f"{what}: {gaps[k]:.4g} mm from {place(below)} ({below.file.name}) to {place(above)} ({above.file.name}), "
            f"{usual:.4g} mm is usual"
        )
    line = np.outer((stack.heights - stack.heights[0]) / (stack.heights[-1] - stack.heights[0]), lateral[-1])
    beside = float(np.linalg.norm(lateral - line, axis=1).max())
    drift = float(np.linalg.norm(lateral[-1]))
    if drift > stack.tolerance_mm:
        angle = np.degrees(np.arctan2(drift, stack.heights[-1] - stack.heights[0]))
        found.append(f"the stack is tilted by {angle:.3g} degrees")
    if beside > stack.tolerance_mm:
        found.append(f"slices are shifted sideways by up to {beside:.3g} mm")
    return " and ".join(found) or "the stack is uneven"


def _straight_grid(stack: Stack, lateral: Float) -> Grid:
    """Grid with the usual distance of slices, which keeps every slice that fits it; wide enough for all of them."""
    extent = stack.heights[-1] - stack.heights[0]
    count = round(extent / stack.usual_gap_mm) + 1
    spacing = np.linalg.norm(stack.planes[0, :3, :2], axis=0)
    pixels = lateral / spacing
    low, high = np.floor(pixels.min(axis=0) + _NO_SHIFT), np.ceil(pixels.max(axis=0) - _NO_SHIFT)
    first = stack.frames[0]
    if count > _LARGEST_GROWTH * len(stack.frames):
        raise InputError(
            f"{first.file.folder}: {len(stack.frames)} slices, usually {stack.usual_gap_mm:.3g} mm apart, over "
            f"{extent:.4g} mm: many nearly share a position; expected one volume, but the headers do not split them "
            "into several volumes"
        )
    columns, rows = first.columns + int(high[0] - low[0]), first.rows + int(high[1] - low[1])
    if columns * rows * count > _LARGEST_GROWTH * max(count, len(stack.frames)) * first.columns * first.rows:
        raise InputError(
            f"{first.file.folder}: the slices lie side by side, up to {np.ptp(lateral, axis=0).max():.4g} mm "
            "apart; expected a stack"
        )
    affine = stack.planes[0].copy()
    affine[:3, 2] = stack.normal * extent / (count - 1)
    affine[:3, 3] += affine[:3, :2] @ low
    return Grid((columns, rows, count), RAS_TO_LPS @ affine)


def _offsets(repair: Repair) -> Float:
    """(K, 2) pixels, along columns' and rows' index, from the grid's first pixel to each slice's."""
    corner = RAS_TO_LPS[:3, :3] @ np.array(repair.grid.origin)
    axes = repair.stack.planes[0, :3, :2]
    steps = repair.stack.planes[:, :3, 3] - corner
    return np.asarray((steps @ axes / (axes**2).sum(axis=0)).clip(min=0))


def _shifted(
    values: NDArray[Any], offset: Float, shape: tuple[int, ...], background: float
) -> NDArray[np.floating[Any]]:
    """Put (I, J) values `offset` pixels into a larger slice, linearly between pixels."""
    whole = np.floor(offset + _NO_SHIFT).astype(int)
    parts = np.where(offset - whole > _NO_SHIFT, offset - whole, 0)
    room = [(low, wide - low - size) for low, wide, size in zip(whole, shape, values.shape, strict=True)]
    # float32 holds 16-bit integers exactly, but not larger ones.
    exact = np.float32 if values.dtype.kind == "f" or values.dtype.itemsize <= 2 else np.float64
    result = np.pad(values.astype(exact), room, constant_values=background)
    for axis, part in enumerate(parts):
        if part:  # np.roll brings background from the end to the front
            result = result * result.dtype.type(1 - part) + np.roll(result, 1, axis) * result.dtype.type(part)
    return result
