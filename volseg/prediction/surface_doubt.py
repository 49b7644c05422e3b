"""How far a surface may lie from where it is drawn: a standard deviation in mm at each of its vertices.

Across a surface the calibrated probability p of its label falls from 1 to 0. It is taken as the probability that the
true surface lies further out, which for a logistic distribution has the standard deviation pi / sqrt(3) * p (1 - p) /
|grad p|. Held-out cases tell by how much their true distances differ from that; the model keeps the factor.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from volseg.core.grid import Float, Grid
from volseg.core.mesh import Mesh

SD_NAME = "sd_mm"  # of the point data of a mesh
_MARGIN = 3  # voxels around a surface
_SMOOTH = 0.7  # voxels: surfaces are smoothed too
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
        mm.
    """
    if not len(mesh.vertices):
        return np.zeros(0)
    places = grid.to_voxel(mesh.vertices)
    low = np.maximum(np.floor(places.min(axis=0)).astype(int) - _MARGIN, 0)
    high = np.minimum(np.ceil(places.max(axis=0)).astype(int) + _MARGIN + 1, grid.shape)
    box = tuple(slice(start, stop) for start, stop in zip(low.tolist(), high.tolist(), strict=True))
    p = probability[box].astype(np.float32)
    steep = np.sqrt(sum(slope**2 for slope in np.gradient(p, *grid.spacing)))
    spread, slope = (
        map_coordinates(gaussian_filter(field, _SMOOTH), (places - low).T, order=1, mode="nearest")
        for field in (p * (1 - p), steep)
    )
    return np.asarray(pi / sqrt(3) * spread / np.maximum(slope, _FLATTEST), dtype=np.float64)
