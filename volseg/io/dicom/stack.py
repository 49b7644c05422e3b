"""Where the slices of a stack lie: in order, on one regular grid, or why not.

The rule: the affine must give back three corners of every slice, as its own header places them.
(DICOM PS3.3 C.7.6.2.1.1, the Image Plane module.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from volseg.core.grid import RAS_TO_LPS, Float, Grid
from volseg.core.voxels import FARTHEST_MM, SPACING_LIMITS_MM
from volseg.errors import InputError
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.rounding import along, common_axes, even_steps, on_line, turned_onto

_LOG = logging.getLogger(__name__)

# Two slices nearer than this along the normal are at the same position.
SAME_POSITION_MM = 1e-3
# Directions are written with few decimals; three are enough to pass.
_UNIT = 1e-3
# Zeros and ones need no decimals; with one alone a slice has no direction.
_CARDINAL = 0.1
# What no decimals explain is not looked for below this.
_EXACT_MM = 1e-4
# Gaps that differ by less than a tenth are the same one, rounded.
_SAME_GAP = 0.1


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, each where its own header places it.

    Parameters
    ----------
    frames : tuple of FrameHeader
        Ascending along their normal.
    planes : (K, 4, 4) float64
        (column, row, 0, 1) -> LPS mm of each slice.
    normal : (3,) float64
        Unit vector, LPS.
    rounding_mm : float
        How far a corner may lie from its true place because of the few decimals of the headers; 0 where these show no
        rounding.
    moved_mm : float
        How far the corners were moved, at most, as the stack is straight but for the decimals; 0 where it is anyhow.
    """

    frames: tuple[FrameHeader, ...]
    planes: Float
    normal: Float
    rounding_mm: float = 0.0
    moved_mm: float = 0.0

    @property
    def heights(self) -> Float:
        """(K,) mm along the normal, ascending."""
        return np.asarray(self.planes[:, :3, 3] @ self.normal)

    @property
    def drift_mm(self) -> float:
        """How far the last slice lies beside the first, in their planes."""
        step = self.planes[-1, :3, 3] - self.planes[0, :3, 3]
        return float(np.linalg.norm(step - self.normal * (step @ self.normal)))

    @property
    def ends(self) -> Float:
        """(4, 3) of a slice the first pixel, the last of its first row and of its first column: (column, row, 0, 1)."""
        columns, rows = self.frames[0].columns - 1, self.frames[0].rows - 1
        return np.array([[0, 0, 0, 1], [columns, 0, 0, 1], [0, rows, 0, 1]], dtype=float).T

    @property
    def rounding_note(self) -> str:
        """What to say where the decimals of the headers decide that nothing need be resampled; else empty."""
        if not self.moved_mm:
            return ""
        spacing = float(np.linalg.norm(self.affine[:3, 2]))
        return (
            f"positions or orientations are written with few decimals; within these the slices are even and straight, "
            f"{spacing:.4g} mm apart, and nothing is resampled (corners moved by up to {self.moved_mm:.2g} mm)"
        )

    @property
    def extent_mm(self) -> float:
        """The longer side of a slice."""
        first = self.frames[0]
        return float((np.linalg.norm(self.planes[0, :3, :2], axis=0) * [first.columns, first.rows]).max())

    @property
    def affine(self) -> Float:
        """(4, 4) voxel index -> LPS mm of an even stack from the first slice to the last; sheared if they are."""
        affine = self.planes[0].copy()
        if len(self.frames) > 1:
            affine[:3, 2] = (self.planes[-1, :3, 3] - self.planes[0, :3, 3]) / (len(self.frames) - 1)
        else:
            affine[:3, 2] = self.normal * (self.frames[0].slice_spacing or 1.0)
        return np.asarray(affine)

    @property
    def grid(self) -> Grid:
        """The grid of an even stack; see `misplacement_mm`."""
        first = self.frames[0]
        return Grid((first.columns, first.rows, len(self.frames)), RAS_TO_LPS @ self.affine)

    def misplacement_mm(self, affine: Float) -> Float:
        """(K,) largest distance between a slice's corners by its own header and by an affine, LPS."""
        steps = np.arange(len(self.frames))[:, None] * affine[:3, 2]
        predicted = (affine @ self.ends)[:3] + steps[:, :, None]
        return np.asarray(np.linalg.norm((self.planes @ self.ends)[:, :3] - predicted, axis=1).max(axis=1))

    @property
    def tolerance_mm(self) -> float:
        """How far a slice may lie beside its place on the grid: 1 % of the spacing, at least 0.05 mm.

        A missing slice misplaces another by at least half a spacing, also where the spacing is below 0.05 mm.
        """
        spacing = float(np.linalg.norm(self.affine[:3, 2]))
        return min(max(0.05, 0.01 * spacing), 0.25 * spacing)

    @property
    def usual_gap_mm(self) -> float:
        """The usual distance of neighbours, mm; of two gaps the wider one is the hole."""
        gaps = np.diff(self.heights)
        middle = np.percentile(gaps, 50, method="lower")
        return float(gaps[np.abs(gaps - middle) <= _SAME_GAP * middle].mean())

    @property
    def is_straight(self) -> bool:
        """Whether it is even and tilted by less than half a pixel from end to end, so that its affine says it all."""
        return self.is_even and self.drift_mm <= 0.5 * np.linalg.norm(self.planes[0, :3, :2], axis=0).min()

    @property
    def is_even(self) -> bool:
        """Whether every slice lies on the grid of an even stack, which may be tilted."""
        return len(self.frames) == 1 or bool(self.misplacement_mm(self.affine).max() <= self.tolerance_mm)


