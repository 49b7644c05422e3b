"""Where pictures lie in the patient: the plane of each, their order along the normal, and whether they are even.

The one geometry of DICOM: for the slices of an image, the frames of a segmentation, and the frames that an object is
written for. (DICOM PS3.3 C.7.6.2.1.1, the Image Plane module.)
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

# Two pictures nearer than this along the normal are at the same position.
SAME_POSITION_MM = 1e-3
# Directions are written with few decimals; three are enough to pass.
_UNIT = 1e-3
# Gaps that differ by less than a tenth are the same one, rounded.
_SAME_GAP = 0.1
# More slices than any scan has: a spacing that would need them is wrong.
_MOST_SLICES = 1 << 14


class Placed(Protocol):
    """A picture as its header places it: lengths in mm, directions in LPS+, None if unsaid.

    As a text (`str`), it is what messages call the picture.
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


def directions_of(pictures: Sequence[Placed], last_digit: float = 0.0) -> Float:
    """Return the directions of rows and columns of pictures, once their places are found to be usable.

    Parameters
    ----------
    pictures : sequence of Placed
        At least one.
    last_digit : float
        What a unit of the last decimal of the orientations is worth; 0 if they are exact.

    Returns
    -------
    (F, 3, 2) float64
        As they are written, LPS+.

    Raises
    ------
    InputError
        Position, orientation or pixel spacing of a picture is missing or unusable.
    """
    for picture in pictures:
        _check_given(picture)
    positions, spacings = positions_of(pictures), _spacings_of(pictures)
    axes = np.array([picture.orientation for picture in pictures], dtype=float).reshape(-1, 2, 3).swapaxes(1, 2)
    low, high = SPACING_LIMITS_MM
    out_of_range = (spacings < low).any(axis=1) | (spacings > high).any(axis=1)
    far = np.asarray(out_of_range | (np.abs(positions) > FARTHEST_MM).any(axis=1))
    lengths = np.linalg.norm(axes, axis=1)
    cosines = (axes[:, :, 0] * axes[:, :, 1]).sum(axis=1)
    off = np.maximum(np.abs(lengths - 1).max(axis=1), np.abs(cosines))
    wrong = np.flatnonzero(far | (off > max(_UNIT, 3 * last_digit)))
    if wrong.size:
        first = int(wrong[0])
        raise _far(pictures[first]) if far[first] else _no_directions(pictures[first])
    return axes


def _check_given(picture: Placed) -> None:
    given = {
        "ImagePositionPatient": picture.position,
        "ImageOrientationPatient": picture.orientation,
        "PixelSpacing": picture.pixel_spacing,
    }
    if None in given.values():
        missing = ", ".join(keyword for keyword, value in given.items() if value is None)
        raise InputError(f"{picture}: {missing} is missing, so the slice has no place in the patient; not read")


def _far(picture: Placed) -> InputError:
    spacing, position = list(picture.pixel_spacing or ()), list(picture.position or ())
    if min(spacing) <= 0:
        return InputError(f"{picture}: PixelSpacing is {spacing}; expected two numbers above 0")
    return InputError(
        f"{picture}: PixelSpacing is {spacing} and ImagePositionPatient {position}; expected millimetres of a patient"
    )


def _no_directions(picture: Placed) -> InputError:
    orientation = list(picture.orientation or ())
    return InputError(f"{picture}: ImageOrientationPatient is {orientation}; expected two perpendicular unit vectors")


def positions_of(pictures: Sequence[Placed]) -> Float:
    """(F, 3) mm LPS+ of the first pixels of pictures that have a position.

    Parameters
    ----------
    pictures : sequence of Placed
        All with a position.
    """
    return np.array([picture.position for picture in pictures], dtype=float)


def _spacings_of(pictures: Sequence[Placed]) -> Float:
    return np.array([picture.pixel_spacing for picture in pictures], dtype=float)


def planes_of(pictures: Sequence[Placed], directions: Float) -> Float:
    """Return the planes of pictures.

    Parameters
    ----------
    pictures : sequence of Placed
        As `directions_of` found them usable.
    directions : (F, 3, 2) float64
        Of rows and columns, of any length, LPS+.

    Returns
    -------
    (F, 4, 4) float64
        (column, row, 0, 1) -> LPS mm.
    """
    planes = np.zeros((len(pictures), 4, 4))
    # PixelSpacing is (between rows, between columns).
    spacings = _spacings_of(pictures)[:, None, ::-1]
    planes[:, :3, :2] = directions / np.linalg.norm(directions, axis=1, keepdims=True) * spacings
    planes[:, :3, 3] = positions_of(pictures)
    planes[:, 3, 3] = 1
    return planes


