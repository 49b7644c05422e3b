"""How well a predicted mask agrees with its reference; every definition and every rule for empty masks in one place.

HD95 and ASSD are measured between surface voxels: the voxels of a mask with at least one of their six face neighbours
outside it (on a grid of one slice, of the four within the slice); outside the image counts as outside the mask.
Distances are between the centres of surface voxels, in world millimetres. HD95 is the larger of the two directed 95th
percentiles (linear interpolation). ASSD is the mean over the surface voxels of both masks together. These are MONAI's
definitions.

Surface Dice compares areas: it is the part of the area of both surfaces that lies within the tolerance of the other
[1]_. The surfaces are those of `volseg.evaluation.surfels`; a piece lies within the tolerance if its place does. This
is the definition of DeepMind's surface-distance, and of MONAI with ``use_subvoxels=True``.

Empty masks:

* both empty: every agreement is NaN, "nothing to compare". NaN is left out of means, and counted.
* one empty: Dice, IoU and surface Dice are 0; HD95 and ASSD are the diagonal of the grid between outer corners, the
  largest possible distance. A miss therefore never improves a mean.

.. [1] S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy: deep learning
   algorithm development and validation study", J Med Internet Res 23 (2021), doi:10.2196/26151.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.errors import GeometryError
from volseg.evaluation.surfels import Surfels, find_surfels, places_mm

Mask = NDArray[np.bool_]
Float = NDArray[np.float64]

# Spacings from float32 headers are wrong by some nanometres; a neighbour at 1.0000001 mm is within 1 mm.
_ROUNDING_MM = 1e-4


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice coefficient, twice the intersection over the sum of the sizes; NaN if both are empty.

    Parameters
    ----------
    prediction, reference : (I, J, K) bool

    Raises
    ------
    GeometryError
        The shapes differ.
    """
    both, total = _overlap(prediction, reference)
    return 2 * both / total if total else float("nan")


def iou(prediction: Mask, reference: Mask) -> float:
    """Intersection over union (Jaccard index); NaN if both are empty.

    Parameters
    ----------
    prediction, reference : (I, J, K) bool

    Raises
    ------
    GeometryError
        The shapes differ.
    """
    both, total = _overlap(prediction, reference)
    return both / (total - both) if total else float("nan")


def volume_ml(mask: Mask, grid: Grid) -> float:
    """Volume of the voxels of a mask in millilitres (1 ml is 1000 mm3).

    Parameters
    ----------
    mask : (I, J, K) bool
    grid : Grid
        Gives the size of a voxel.
    """
    return int(np.count_nonzero(mask)) * grid.voxel_volume_mm3 / 1000


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between two surfaces, mm.

    Parameters
    ----------
    to_reference : (P,) float64
        From each surface voxel of the prediction to the nearest one of the reference.
    to_prediction : (R,) float64
        From each surface voxel of the reference to the nearest one of the prediction.
    """

    to_reference: Float
    to_prediction: Float


def surface_distances(prediction: Mask, reference: Mask, grid: Grid) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks, both ways, with k-d trees.

    Parameters
    ----------
    prediction, reference : (I, J, K) bool
        On the grid, or the same box of both that contains both masks.
    grid : Grid
        Gives the millimetres; may be oblique or sheared.

    Returns
    -------
    SurfaceDistances
        If only one mask is empty, each distance from the other is the grid's diagonal.

    Raises
    ------
    GeometryError
        The shapes of the masks differ.
    """
    _check_shapes(prediction, reference)
    box = _box_of_both(prediction, reference)
    if box is None:
        return SurfaceDistances(np.empty(0), np.empty(0))
    ours, theirs = _surface_points(prediction[box], grid), _surface_points(reference[box], grid)
    if not len(ours) or not len(theirs):
        corners = grid.corners()
        diagonal = float(np.linalg.norm(corners[:, None] - corners, axis=-1).max())
        return SurfaceDistances(np.full(len(ours), diagonal), np.full(len(theirs), diagonal))
    return SurfaceDistances(_nearest(ours, theirs), _nearest(theirs, ours))


