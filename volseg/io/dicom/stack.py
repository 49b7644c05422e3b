"""Positions of the slices of a stack: their order, and their regular grid or the reason why they have none.

The rule: the affine must give three corners of every slice at their positions in its header.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from volseg.core.grid import RAS_TO_LPS, Float, Grid
from volseg.errors import InputError
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.planes import SAME_POSITION_MM, PlaneStack, directions_of, normal_of, planes_of
from volseg.io.dicom.rounding import along, common_axes, even_steps, on_line, turned_onto

_LOG = logging.getLogger(__name__)

# Zeros and ones need no decimals; one decimal is not enough for a direction.
_CARDINAL = 0.1
# Smaller deviations are ignored, whatever the decimals.
_EXACT_MM = 1e-4


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack(PlaneStack):
    """Slices in order, each at the position in its header, LPS+.

    Parameters
    ----------
    frames : tuple of FrameHeader
        Ascending along their normal, like `planes`.
    rounding_mm : float
        Largest distance of a corner from its true position because of few decimals in the headers; 0 if there is no
        rounding.
    moved_mm : float
        Largest distance by which corners were moved, if the stack is straight except for rounding; 0 if it is straight
        anyway.
    """

    frames: tuple[FrameHeader, ...]
    rounding_mm: float = 0.0
    moved_mm: float = 0.0

    @property
    def rounding_note(self) -> str:
        """A warning if the stack is not resampled because of the decimals in the headers; else empty."""
        if not self.moved_mm:
            return ""
        spacing = float(np.linalg.norm(self.affine[:3, 2]))
        return (
            f"positions or orientations are written with few decimals; within these the slices are even and straight, "
            f"{spacing:.4g} mm apart, and nothing is resampled (corners moved by up to {self.moved_mm:.2g} mm)"
        )

    @property
    def affine(self) -> Float:
        """(4, 4) voxel index -> LPS mm of an even stack from the first slice to the last; sheared if it is tilted."""
        return self.affine_over(len(self.frames) - 1, self.frames[0].slice_spacing or 1.0)

    @property
    def grid(self) -> Grid:
        """The grid of an even stack; see `misplacement_mm`."""
        return Grid((self.columns, self.rows, len(self.frames)), RAS_TO_LPS @ self.affine)


def make_stack(frames: Sequence[FrameHeader]) -> Stack:
    """Sort slices along their normal; make the stack straight if it differs from a straight one only by rounding.

    Parameters
    ----------
    frames : sequence of FrameHeader
        Slices of one size, in any order.

    Raises
    ------
    InputError
        Position, orientation or pixel spacing of a slice is missing or unusable.
    """
    digit = min(header.orientation_digit for header in frames)
    digit = digit if digit < _CARDINAL else 0.0
    planes = planes_of(frames, common_axes(directions_of(frames, digit), digit))
    normal = normal_of(planes[0])
    order = np.argsort(planes[:, :3, 3] @ normal, kind="stable")
    stack = Stack(
        planes=planes[order],
        normal=normal,
        columns=frames[0].columns,
        rows=frames[0].rows,
        frames=tuple(frames[k] for k in order),
    )
    return _settled(stack, digit)


def _settled(stack: Stack, orientation_digit: float) -> Stack:
    """Move slices to the positions of a straight stack, if rounding explains the difference."""
    if max(stack.misplacement_mm(stack.affine).max(), stack.drift_mm) <= _EXACT_MM:
        return stack
    position_digit = min(header.position_digit for header in stack.frames)
    planes, steps = stack.planes.copy(), even_steps(stack.planes[:, :3, 3], position_digit)
    if steps is None and not stack.is_even:
        return stack
    step = stack.affine[:3, 2] if steps is None else along(stack.normal, *steps)
    if steps is not None:
        planes[:, :3, 3] = on_line(planes[:, :3, 3], step)
    normal = step / np.linalg.norm(step)
    if np.abs(normal - stack.normal).max() <= 2 * orientation_digit and not np.ptp(planes[:, :3, :2], axis=0).any():
        lengths = np.linalg.norm(planes[0, :3, :2], axis=0)
        planes[:, :3, :2] = turned_onto(planes[0, :3, :2] / lengths, normal) * lengths
    else:
        normal = stack.normal
    rounding = float(np.sqrt(3) * (position_digit + orientation_digit * stack.extent_mm))
    moved = (
        0.0 if stack.is_straight else float(np.linalg.norm(((planes - stack.planes) @ stack.ends)[:, :3], axis=1).max())
    )
    return replace(stack, planes=planes, normal=normal, rounding_mm=rounding, moved_mm=moved)


def check_stack(stack: Stack) -> None:
    """Refuse a stack that cannot be resampled into a volume; warn if a thickness must be assumed.

    Parameters
    ----------
    stack : Stack
        From `make_stack`.

    Raises
    ------
    InputError
        Two slices share a position.
    """
    if len(stack.frames) == 1 and stack.frames[0].slice_spacing is None:
        _LOG.warning("%s: a single slice without SliceThickness; taken as 1 mm thick", stack.frames[0])
    same = np.flatnonzero(stack.gaps < SAME_POSITION_MM)
    if same.size:
        one, other = stack.frames[same[0]], stack.frames[same[0] + 1]
        raise InputError(
            f"{one} and {other}: two slices at the same position ({place(one)}), {same.size} such pairs in the series, "
            f"but the headers do not split them into whole volumes{_differences(stack.frames)}; expected one slice for "
            "each position; separate time points or acquisitions, or remove copies"
        )


def _differences(frames: Sequence[FrameHeader]) -> str:
    names = []
    for name in frames[0].traits:
        if len({frame.traits.get(name) for frame in frames}) > 1:
            names.append(name)
    return f" (they differ in {', '.join(names)})" if names else ""


def place(header: FrameHeader) -> str:
    """Describe the position of a slice along the patient axis (LPS+) nearest to its normal.

    Parameters
    ----------
    header : FrameHeader
        Header of a slice with a position.
    """
    position, orientation = np.array(header.position), np.array(header.orientation)
    axis = int(np.abs(np.cross(orientation[:3], orientation[3:])).argmax())
    return f"{'xyz'[axis]} = {position[axis]:.2f} mm"