def normal_of(plane: Float) -> Float:
    """(3,) unit vector: the normal of a (4, 4) plane, from its columns and rows.

    Parameters
    ----------
    plane : (4, 4) float64
        In any frame.
    """
    normal = np.cross(plane[:3, 0], plane[:3, 1])
    return normal / np.linalg.norm(normal)


def levels_of(heights: Float, apart_mm: float) -> NDArray[np.intp]:
    """Return the number of the level on which each height lies.

    Parameters
    ----------
    heights : (F,) float64
        mm along the normal, in any order.
    apart_mm : float
        A height this far above the next one below it is on another level.

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
    """How far a slice may lie beside its place in an even stack: 1 % of the spacing, at least 0.05 mm.

    A missing slice misplaces another by at least half a spacing, also if the spacing is below 0.05 mm.

    Parameters
    ----------
    spacing : float
        Distance of slices, mm.
    """
    return min(max(0.05, 0.01 * spacing), 0.25 * spacing)


@dataclass(frozen=True, eq=False, kw_only=True)
class PlaneStack:
    """Parallel planes of one size in order, each where its own header places it.

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
        """How far the last plane lies beside the first, in the planes."""
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
        """(4, 3) of a plane the first pixel, the last of its first row and of its first column: (column, row, 0, 1)."""
        columns, rows = self.columns - 1, self.rows - 1
        return np.array([[0, 0, 0, 1], [columns, 0, 0, 1], [0, rows, 0, 1]], dtype=float).T

    @property
    def turns_mm(self) -> Float:
        """(K,) how far the ends of each plane are off as it is turned against the first, or of other pixel spacing."""
        ends = np.array([self.columns - 1, self.rows - 1], dtype=float)
        return np.asarray(np.abs((self.planes[:, :3, :2] - self.planes[0, :3, :2]) * ends).max(axis=(1, 2)))

    def affine_over(self, steps: int, single_mm: float = 1.0) -> Float:
        """Return the affine of a grid on which the last plane is so many steps above the first.

        Parameters
        ----------
        steps : int
            At least 1, unless there is one plane only.
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
        """Measure how far the corners of each plane are from where an affine has them.

        Parameters
        ----------
        affine : (4, 4) float64
            Voxel index -> mm, in the frame of the planes.
        slices : (K,) int, optional
            Number of the slice on which each plane lies; by default one after the other.

        Returns
        -------
        (K,) float64
            Largest distance of three corners, mm.
        """
        numbers = np.arange(len(self.planes)) if slices is None else slices
        steps = numbers[:, None] * affine[:3, 2]
        predicted = (affine @ self.ends)[:3] + steps[:, :, None]
        return np.asarray(np.linalg.norm((self.planes @ self.ends)[:, :3] - predicted, axis=1).max(axis=1))

    @property
    def affine(self) -> Float:
        """(4, 4) voxel index -> mm of an even stack from the first plane to the last; sheared if they are."""
        return self.affine_over(len(self.planes) - 1)

    @property
    def tolerance_mm(self) -> float:
        """How far a plane may lie beside its place on the grid of an even stack."""
        return even_within_mm(float(np.linalg.norm(self.affine[:3, 2])))

    @property
    def is_even(self) -> bool:
        """Whether every plane lies on the grid of an even stack, which may be tilted."""
        return len(self.planes) == 1 or bool(self.misplacement_mm(self.affine).max() <= self.tolerance_mm)

    @property
    def is_straight(self) -> bool:
        """Whether it is even and tilted by less than half a pixel from end to end, so that its affine says it all."""
        return self.is_even and self.drift_mm <= 0.5 * self.pixel_mm

    def slices_with(self, step_mm: float) -> NDArray[np.intp] | None:
        """Return the slice of each plane on a grid of this spacing, from 0; None if the planes do not fit one.

        Slices between the planes may be empty.

        Parameters
        ----------
        step_mm : float
            Distance of slices along the normal.
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
        """The usual distance of neighbours, mm; of two gaps the wider one is the hole."""
        middle = np.percentile(self.gaps, 50, method="lower")
        return float(self.gaps[np.abs(self.gaps - middle) <= _SAME_GAP * middle].mean())

    @property
    def even_gap_mm(self) -> float | None:
        """The distance of neighbours along the normal if all have the same; None for a single plane."""
        if len(self.planes) == 1:
            return None
        gap = float(self.gaps.mean())
        return gap if np.abs(self.gaps - gap).max() <= even_within_mm(gap) else None