def hd95_mm(distances: SurfaceDistances) -> float:
    """95th-percentile Hausdorff distance, mm: the larger of the two directed percentiles; NaN if both are empty.

    Parameters
    ----------
    distances : SurfaceDistances
        From `surface_distances`.
    """
    percentiles = []
    for directed in (distances.to_reference, distances.to_prediction):
        if len(directed):
            percentiles.append(float(np.percentile(directed, 95)))
    return max(percentiles, default=float("nan"))


def assd_mm(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance, mm, over the surface voxels of both masks; NaN if both are empty.

    Parameters
    ----------
    distances : SurfaceDistances
        From `surface_distances`.
    """
    pooled = np.concatenate([distances.to_reference, distances.to_prediction])
    return float(pooled.mean()) if len(pooled) else float("nan")


def surface_dice(prediction: Mask, reference: Mask, grid: Grid, *, tolerance_mm: float = 1.0) -> float:
    """Part of the area of both surfaces within `tolerance_mm` of the other; 0 if one is empty, NaN if both.

    Parameters
    ----------
    prediction, reference : (I, J, K) bool
        On the grid, or the same box of both that contains both masks.
    grid : Grid
        Gives the millimetres; may be oblique or sheared.
    tolerance_mm : float
        Largest distance that counts as agreement, mm.

    Raises
    ------
    GeometryError
        The shapes of the masks differ.
    """
    _check_shapes(prediction, reference)
    box = _box_of_both(prediction, reference)
    if box is None:
        return float("nan")
    ours, theirs = find_surfels(prediction[box], grid), find_surfels(reference[box], grid)
    if not len(ours) or not len(theirs):
        return 0.0
    near = _area_near(ours, theirs, tolerance_mm) + _area_near(theirs, ours, tolerance_mm)
    return float(near / (ours.areas.sum() + theirs.areas.sum()))


def _check_shapes(prediction: Mask, reference: Mask) -> None:
    if prediction.shape != reference.shape:
        raise GeometryError(
            f"prediction has shape {prediction.shape}, its reference {reference.shape}; resample one onto the other"
        )


def _overlap(prediction: Mask, reference: Mask) -> tuple[int, int]:
    """Return the voxels in both masks, and the sum of the voxels of each."""
    _check_shapes(prediction, reference)
    both = int(np.count_nonzero(prediction & reference))
    return both, int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))


def _box_of_both(prediction: Mask, reference: Mask) -> tuple[slice, ...] | None:
    """Return the smallest box that holds both masks; None where both are empty."""
    from scipy import ndimage

    found: list[tuple[slice, ...]] = ndimage.find_objects((prediction | reference).view(np.uint8))
    return found[0] if found else None


def _surface_points(mask: Mask, grid: Grid) -> Float:
    """(N, 3) positions of the surface voxels in millimetres, up to a common shift."""
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(3, 1)
    for axis, size in enumerate(grid.shape):
        if size == 1:  # one slice has a contour, not a surface above and below each voxel
            cross[tuple(slice(None) if a != axis else [0, 2] for a in range(3))] = False
    surface = mask & ~ndimage.binary_erosion(mask, cross)
    return places_mm(surface, grid)


def _nearest(points: Float, others: Float) -> Float:
    """Return the distance from each of (N, 3) points to the nearest of the others."""
    from scipy.spatial import KDTree

    return np.asarray(KDTree(others, leafsize=32).query(points)[0])


def _area_near(surface: Surfels, other: Surfels, tolerance_mm: float) -> float:
    from scipy.spatial import KDTree

    within = tolerance_mm + _ROUNDING_MM
    tree = KDTree(other.places, leafsize=32)
    distances = tree.query(surface.places, distance_upper_bound=np.nextafter(within, np.inf))[0]
    return float(surface.areas[distances <= within].sum())