def make_stack(frames: Sequence[FrameHeader]) -> Stack:
    """Sort slices along their normal; where they are those of a straight stack but for their decimals, they become it.

    Raises
    ------
    InputError
        Position, orientation or pixel spacing of a slice is missing or unusable.
    """
    digit = min(header.orientation_digit for header in frames)
    digit = digit if digit < _CARDINAL else 0.0
    axes = common_axes(np.stack([_axes(header, digit) for header in frames]), digit)
    planes = np.zeros((len(frames), 4, 4))
    # PixelSpacing is (between rows, between columns).
    spacings = np.array([header.pixel_spacing for header in frames])[:, None, ::-1]
    planes[:, :3, :2] = axes / np.linalg.norm(axes, axis=1, keepdims=True) * spacings
    planes[:, :3, 3] = [header.position for header in frames]
    planes[:, 3, 3] = 1
    normal = np.cross(planes[0, :3, 0], planes[0, :3, 1])
    normal /= np.linalg.norm(normal)
    order = np.argsort(planes[:, :3, 3] @ normal, kind="stable")
    return _settled(Stack(tuple(frames[k] for k in order), planes[order], normal), digit)


def _settled(stack: Stack, orientation_digit: float) -> Stack:
    """Put slices where a straight stack has them, if their headers, rounded as they are, are those of one."""
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
    """Refuse what can be no volume even if it were resampled, or warn where a thickness must be assumed.

    Raises
    ------
    InputError
        Two slices share a position.
    """
    if len(stack.frames) == 1 and stack.frames[0].slice_spacing is None:
        _LOG.warning("%s: a single slice without SliceThickness; taken as 1 mm thick", stack.frames[0])
    same = np.flatnonzero(np.diff(stack.heights) < SAME_POSITION_MM)
    if same.size:
        one, other = stack.frames[same[0]], stack.frames[same[0] + 1]
        raise InputError(
            f"{one} and {other}: two slices at the same position ({place(one)}), {same.size} such pairs in the series, "
            f"and nothing in their headers makes whole volumes of them{_differences(stack.frames)}; expected one slice "
            "a position; separate time points or acquisitions, or remove copies"
        )


def _differences(frames: Sequence[FrameHeader]) -> str:
    names = [name for name in frames[0].traits if len({frame.traits.get(name) for frame in frames}) > 1]
    return f" (they differ in {', '.join(names)})" if names else ""


def _axes(header: FrameHeader, last_digit: float) -> Float:
    """(3, 2) directions of rows and columns of a slice whose place is usable, as they are written."""
    position, orientation, spacing = header.position, header.orientation, header.pixel_spacing
    if position is None or orientation is None or spacing is None:
        tags = ("ImagePositionPatient", position), ("ImageOrientationPatient", orientation), ("PixelSpacing", spacing)
        missing = ", ".join(tag for tag, value in tags if value is None)
        raise InputError(f"{header}: {missing} is missing, so the slice has no place in the patient; not read")
    if min(spacing) <= 0:
        raise InputError(f"{header}: PixelSpacing is {list(spacing)}; expected two numbers above 0")
    low, high = SPACING_LIMITS_MM
    if not low <= min(spacing) <= max(spacing) <= high or max(map(abs, position)) > FARTHEST_MM:
        raise InputError(
            f"{header}: PixelSpacing is {list(spacing)} and ImagePositionPatient {list(position)}; expected "
            "millimetres of a patient"
        )
    axes = np.array(orientation).reshape(2, 3).T
    off = max(np.abs(np.linalg.norm(axes, axis=0) - 1).max(), abs(axes[:, 0] @ axes[:, 1]))
    if off > max(_UNIT, 3 * last_digit):
        raise InputError(
            f"{header}: ImageOrientationPatient is {list(orientation)}; expected two perpendicular unit vectors"
        )
    return axes


def place(header: FrameHeader) -> str:
    """Say where a slice lies along the patient axis (LPS+) nearest to its normal."""
    position, orientation = np.array(header.position), np.array(header.orientation)
    axis = int(np.abs(np.cross(orientation[:3], orientation[3:])).argmax())
    return f"{'xyz'[axis]} = {position[axis]:.2f} mm"
