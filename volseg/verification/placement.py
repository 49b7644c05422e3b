"""Position of grids, labels and contours relative to an image in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from volseg.core.grid import RAS_TO_LPS, TO_EDGE, Float, Grid
from volseg.core.resample import Reorientation
from volseg.io.dicom import Stack

Relation = Literal["same grid", "other storage order", "part of the grid", "other grid", "apart"]

# A contour at most this far from a slice lies on it: in spacings, and at least in mm.
_ON_SLICE, _ON_SLICE_MM = 0.02, 0.05


@dataclass(frozen=True)
class Placement:
    """Position of a grid relative to that of an image.

    Parameters
    ----------
    relation : str
        ``same grid``; ``other storage order`` (the same voxels, axes flipped or permuted); ``part of the grid`` (the
        same voxels, fewer of them); ``other grid`` in the same place; ``apart`` if they do not overlap.
    worst_corner_mm : float
        Largest distance between corresponding outer corners, after both are stored in the same order.
    shift_mm : (x, y, z), optional
        Displacement in mm, RAS+, if that is the only difference from the image's grid.
    mirrored : str
        World axes, such as ``xy``, with the wrong sign, if that is the only difference; else empty.
    """

    relation: Relation
    worst_corner_mm: float
    shift_mm: tuple[float, float, float] | None = None
    mirrored: str = ""

    @property
    def cause(self) -> str:
        """The likely mistake, if it is the only difference between the grids; else empty."""
        if self.mirrored == "xy":
            return "is mirrored: left and right, front and back are exchanged, as if LPS had been taken for RAS"
        if self.mirrored:
            return f"is mirrored along {' and '.join(self.mirrored)}"
        if self.shift_mm:
            return f"is displaced by ({', '.join(f'{mm:.6g}' for mm in self.shift_mm)}) mm"
        return ""


def compare_grids(image: Grid, other: Grid, *, tolerance_mm: float | None = None) -> Placement:
    """Compare a grid with that of an image; grids are the same by `Grid.is_close`."""
    change = Reorientation.onto(other, image)
    turned = change.grid(other)
    worst = turned.distance_mm(image)
    if turned.is_close(image, tolerance_mm=tolerance_mm):
        as_stored = change == Reorientation((0, 1, 2), (False, False, False))
        return Placement("same grid" if as_stored else "other storage order", worst)
    if _is_part(image, turned, tolerance_mm):
        return Placement("part of the grid", worst)
    corners, size = image.to_voxel(turned.corners()), np.array(image.shape)
    meet = (corners.max(axis=0) > -0.5).all() and (corners.min(axis=0) < size - 0.5).all()
    shift, mirrored = _shift(image, turned, tolerance_mm), _mirrored(image, other, tolerance_mm)
    return Placement("other grid" if meet else "apart", worst, shift, mirrored)


@dataclass(frozen=True)
class ContourPlacement:
    """Number of slices of an image with contours, number of contours between slices, and the fraction outside."""

    slices: int
    between: int
    outside_fraction: float


def place_contours(contours: Sequence[Float], image: Grid, stack: Stack | None = None) -> ContourPlacement:
    """Place contours, (P, 3) mm RAS+ each, on the slices of an image: those of its grid, or the stored ones of DICOM.

    Points more than half a slice beyond the last slice, or more than a voxel beyond the outer centres, are outside.
    """
    if not contours:
        return ContourPlacement(0, 0, 0.0)
    places = [image.to_voxel(points) for points in contours]
    axis = int(np.max([np.ptp(at, axis=0) for at in places], axis=0).argmin())
    beyond = np.where(np.arange(3) == axis, TO_EDGE, 1.0)
    last = np.array(image.shape) - 1
    outside = np.array([bool(((at < -beyond) | (at > last + beyond)).any()) for at in places])
    if stack is None:
        spacing = image.spacing[axis]
        heights, slices = [at[:, axis].mean() * spacing for at in places], np.arange(image.shape[axis]) * spacing
    else:
        heights, slices = (
            [points.mean(axis=0) @ RAS_TO_LPS[:3, :3] @ stack.normal for points in contours],
            stack.heights,
        )
    distances = np.abs(np.subtract.outer(heights, slices))
    is_on = distances.min(axis=1) <= max(_ON_SLICE * image.spacing[axis], _ON_SLICE_MM)
    on = set(distances.argmin(axis=1)[is_on & ~outside].tolist())
    return ContourPlacement(len(on), int((~is_on & ~outside).sum()), float(outside.mean()))


def _is_part(image: Grid, turned: Grid, tolerance_mm: float | None) -> bool:
    start = np.rint(image.to_voxel(turned.origin)).astype(int)
    stop = start + turned.shape
    inside = (start >= 0).all() and (stop <= image.shape).all()
    return bool(inside) and turned.is_close(image.crop(_triple(start), _triple(stop)), tolerance_mm=tolerance_mm)


def _shift(image: Grid, turned: Grid, tolerance_mm: float | None) -> tuple[float, float, float] | None:
    step = turned.affine[:3, 3] - image.affine[:3, 3]
    moved = image.affine.copy()
    moved[:3, 3] += step
    if not Grid(image.shape, moved).is_close(turned, tolerance_mm=tolerance_mm):
        return None
    x, y, z = (float(mm) for mm in step.round(3) + 0.0)  # no -0.0
    return x, y, z


def _mirrored(image: Grid, other: Grid, tolerance_mm: float | None) -> str:
    """Find the fewest world axes with the wrong sign; these are x and y if LPS was taken for RAS."""
    for signs in sorted(product((1.0, -1.0), repeat=3), key=sum, reverse=True):
        candidate = Grid(other.shape, np.diag([*signs, 1.0]) @ other.affine)
        turned = Reorientation.onto(candidate, image).grid(candidate)
        if turned.is_close(image, tolerance_mm=tolerance_mm):
            return "".join(axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0)
    return ""


def _triple(values: Any) -> tuple[int, int, int]:
    i, j, k = (int(value) for value in values)
    return i, j, k
