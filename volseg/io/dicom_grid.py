"""Positions of DICOM slices to one `Grid`, or a refusal that says where the stack is broken.

The rule: the affine must give back three corners of every slice, as its own header places them.
(DICOM PS3.3 C.7.6.2.1.1, the Image Plane module.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import InputError
from volseg.geometry import RAS_TO_LPS, Float, Grid
from volseg.io.dicom_header import SliceHeader

_LOG = logging.getLogger(__name__)

# Two slices nearer than this along the normal are at the same position.
_SAME_POSITION_MM = 1e-3
# Directions are written with few decimals; three are enough to pass.
_UNIT = 1e-3


def order_slices(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], Grid]:
    """Sort slices along their normal and find the grid that they form.

    Parameters
    ----------
    slices : sequence of SliceHeader
        The files of one series, any order.

    Returns
    -------
    slices, grid
        In the order of the third array axis; array axis i runs along the columns' index, j along the rows' index.
        A tilted gantry gives a sheared grid.

    Raises
    ------
    InputError
        Position, orientation or pixel spacing is missing or unusable, two slices share a position, one is missing,
        or the slices do not form a straight and even stack.
    """
    planes = [_plane(header) for header in slices]
    normal = np.cross(planes[0][:3, 0], planes[0][:3, 1])
    normal /= np.linalg.norm(normal)
    heights = np.array([plane[:3, 3] @ normal for plane in planes])
    order = np.argsort(heights, kind="stable")
    ordered = [slices[k] for k in order]
    stack = np.stack([planes[k] for k in order])
    _refuse_same_positions(ordered, heights[order])
    affine = stack[0].copy()
    affine[:3, 2] = (stack[-1, :3, 3] - stack[0, :3, 3]) / (len(stack) - 1) if len(stack) > 1 else normal
    if len(stack) == 1:
        affine[:3, 2] *= _thickness(ordered[0])
    _refuse_uneven(ordered, heights[order], _misplacement(stack, affine, ordered[0]), affine)
    return ordered, Grid((ordered[0].columns, ordered[0].rows, len(ordered)), RAS_TO_LPS @ affine)


def _plane(header: SliceHeader) -> Float:
    """(4, 4) column and row index -> LPS mm of one slice; the third axis is left zero."""
    position, orientation, spacing = header.position, header.orientation, header.pixel_spacing
    if position is None or orientation is None or spacing is None:
        tags = ("ImagePositionPatient", position), ("ImageOrientationPatient", orientation), ("PixelSpacing", spacing)
        missing = ", ".join(tag for tag, value in tags if value is None)
        raise InputError(f"{header.path}: {missing} is missing, so the slice has no place in the patient; not read")
    if min(spacing) <= 0:
        raise InputError(f"{header.path}: PixelSpacing is {list(spacing)}; expected two numbers above 0")
    axes = np.array(orientation).reshape(2, 3).T
    lengths = np.linalg.norm(axes, axis=0)
    if np.abs(lengths - 1).max() > _UNIT or abs(axes[:, 0] @ axes[:, 1]) > _UNIT:
        raise InputError(
            f"{header.path}: ImageOrientationPatient is {list(orientation)}; expected two perpendicular unit vectors"
        )
    plane = np.eye(4)
    plane[:3, 2] = 0
    # PixelSpacing is (between rows, between columns).
    plane[:3, :2] = axes / lengths * spacing[::-1]
    plane[:3, 3] = position
    return plane


def _thickness(header: SliceHeader) -> float:
    if header.slice_spacing is None:
        _LOG.warning("%s: a single slice without SliceThickness; taken as 1 mm thick", header.path)
        return 1.0
    return header.slice_spacing


def _refuse_same_positions(slices: Sequence[SliceHeader], heights: Float) -> None:
    same = np.flatnonzero(np.diff(heights) < _SAME_POSITION_MM)
    if same.size:
        one, other = slices[same[0]], slices[same[0] + 1]
        raise InputError(
            f"{one.path} and {other.path.name}: two slices at the same position ({_place(one)}), {same.size} such "
            "pairs in the series; expected one slice a position; separate time points or acquisitions, or remove copies"
        )


def _misplacement(stack: NDArray[Any], affine: Float, header: SliceHeader) -> Float:
    """(K,) largest distance, mm, between a slice's corners by its own header and by the affine."""
    ends = np.array([[0, 0, 0, 1], [header.columns - 1, 0, 0, 1], [0, header.rows - 1, 0, 1]], dtype=float).T
    predicted = np.array([affine[:3, 3] + affine[:3, 2] * k for k in range(len(stack))])
    own = (stack @ ends)[:, :3]
    common = (affine @ ends)[:3] - affine[:3, 3:]
    return np.asarray(np.linalg.norm(own - common - predicted[:, :, None], axis=1).max(axis=1))


def _refuse_uneven(slices: Sequence[SliceHeader], heights: Float, misplacement: Float, affine: Float) -> None:
    spacing = float(np.linalg.norm(affine[:3, 2]))
    # A missing slice misplaces another by at least half a spacing, also where spacing is below 0.05 mm.
    tolerance = min(max(0.05, 0.01 * spacing), 0.25 * spacing)
    worst = int(misplacement.argmax())
    if misplacement[worst] <= tolerance:
        return
    gaps = np.diff(heights)
    # The lower of the two middle gaps, so that of two gaps the wider one is the hole.
    usual = float(np.percentile(gaps, 50, method="lower"))
    k = int(np.abs(gaps - usual).argmax())
    if abs(gaps[k] - usual) > 0.5 * tolerance:
        what = "a slice is missing" if gaps[k] > 1.5 * usual else "the spacing is uneven"
        raise InputError(
            f"{slices[k].path.parent}: {what}: {gaps[k]:.4g} mm from {_place(slices[k])} ({slices[k].path.name}) to "
            f"{_place(slices[k + 1])} ({slices[k + 1].path.name}); expected {usual:.4g} mm as between the others"
        )
    raise InputError(
        f"{slices[worst].path}: the slice at {_place(slices[worst])} lies {misplacement[worst]:.3g} mm beside a "
        f"straight stack (shifted, turned or of other pixel spacing); expected at most {tolerance:.2g} mm"
    )


def _place(header: SliceHeader) -> str:
    """Say where a slice lies along the patient axis (LPS+) nearest to its normal."""
    position, orientation = np.array(header.position), np.array(header.orientation)
    axis = int(np.abs(np.cross(orientation[:3], orientation[3:])).argmax())
    return f"{'xyz'[axis]} = {position[axis]:.2f} mm"
