"""Position of frames in the patient: the plane of each, their order along the normal, and whether they are even.

All DICOM code uses this geometry: for the slices of an image, the frames of a segmentation, and the frames that an
object is written for. (DICOM PS3.3 C.7.6.2.1.1, the Image Plane module.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.voxels import FARTHEST_MM, SPACING_LIMITS_MM
from volseg.errors import InputError

# Two frames closer than this along the normal are at the same position.
SAME_POSITION_MM = 1e-3
# Directions are often written with few decimals; three are enough.
_UNIT = 1e-3
# Gaps that differ by less than a tenth are the same gap, rounded.
_SAME_GAP = 0.1
# More slices than any scan has: a spacing that needs more is wrong.
_MOST_SLICES = 1 << 14


class Placed(Protocol):
    """A frame at the position in its header: lengths in mm, directions in LPS+, None if missing.

    `str` of it is the name of the frame in messages.
    """

    @property
    def position(self) -> tuple[float, ...] | None:
        """ImagePositionPatient: three numbers."""

    @property
    def orientation(self) -> tuple[float, ...] | None:
        """ImageOrientationPatient: six numbers."""

    @property
    def pixel_spacing(self) -> tuple[float, ...] | None:
        """PixelSpacing: between rows, between columns."""


def directions_of(frames: Sequence[Placed], last_digit: float = 0.0) -> Float:
    """Check the positions of frames, and return the directions of their rows and columns.

    Parameters
    ----------
    frames : sequence of Placed
        At least one.
    last_digit : float
        Value of one unit in the last decimal of the orientations; 0 if they are exact.

    Returns
    -------
    (F, 3, 2) float64
        As written in the headers, LPS+.

    Raises
    ------
    InputError
        Position, orientation or pixel spacing of a frame is missing or unusable.
    """
    for frame in frames:
        _check_given(frame)
    positions, spacings = positions_of(frames), _spacings_of(frames)
    axes = np.array([frame.orientation for frame in frames], dtype=float).reshape(-1, 2, 3).swapaxes(1, 2)
    low, high = SPACING_LIMITS_MM
    out_of_range = (spacings < low).any(axis=1) | (spacings > high).any(axis=1)
    far = np.asarray(out_of_range | (np.abs(positions) > FARTHEST_MM).any(axis=1))
    lengths = np.linalg.norm(axes, axis=1)
    cosines = (axes[:, :, 0] * axes[:, :, 1]).sum(axis=1)
    off = np.maximum(np.abs(lengths - 1).max(axis=1), np.abs(cosines))
    wrong = np.flatnonzero(far | (off > max(_UNIT, 3 * last_digit)))
    if wrong.size:
        first = int(wrong[0])
        raise _far(frames[first]) if far[first] else _no_directions(frames[first])
    return axes


def _check_given(frame: Placed) -> None:
    given = {
        "ImagePositionPatient": frame.position,
        "ImageOrientationPatient": frame.orientation,
        "PixelSpacing": frame.pixel_spacing,
    }
    if None in given.values():
        missing = ", ".join(keyword for keyword, value in given.items() if value is None)
        raise InputError(f"{frame}: {missing} is missing, so the slice has no position in the patient; not read")


def _far(frame: Placed) -> InputError:
    spacing, position = list(frame.pixel_spacing or ()), list(frame.position or ())
    if min(spacing) <= 0:
        return InputError(f"{frame}: PixelSpacing is {spacing}; expected two numbers above 0")
    return InputError(
        f"{frame}: PixelSpacing is {spacing} and ImagePositionPatient {position}; expected millimetres of a patient"
    )


def _no_directions(frame: Placed) -> InputError:
    orientation = list(frame.orientation or ())
    return InputError(f"{frame}: ImageOrientationPatient is {orientation}; expected two perpendicular unit vectors")


def positions_of(frames: Sequence[Placed]) -> Float:
    """(F, 3) mm LPS+ of the first pixels of frames.

    Parameters
    ----------
    frames : sequence of Placed
        Frames with a position.
    """
    return np.array([frame.position for frame in frames], dtype=float)


def _spacings_of(frames: Sequence[Placed]) -> Float:
    return np.array([frame.pixel_spacing for frame in frames], dtype=float)


def planes_of(frames: Sequence[Placed], directions: Float) -> Float:
    """Return the planes of frames.

    Parameters
    ----------
    frames : sequence of Placed
        Frames that `directions_of` has checked.
    directions : (F, 3, 2) float64
        Directions of rows and columns, of any length, LPS+.

    Returns
    -------
    (F, 4, 4) float64
        (column, row, 0, 1) -> LPS mm.
    """
    planes = np.zeros((len(frames), 4, 4))
    # PixelSpacing is (between rows, between columns).
    spacings = _spacings_of(frames)[:, None, ::-1]
    planes[:, :3, :2] = directions / np.linalg.norm(directions, axis=1, keepdims=True) * spacings
    planes[:, :3, 3] = positions_of(frames)
    planes[:, 3, 3] = 1
    return planes


def normal_of(plane: Float) -> Float:
    """(3,) unit vector: the normal of a (4, 4) plane, from its columns and rows.

    Parameters
    ----------
    plane : (4, 4) float64
        In any frame of reference.
    """
    normal = np.cross(plane[:3, 0], plane[:3, 1])
    return normal / np.linalg.norm(normal)


def levels_of(heights: Float, apart_mm: float) -> NDArray[np.intp]:
    """Return the number of the level of each height.

    Parameters
    ----------
    heights : (F,) float64
        mm along the normal, in any order.
    apart_mm : float
        Heights this far apart are on different levels.

    Returns
    -------
    (F,) intp
        From 0 for the lowest.
    """
    order = np.argsort(heights, kind="stable")
    levels = np.empty(len(heights), np.intp)
    levels[order] = np.cumsum(np.diff(heights[order], prepend=heights[order[:1]]) >= apart_mm)
    return levels


def even_within_mm(spacing: float) -> float:
    """Tolerance of slice positions in an even stack: 1 % of the spacing, at least 0.05 mm.

    A missing slice moves another by at least half a spacing, also if the spacing is below 0.05 mm.

    Parameters
    ----------
    spacing : float
        Distance between slices, mm.
    """
    return min(max(0.05, 0.01 * spacing), 0.25 * spacing)


@dataclass(frozen=True, eq=False, kw_only=True)
class PlaneStack:
    """Parallel planes of one size in order, each at the position in its header.

    Parameters
    ----------
    planes : (K, 4, 4) float64
        (column, row, 0, 1) -> mm of each, ascending along the normal; all in LPS+, or all in RAS+.
    normal : (3,) float64
        Unit vector in the same frame.
    columns, rows : int
        Size of each plane in pixels.
    """

    planes: Float
    normal: Float
    columns: int
    rows: int

    @property
    def heights(self) -> Float:
        """(K,) mm along the normal, ascending."""
        return self.planes[:, :3, 3] @ self.normal

    @property
    def gaps(self) -> Float:
        """(K - 1,) mm along the normal between neighbours."""
        return np.diff(self.heights)

    @property
    def drift_mm(self) -> float:
        """Displacement of the last plane from the first within the planes, mm."""
        step = self.planes[-1, :3, 3] - self.planes[0, :3, 3]
        return float(np.linalg.norm(step - self.normal * (step @ self.normal)))

    @property
    def pixel_mm(self) -> float:
        """The smaller distance between pixels of the first plane."""
        return float(np.linalg.norm(self.planes[0, :3, :2], axis=0).min())

    @property
    def extent_mm(self) -> float:
        """The longer side of a plane."""
        return float((np.linalg.norm(self.planes[0, :3, :2], axis=0) * [self.columns, self.rows]).max())

    @property
    def ends(self) -> Float:
        """(4, 3): first pixel of a plane, last of its first row, last of its first column, as (column, row, 0, 1)."""
        columns, rows = self.columns - 1, self.rows - 1
        return np.array([[0, 0, 0, 1], [columns, 0, 0, 1], [0, rows, 0, 1]], dtype=float).T

    @property
    def turns_mm(self) -> Float:
        """(K,) mm by which the ends of each plane are off because of another rotation or spacing than the first."""
        ends = np.array([self.columns - 1, self.rows - 1], dtype=float)
        return np.asarray(np.abs((self.planes[:, :3, :2] - self.planes[0, :3, :2]) * ends).max(axis=(1, 2)))

    def affine_over(self, steps: int, single_mm: float = 1.0) -> Float:
        """Return the affine of a grid with the last plane `steps` slices above the first.

        Parameters
        ----------
        steps : int
            At least 1, unless there is only one plane.
        single_mm : float
            Thickness of a single plane.

        Returns
        -------
        (4, 4) float64
            Voxel index -> mm, in the frame of the planes; sheared if the stack is tilted.
        """
        affine = self.planes[0].copy()
        if len(self.planes) > 1:
            affine[:3, 2] = (self.planes[-1, :3, 3] - self.planes[0, :3, 3]) / steps
        else:
            affine[:3, 2] = self.normal * single_mm
        return np.asarray(affine)

    def misplacement_mm(self, affine: Float, slices: NDArray[np.intp] | None = None) -> Float:
        """Measure the distance of the corners of each plane from their positions by an affine.

        Parameters
        ----------
        affine : (4, 4) float64
            Voxel index -> mm, in the frame of the planes.
        slices : (K,) int, optional
            Slice number of each plane; the default is 0, 1, 2, ...

        Returns
        -------
        (K,) float64
            Largest distance among three corners, mm.
        """
        numbers = np.arange(len(self.planes)) if slices is None else slices
        steps = numbers[:, None] * affine[:3, 2]
        predicted = (affine @ self.ends)[:3] + steps[:, :, None]
        return np.asarray(np.linalg.norm((self.planes @ self.ends)[:, :3] - predicted, axis=1).max(axis=1))

    @property
    def affine(self) -> Float:
        """(4, 4) voxel index -> mm of an even stack from the first to the last plane; sheared if it is tilted."""
        return self.affine_over(len(self.planes) - 1)

    @property
    def tolerance_mm(self) -> float:
        """Largest allowed distance of a plane from its position in an even stack."""
        return even_within_mm(float(np.linalg.norm(self.affine[:3, 2])))

    @property
    def is_even(self) -> bool:
        """Whether every plane lies on the grid of an even stack, which may be tilted."""
        return len(self.planes) == 1 or bool(self.misplacement_mm(self.affine).max() <= self.tolerance_mm)

    @property
    def is_straight(self) -> bool:
        """Whether it is even and tilted by less than half a pixel from end to end, so that its affine is exact."""
        return self.is_even and self.drift_mm <= 0.5 * self.pixel_mm

    def slices_with(self, step_mm: float) -> NDArray[np.intp] | None:
        """Return the slice of each plane on a grid of this spacing, from 0; None if the planes do not fit one.

        Slices between the planes may be empty.

        Parameters
        ----------
        step_mm : float
            Distance between slices along the normal.
        """
        counts = np.rint(self.gaps / step_mm)
        if counts.sum() >= _MOST_SLICES or counts.min() < 1:
            return None
        tolerance = even_within_mm(step_mm)
        if np.abs(self.gaps - counts * step_mm).max() > tolerance:
            return None
        slices = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        misplacement = self.misplacement_mm(self.affine_over(int(slices[-1])), slices)
        return slices if misplacement.max() <= tolerance else None

    @property
    def usual_gap_mm(self) -> float:
        """Usual distance between neighbours, mm; if there are two gaps, the smaller one."""
        middle = np.percentile(self.gaps, 50, method="lower")
        return float(self.gaps[np.abs(self.gaps - middle) <= _SAME_GAP * middle].mean())

    @property
    def even_gap_mm(self) -> float | None:
        """Distance between neighbours along the normal if it is the same for all; None for a single plane."""
        if len(self.planes) == 1:
            return None
        gap = float(self.gaps.mean())
        return gap if np.abs(self.gaps - gap).max() <= even_within_mm(gap) else None
