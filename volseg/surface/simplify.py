"""Fewer triangles for the same shape."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from threading import Lock

import fast_simplification
import numpy as np

from volseg.core.mesh import Mesh
from volseg.surface.distance import lie_within
from volseg.surface.intersections import count_self_intersections

_VOLUME_TOLERANCE = 0.05
_ONE_AT_A_TIME = Lock()  # fast_simplification keeps its mesh in global variables
_REFINEMENTS = 3  # attempts between the last fraction of triangles that failed and the first that did not


def simplify_mesh(
    mesh: Mesh,
    *,
    keep: float,
    reference: Mesh | None = None,
    max_error_mm: float | None = None,
    uncrossed: bool = False,
) -> Mesh:
    """Reduce the number of triangles by collapsing the edges that change the shape least.

    Parameters
    ----------
    mesh : Mesh
        Closed.
    keep : float
        Fraction of the triangles to keep, over 0 up to 1. More are kept if fewer would open the surface, fold it onto
        itself at an edge, change its volume by over 5 % or move it too far: small bodies have few to spare.
    reference : Mesh, optional
        Surface that the result must stay near; default `mesh`.
    max_error_mm : float, optional
        Largest distance to the reference, both ways (`volseg.surface.distance`).
    uncrossed : bool
        Also keep more triangles if fewer would intersect each other.

    Returns
    -------
    Mesh
        Closed; without point data, as its vertices are new.

    References
    ----------
    Garland, Heckbert, Surface simplification using quadric error metrics, SIGGRAPH 1997, doi:10.1145/258734.258849.
    """

    def attempt(fraction: float) -> Mesh | None:
        simpler = _attempt(mesh, fraction, reference or mesh, max_error_mm)
        return None if simpler and uncrossed and count_self_intersections(simpler) else simpler

    failed, found, fraction = 0.0, mesh, keep
    while fraction < 1:
        if simpler := attempt(fraction):
            found = simpler
            break
        failed, fraction = fraction, 2 * fraction
    most = min(fraction, 1.0)
    for _ in range(_REFINEMENTS if failed else 0):
        fraction = sqrt(failed * most)
        if simpler := attempt(fraction):
            found, most = simpler, fraction
        else:
            failed = fraction
    return found


def _attempt(mesh: Mesh, fraction: float, reference: Mesh, max_error_mm: float | None) -> Mesh | None:
    """Keep this fraction of the triangles; return None if the shape suffers."""
    with _ONE_AT_A_TIME:
        points, faces = fast_simplification.simplify(mesh.vertices, mesh.faces.astype(np.int32), 1 - fraction)
    simpler = replace(mesh, vertices=points, faces=faces, point_data={})
    return simpler if _is_alike(simpler, mesh) and _is_near(simpler, reference, max_error_mm) else None


def _is_alike(simpler: Mesh, mesh: Mesh) -> bool:
    change = abs(simpler.volume_mm3 - mesh.volume_mm3)
    sound = simpler.is_manifold if mesh.is_manifold else simpler.is_closed
    return sound and change <= _VOLUME_TOLERANCE * mesh.volume_mm3


def _is_near(simpler: Mesh, reference: Mesh, max_error_mm: float | None) -> bool:
    return max_error_mm is None or lie_within(max_error_mm, reference, simpler)
