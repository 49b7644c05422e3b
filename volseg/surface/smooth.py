"""Smoothing that removes the voxel staircase and keeps the volume."""

from __future__ import annotations

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from volseg.geometry import Float
from volseg.mesh import Mesh

_ITERATIONS = 20
_PASS_BAND = 0.1
_LEAST_KEPT = 0.8
_VOLUME_TOLERANCE = 1e-3
_NEWTON_STEPS = 10


def smooth_mesh(mesh: Mesh, *, volume_mm3: float | None = None) -> Mesh:
    """Smooth a closed surface without shrinking it.

    The windowed sinc filter passes what is longer than a few voxels. A separate piece that is itself as small as that
    would collapse to a point: where a piece loses over a fifth of its volume, it keeps its unsmoothed shape. The
    surface is then moved along its normals, everywhere by the same distance, until it encloses `volume_mm3`.

    Parameters
    ----------
    mesh : Mesh
        Closed, faces counter-clockwise seen from outside.
    volume_mm3 : float, optional
        What the result shall enclose, to 0.1 %; default what `mesh` encloses.

    Returns
    -------
    Mesh
        The same faces, moved vertices.

    References
    ----------
    Taubin, Zhang, Golub, Optimal surface smoothing as filter design, ECCV 1996, doi:10.1007/BFb0015544
    (vtkWindowedSincPolyDataFilter; 20 iterations, pass band 0.1).
    """
    filtered = _polydata(mesh).smooth_taubin(
        n_iter=_ITERATIONS,
        pass_band=_PASS_BAND,
        boundary_smoothing=False,
        non_manifold_smoothing=True,
        normalize_coordinates=True,
    )
    smoothed = mesh.with_vertices(np.asarray(filtered.points, dtype=np.float64))
    kept = _restore_collapsed(mesh, smoothed)
    return _move_to_volume(kept, mesh.volume_mm3 if volume_mm3 is None else volume_mm3)


def _restore_collapsed(before: Mesh, after: Mesh) -> Mesh:
    """Undo the smoothing of each connected piece that it shrank too much; holes are pieces of negative volume."""
    pieces = _label_pieces(before)
    volumes = [np.bincount(pieces[mesh.faces[:, 0]], weights=_signed_volumes(mesh)) for mesh in (before, after)]
    collapsed = np.abs(volumes[1]) < _LEAST_KEPT * np.abs(volumes[0])
    return after.with_vertices(np.where(collapsed[pieces, None], before.vertices, after.vertices))


def _label_pieces(mesh: Mesh) -> NDArray[np.int32]:
    """(V,) number of the connected piece of each vertex."""
    count = len(mesh.vertices)
    ends = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    graph = coo_array((np.ones(len(ends), dtype=np.bool_), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _signed_volumes(mesh: Mesh) -> Float:
    """(F,) volume between each face and one vertex of the mesh, mm3."""
    a, b, c = (mesh.vertices[mesh.faces[:, n]] - mesh.vertices[0] for n in range(3))
    return np.asarray(np.einsum("ij,ij->i", a, np.cross(b, c)) / 6)


def _move_to_volume(mesh: Mesh, volume_mm3: float) -> Mesh:
    """Move all vertices along their normals by the one distance that gives the volume (Newton's method)."""
    for _ in range(_NEWTON_STEPS):
        missing = volume_mm3 - mesh.volume_mm3
        if abs(missing) <= _VOLUME_TOLERANCE * volume_mm3:
            break
        normals = _vertex_normals(mesh)
        mesh = mesh.with_vertices(mesh.vertices + missing / _volume_gain(mesh, normals) * normals)
    return mesh


def _volume_gain(mesh: Mesh, normals: Float) -> float:
    """Volume gained for each mm that the vertices move along their normals, mm3/mm."""
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    return float(np.einsum("ij,ikj->", np.cross(b - a, c - a), normals[mesh.faces]) / 6)


def _vertex_normals(mesh: Mesh) -> Float:
    """(V, 3) unit normals, outwards."""
    surface = _polydata(mesh).compute_normals(
        cell_normals=False, split_vertices=False, consistent_normals=False, auto_orient_normals=False
    )
    return np.asarray(surface.point_data["Normals"], dtype=np.float64)


def _polydata(mesh: Mesh) -> pv.PolyData:
    return pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)
