"""How far a surface may lie from where it is drawn: a standard deviation in mm at each of its vertices.

Across a surface the calibrated probability p of its label falls from 1 to 0. It is taken as the probability that the
true surface lies further out, which for a logistic distribution has the standard deviation pi / sqrt(3) * p (1 - p) /
|grad p|. It is not below that of a place that is known to a voxel: the size of the voxel across the surface / sqrt(12).
Held-out cases tell by how much their true distances differ from that; the model keeps the factor.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from volseg.core.grid import Float, Grid
from volseg.core.mesh import Mesh

SD_NAME = "sd_mm"  # of the point data of a mesh
_SMOOTH = 0.7  # voxels: surfaces are smoothed too
_MARGIN = 4  # voxels around vertices, which smoothing and slopes reach
_SLAB = 32  # voxels at once along the first axis, to save memory
_FLATTEST = 0.01  # of p a mm


def surface_sd(mesh: Mesh, probability: NDArray[np.floating], grid: Grid) -> Float:
    """Return the standard deviation of the place of a surface at each vertex, before the factor of held-out cases.

    Parameters
    ----------
    mesh : Mesh
        Of a label.
    probability : (I, J, K) float
        Of this label.
    grid : Grid
        Of the probability, at least 2 voxels along each axis.

    Returns
    -------
    (V,) float64
        mm, above 0.
    """
    found, places = np.empty(len(mesh.vertices)), grid.to_voxel(mesh.vertices)
    slabs = places[:, 0] // _SLAB
    for slab in np.unique(slabs):
        found[slabs == slab] = _sd_at(places[slabs == slab], probability, grid.spacing)
    return found


def _sd_at(places: Float, probability: NDArray[np.floating], spacing: tuple[float, float, float]) -> Float:
    """Return the standard deviations at some voxel coordinates (N, 3)."""
    low = np.maximum(np.floor(places.min(axis=0)).astype(int) - _MARGIN, 0)
    high = np.minimum(np.ceil(places.max(axis=0)).astype(int) + _MARGIN + 1, probability.shape)
    box = tuple(slice(start, stop) for start, stop in zip(low.tolist(), high.tolist(), strict=True))
    p = probability[box].astype(np.float32)

    def at_places(field: NDArray[np.float32]) -> Float:
        smooth = gaussian_filter(field, _SMOOTH)
        return np.asarray(map_coordinates(smooth, (places - low).T, order=1, mode="nearest"), dtype=np.float64)

    slopes = np.stack([at_places(np.asarray(slope)) for slope in np.gradient(p, *spacing)])
    steep = np.linalg.norm(slopes, axis=0)
    # Where p is flat, no direction is known: a voxel is as large as it is along its diagonal.
    across = np.where(steep > 0, np.abs(slopes), 1.0)
    across = across / np.linalg.norm(across, axis=0)
    voxel = np.linalg.norm(across * np.array(spacing)[:, None], axis=0)
    sd = pi / sqrt(3) * at_places(p * (1 - p)) / np.maximum(steep, _FLATTEST)
    return np.asarray(np.maximum(sd, voxel / sqrt(12)))
