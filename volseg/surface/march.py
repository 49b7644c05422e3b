"""Marching cubes on one padded crop: a mask or a field on a grid to a closed surface in world mm."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.mesh import Mesh


def march(field: NDArray[Any], grid: Grid) -> Mesh:
    """Extract the surface on which a field is zero, or that lies halfway between the voxels of a mask and those around.

    The array is padded by one layer of voxels, each the opposite of its neighbour inside. So the surface is closed
    where the object reaches the border; there it lies on the outer faces of the voxels.

    Parameters
    ----------
    field : (I, J, K) bool or real numbers
        True or positive inside the object.
    grid : Grid
        Of the field.

    Returns
    -------
    Mesh
        World mm RAS+, closed; faces counter-clockwise seen from outside, on left-handed grids too. It has no faces if
        no voxel is inside.

    References
    ----------
    Flying edges: Schroeder, Maynard, Geveci, LDAV 2015, doi:10.1109/LDAV.2015.7348069.
    """
    outside, level = _padded_mask(field) if field.dtype == bool else _padded_field(field)
    image = pv.ImageData(dimensions=outside.shape)
    image.point_data["outside"] = outside.ravel(order="F")
    surface = image.contour([level], scalars="outside", method="flying_edges", compute_scalars=False)
    faces = surface.regular_faces
    if np.linalg.det(grid.affine[:3, :3]) > 0:
        faces = faces[:, ::-1]
    return Mesh(grid.crop((-1, -1, -1), grid.shape).to_world(surface.points), faces)


def _padded_mask(mask: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], float]:
    """Return what is outside a mask as bytes, a quarter of the memory of a field, and the value of the surface."""
    outside = np.ones(np.add(mask.shape, 2), dtype=np.uint8, order="F")
    np.logical_not(mask, out=outside[1:-1, 1:-1, 1:-1], casting="unsafe")
    return outside, 0.5


def _padded_field(field: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    # The field is negated, as VTK takes a zero for inside: an object of zeros would become a surface of one point.
    outside = np.pad(-field.astype(np.float32, copy=False), 1, mode="edge")
    for axis, end in product(range(3), (0, -1)):
        face = np.moveaxis(outside, axis, 0)[end]
        np.maximum(np.abs(face), np.finfo(np.float32).tiny, out=face)  # a zero has no opposite
    return outside, 0.0
