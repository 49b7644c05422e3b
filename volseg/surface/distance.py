"""How far two surfaces lie apart."""

from __future__ import annotations

import numpy as np
import pyvista as pv
from vtkmodules.vtkFiltersModeling import vtkHausdorffDistancePointSetFilter

from volseg.core.grid import Float
from volseg.core.mesh import Mesh

_MOST_PARTS = 16


def lie_within(limit_mm: float, a: Mesh, b: Mesh) -> bool:
    """Return whether no point of either surface is further from the other than a limit (Hausdorff's distance).

    It is measured from the vertices of both and from points on the larger triangles. These points are no further apart
    than the mean edge of the finer surface is long, up to 16 to an edge.

    Parameters
    ----------
    limit_mm : float
    a, b : Mesh
        Both with faces. Points of `a` are looked at first; it is quicker if `a` has the smaller triangles.
    """
    return all(float(distances(one, other).max()) <= limit_mm for one, other in ((a, b), (b, a)))


def distances(a: Mesh, b: Mesh) -> Float:
    """Return the distances from points on one surface to another surface.

    Parameters
    ----------
    a, b : Mesh
        Both with faces.

    Returns
    -------
    (N,) float
        From the points on `a` (see `lie_within`) to `b`, mm.
    """
    spacing = min(_edge_lengths(a).mean(), _edge_lengths(b).mean())
    points = np.concatenate([a.vertices, _points_within(a, float(spacing))])
    # The filter measures both ways. Only the way from the points is of use, so they get a single cell.
    # VTK's implicit distance is not used: beside triangles without area it is wrong by millimetres.
    measure = vtkHausdorffDistancePointSetFilter()
    measure.SetTargetDistanceMethodToPointToCell()
    measure.SetInputData(0, pv.PolyData(points, verts=[1, 0]))
    measure.SetInputData(1, pv.PolyData.from_regular_faces(b.vertices, b.faces))  # type: ignore[arg-type]
    measure.Update()
    return np.array(pv.wrap(measure.GetOutputDataObject(0)).point_data["Distance"], dtype=np.float64)


def signed_distances(a: Mesh, b: Mesh) -> Float:
    """Return the distance of each vertex of one surface from another surface; positive outside of it.

    Parameters
    ----------
    a, b : Mesh
        Both with faces; `b` closed.

    Returns
    -------
    (V,) float
        For the vertices of `a`, mm.
    """
    surface = pv.PolyData.from_regular_faces(b.vertices, b.faces)  # type: ignore[arg-type]
    cells, nearest = surface.find_closest_cell(a.vertices, return_closest_point=True)
    away = a.vertices - np.asarray(nearest)
    first, second, third = np.moveaxis(b.vertices[b.faces[np.asarray(cells)]], 1, 0)
    outwards = np.cross(second - first, third - first)
    sign = np.where(np.einsum("ij,ij->i", away, outwards) < 0, -1.0, 1.0)
    return np.asarray(sign * np.linalg.norm(away, axis=1))


def _edge_lengths(mesh: Mesh) -> Float:
    """(F, 3) edge lengths of each triangle, mm."""
    corners = mesh.vertices[mesh.faces]
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2))


def _points_within(mesh: Mesh, spacing_mm: float) -> Float:
    """(N, 3) lattice points, without corners, on each triangle with an edge longer than the spacing."""
    parts = np.ceil(_edge_lengths(mesh).max(axis=1) / spacing_mm).clip(1, _MOST_PARTS).astype(int)
    found = [np.empty((0, 3))]
    for count in np.unique(parts[parts > 1]):
        i, j = np.indices((count + 1, count + 1)).reshape(2, -1)
        inside = (i + j <= count) & (np.maximum(np.maximum(i, j), count - i - j) < count)
        weights = np.stack([i, j, count - i - j], axis=1)[inside] / count
        found.append((weights @ mesh.vertices[mesh.faces[parts == count]]).reshape(-1, 3))
    return np.concatenate(found)
