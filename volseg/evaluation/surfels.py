"""The surface of a mask in small pieces (surfels) with their places and areas, for surface Dice.

A cell has the centres of eight neighbouring voxels as corners. If some are inside the mask and some outside, the cell
has a piece of surface: the triangles of marching cubes through the middles of its edges (W. Lorensen and H. Cline,
SIGGRAPH 1987, doi:10.1145/37401.37422). An ambiguous cell is joined in the way that gives the smaller area, so that a
mask and its complement have the same surface. DeepMind's surface-distance and MONAI use the same table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid

_CORNERS = tuple(product((0, 1), repeat=3))  # of a cell; each has a bit of its code
_AT_ONCE = 1_000_000
_FULL = 2 ** len(_CORNERS) - 1


@dataclass(frozen=True, eq=False)
class Surfels:
    """Places (N, 3) of the cells that hold a piece of surface, mm up to a common shift, and its areas (N,), mm2."""

    places: Float
    areas: Float

    def __len__(self) -> int:
        return len(self.areas)


def find_surfels(mask: NDArray[np.bool_], grid: Grid) -> Surfels:
    """Find the surface of a mask; outside the array counts as outside the mask.

    Parameters
    ----------
    mask : (I, J, K) bool
        On the grid, or a box of it.
    grid : Grid
        Gives the millimetres; may be oblique or sheared. If it has a single slice, the surface is the outline within
        the slice, as high as the slice is thick.
    """
    thin = np.equal(grid.shape, 1) & (max(grid.shape) > 1)
    frame = np.where(thin, 0, 1)
    padded = np.pad(mask.view(np.uint8), np.stack([frame, frame], axis=1))
    for axis in np.flatnonzero(thin):
        padded = padded.repeat(2, axis=axis)
    codes = np.zeros(np.subtract(padded.shape, 1), dtype=np.uint8)
    for bit, corner in enumerate(_CORNERS):
        codes |= padded[tuple(slice(a, a + size) for a, size in zip(corner, codes.shape, strict=True))] << bit
    found = (codes != 0) & (codes != _FULL)
    return Surfels(places_mm(found, grid), _areas_mm2(grid.affine[:3, :3])[codes[found]])


def places_mm(found: NDArray[np.bool_], grid: Grid) -> Float:
    """Return the places of voxels or cells, mm up to a common shift; computed in parts, to save memory.

    Parameters
    ----------
    found : (I, J, K) bool
        True at the N voxels or cells.
    grid : Grid
        Gives the millimetres.

    Returns
    -------
    (N, 3) float64
    """
    cells = np.flatnonzero(found)
    places = np.empty((len(cells), 3))
    for start in range(0, len(cells), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        places[part] = np.stack(np.unravel_index(cells[part], found.shape), axis=-1) @ grid.affine[:3, :3].T
    return places


def _areas_mm2(edges: Float) -> Float:
    """(256,) area of the surface in a cell, by code; `edges` has the edges of a cell as columns, mm."""
    codes, vectors = _triangles()
    # A matrix that maps points maps area vectors by its cofactor matrix.
    cofactor = np.linalg.det(edges) * np.linalg.inv(edges).T
    areas = np.bincount(codes, np.linalg.norm(vectors @ cofactor.T, axis=1), minlength=_FULL + 1)
    return np.minimum(areas, areas[::-1])


@cache
def _triangles() -> tuple[NDArray[np.intp], Float]:
    """Triangles of all cells with edges of 1: their codes (T,) and area vectors (T, 3), normals as long as the area."""
    from skimage.measure import marching_cubes

    codes, vectors = [], []
    for code in range(1, _FULL):
        cell = (code >> np.arange(len(_CORNERS)) & 1).astype(np.float32).reshape(2, 2, 2)
        vertices, faces, *_ = marching_cubes(cell, 0.5, method="lorensen")
        a, b, c = (vertices[faces[:, n]].astype(np.float64) for n in range(3))
        vectors.append(np.cross(b - a, c - a) / 2)
        codes += [code] * len(faces)
    return np.array(codes, dtype=np.intp), np.concatenate(vectors)
