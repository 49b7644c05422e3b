"""Where the slices of a stack lie: in order, on one regular grid, or why not.

The rule: the affine must give back three corners of every slice, as its own header places them.
(DICOM PS3.3 C.7.6.2.1.1, the Image Plane module.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volseg.errors import InputError
from volseg.geometry import RAS_TO_LPS, Float, Grid
from volseg.io.dicom_header import FrameHeader

_LOG = logging.getLogger(__name__)

# Two slices nearer than this along the normal are at the same position.
SAME_POSITION_MM = 1e-3
# Directions are written with few decimals; three are enough to pass.
_UNIT = 1e-3
_SPACING_MM, _FARTHEST_MM = (1e-6, 1e4), 1e6
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
    """

    frames: tuple[FrameHeader, ...]
    planes: Float
    normal: Float

    @property
    def heights(self) -> Float:
        """(K,) mm along the normal, ascending."""
        return np.asarray(self.planes[:, :3, 3] @ self.normal)

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
        first = self.frames[0]
        ends = np.array([[0, 0, 0, 1], [first.columns - 1, 0, 0, 1], [0, first.rows - 1, 0, 1]], dtype=float).T
        steps = np.arange(len(self.frames))[:, None] * affine[:3, 2]
        predicted = (affine @ ends)[:3] + steps[:, :, None]
        return np.asarray(np.linalg.norm((self.planes @ ends)[:, :3] - predicted, axis=1).max(axis=1))

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
    def is_even(self) -> bool:
        """Whether every slice lies on the grid of an even stack, which may be tilted."""
        return len(self.frames) == 1 or bool(self.misplacement_mm(self.affine).max() <= self.tolerance_mm)


def stack_slices(frames: Sequence[FrameHeader]) -> Stack:
    """Sort slices along their normal.

    Raises
    ------
    InputError
        Position, orientation or pixel spacing of a slice is missing or unusable.
    """
    planes = np.stack([_plane(header) for header in frames])
    normal = np.cross(planes[0, :3, 0], planes[0, :3, 1])
    normal /= np.linalg.norm(normal)
    order = np.argsort(planes[:, :3, 3] @ normal, kind="stable")
    return Stack(tuple(frames[k] for k in order), planes[order], normal)


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


def _plane(header: FrameHeader) -> Float:
    """(4, 4) column and row index -> LPS mm of one slice; the third axis is left zero."""
    position, orientation, spacing = header.position, header.orientation, header.pixel_spacing
    if position is None or orientation is None or spacing is None:
        tags = ("ImagePositionPatient", position), ("ImageOrientationPatient", orientation), ("PixelSpacing", spacing)
        missing = ", ".join(tag for tag, value in tags if value is None)
        raise InputError(f"{header}: {missing} is missing, so the slice has no place in the patient; not read")
    if min(spacing) <= 0:
        raise InputError(f"{header}: PixelSpacing is {list(spacing)}; expected two numbers above 0")
    low, high = _SPACING_MM
    if not low <= min(spacing) <= max(spacing) <= high or max(map(abs, position)) > _FARTHEST_MM:
        raise InputError(
            f"{header}: PixelSpacing is {list(spacing)} and ImagePositionPatient {list(position)}; expected "
            "millimetres of a patient"
        )
    axes = np.array(orientation).reshape(2, 3).T
    lengths = np.linalg.norm(axes, axis=0)
    if np.abs(lengths - 1).max() > _UNIT or abs(axes[:, 0] @ axes[:, 1]) > _UNIT:
        raise InputError(
            f"{header}: ImageOrientationPatient is {list(orientation)}; expected two perpendicular unit vectors"
        )
    plane = np.eye(4)
    plane[:3, 2] = 0
    # PixelSpacing is (between rows, between columns).
    plane[:3, :2] = axes / lengths * spacing[::-1]
    plane[:3, 3] = position
    return plane


def place(header: FrameHeader) -> str:
    """Say where a slice lies along the patient axis (LPS+) nearest to its normal."""
    position, orientation = np.array(header.position), np.array(header.orientation)
    axis = int(np.abs(np.cross(orientation[:3], orientation[3:])).argmax())
    return f"{'xyz'[axis]} = {position[axis]:.2f} mm"
