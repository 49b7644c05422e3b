"""How two grids lie against each other in the patient: the same voxels, a part of them, others, or apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from volseg.geometry import Grid
from volseg.labelmap import LabelMap
from volseg.resample import Reorientation

Relation = Literal["same grid", "other storage order", "part of the grid", "other grid", "apart"]
Extent = tuple[tuple[float, float], ...]

# Of the voxel edge; what `volseg evaluate` takes for the same grid.
_TOLERANCE_VOXELS = 0.01
_LEAST_TOLERANCE_MM = 1e-3
# From a voxel's centre to its edge, and rounding.
_HALF = 0.5 + 1e-3


@dataclass(frozen=True)
class Placement:
    """How a grid lies against that of an image.

    Parameters
    ----------
    relation : str
        ``same grid``; ``other storage order`` (the same voxels, axes flipped or permuted); ``part of the grid`` (the
        same voxels, fewer of them); ``other grid`` in the same place; ``apart``, where they do not meet.
    worst_corner_mm : float
        Largest distance between corresponding outer corners, after both are stored in the same order.
    shift_mm : (x, y, z), optional
        mm RAS+ by which the grid is moved, where it is the image's but for that.
    mirrored : str
        World axes, such as ``xy``, that must change their sign for the grids to be the same; empty where none do.
    """

    relation: Relation
    worst_corner_mm: float
    shift_mm: tuple[float, float, float] | None = None
    mirrored: str = ""


def grid_tolerance_mm(image: Grid) -> float:
    """How far corners of two grids may be apart that count as the same: 1 % of a voxel edge, at least 0.001 mm."""
    return max(_LEAST_TOLERANCE_MM, _TOLERANCE_VOXELS * min(image.spacing))


def compare_grids(image: Grid, other: Grid, *, tolerance_mm: float | None = None) -> Placement:
    """Say how a grid lies against that of an image; corners within the tolerance are the same."""
    tolerance = grid_tolerance_mm(image) if tolerance_mm is None else tolerance_mm
    turned = Reorientation.between(other, image.orientation).grid(other)
    worst = turned.distance_mm(image)
    if turned.is_close(image, tolerance_mm=tolerance):
        as_stored = np.allclose(other.affine[:3, :3], turned.affine[:3, :3])
        return Placement("same grid" if as_stored else "other storage order", worst)
    if _is_part(image, turned, tolerance):
        return Placement("part of the grid", worst)
    corners, size = image.to_voxel(turned.corners()), np.array(image.shape)
    meet = (corners.max(axis=0) > -0.5).all() and (corners.min(axis=0) < size - 0.5).all()
    shift, mirrored = _shift(image, turned, tolerance), _mirrored(image, other, tolerance)
    return Placement("other grid" if meet else "apart", worst, shift, mirrored)


def label_extent(layers: Sequence[LabelMap], image: Grid) -> tuple[Extent | None, float | None]:
    """Say where in an image the labelled voxels of label maps on any grid lie.

    Returns
    -------
    extent : 3 pairs of (first, last), optional
        Image voxel coordinates of labelled voxels' centres along each axis; None where nothing is labelled.
    outside : float, optional
        Fraction of the labelled voxels whose centre lies outside the image, 0 to 1; None where nothing is labelled.
    """
    lowest, highest, labelled, outside = np.full(3, np.inf), np.full(3, -np.inf), 0, 0
    last = np.array(image.shape) - 1
    for layer in layers:
        to_image = np.linalg.solve(image.affine, layer.grid.affine)[:3]
        for k in range(layer.grid.shape[2]):
            places = np.argwhere(layer.array[:, :, k]) @ to_image[:, :2].T + to_image[:, 2] * k + to_image[:, 3]
            if len(places):
                lowest, highest = np.minimum(lowest, places.min(axis=0)), np.maximum(highest, places.max(axis=0))
                beyond = (places < -_HALF) | (places > last + _HALF)
                labelled, outside = labelled + len(places), outside + int(beyond.any(axis=1).sum())
    if not labelled:
        return None, None
    pairs = zip((lowest.round(2) + 0.0).tolist(), (highest.round(2) + 0.0).tolist(), strict=True)  # no -0.0
    return tuple((low, high) for low, high in pairs), outside / labelled


def _is_part(image: Grid, turned: Grid, tolerance: float) -> bool:
    start = np.rint(image.to_voxel(turned.origin)).astype(int)
    stop = start + turned.shape
    inside = (start >= 0).all() and (stop <= image.shape).all()
    return bool(inside) and turned.is_close(image.crop(_triple(start), _triple(stop)), tolerance_mm=tolerance)


def _shift(image: Grid, turned: Grid, tolerance: float) -> tuple[float, float, float] | None:
    step = turned.affine[:3, 3] - image.affine[:3, 3]
    moved = image.affine.copy()
    moved[:3, 3] += step
    if not Grid(image.shape, moved).is_close(turned, tolerance_mm=tolerance):
        return None
    x, y, z = (float(mm) for mm in step.round(6))
    return x, y, z


def _mirrored(image: Grid, other: Grid, tolerance: float) -> str:
    """Find the fewest world axes whose sign was mistaken; where LPS was taken for RAS these are x and y."""
    for signs in sorted(product((1.0, -1.0), repeat=3), key=sum, reverse=True):
        candidate = Grid(other.shape, np.diag([*signs, 1.0]) @ other.affine)
        turned = Reorientation.between(candidate, image.orientation).grid(candidate)
        if turned.is_close(image, tolerance_mm=tolerance):
            return "".join(axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0)
    return ""


def _triple(values: Any) -> tuple[int, int, int]:
    i, j, k = (int(value) for value in values)
    return i, j, k
