"""How far two surfaces lie apart."""

from __future__ import annotations

import numpy as np
import pyvista as pv

from volseg.core.grid import Float
from volseg.core.mesh import Mesh

_MOST_PARTS = 16


def largest_distance(a: Mesh, b: Mesh) -> float:
    """Return the largest distance, mm, from a point of either surface to the other (Hausdorff's).

    Measured from the vertices of both and from points on the larger triangles, no further apart than the edges of the
    finer surface are long on average, up to 16 to an edge.
    """
    return max(float(distances(a, b).max()), float(distances(b, a).max()))


def distances(a: Mesh, b: Mesh) -> Float:
    """(N,) distance from points on `a` to the surface of `b`, mm; see `largest_distance` for the points."""
    spacing = min(_edge_lengths(a).mean(), _edge_lengths(b).mean())
    points = np.concatenate([a.vertices, _points_within(a, float(spacing))])
    surface = pv.PolyData.from_regular_faces(b.vertices, b.faces)
    # Not VTK's implicit distance, which is millimetres off beside triangles without area.
    _, nearest = surface.find_closest_cell(points, return_closest_point=True)
    return np.asarray(np.linalg.norm(np.asarray(nearest) - points, axis=1), dtype=np.float64)


def _edge_lengths(mesh: Mesh) -> Float:
    """(F, 3) of each triangle."""
    corners = mesh.vertices[mesh.faces]
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2))


def _points_within(mesh: Mesh, spacing_mm: float) -> Float:
    """(N, 3) a lattice on each triangle whose edges are longer than the spacing, without its corners."""
    parts = np.ceil(_edge_lengths(mesh).max(axis=1) / spacing_mm).clip(1, _MOST_PARTS).astype(int)
    found = [np.empty((0, 3))]
    for count in np.unique(parts[parts > 1]):
        i, j = np.indices((count + 1, count + 1)).reshape(2, -1)
        inside = (i + j <= count) & (np.maximum(np.maximum(i, j), count - i - j) < count)
        weights = np.stack([i, j, count - i - j], axis=1)[inside] / count
        found.append((weights @ mesh.vertices[mesh.faces[parts == count]]).reshape(-1, 3))
    return np.concatenate(found)
