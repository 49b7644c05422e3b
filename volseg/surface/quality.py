"""Grades of a surface: whether it is sound, and how far it lies from the surface as extracted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from volseg.core.mesh import Mesh, Quality
from volseg.surface.distance import distances
from volseg.surface.intersections import count_self_intersections
from volseg.surface.smooth import connected_pieces


def graded(mesh: Mesh, extracted: Mesh, expected_mm3: float) -> Mesh:
    """Return a surface with its grades in ``quality``.

    Parameters
    ----------
    mesh : Mesh
        The finished surface.
    extracted : Mesh
        The same surface before it was smoothed and simplified.
    expected_mm3 : float
        Volume that the surface should enclose.
    """
    away = np.concatenate([distances(mesh, extracted), distances(extracted, mesh)])
    edges = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    count = len(np.unique(edges[:, 0] * len(mesh.vertices) + edges[:, 1]))
    used = np.unique(mesh.faces)
    quality = Quality(
        triangles=len(mesh.faces),
        closed=mesh.is_closed,
        manifold=mesh.is_manifold,
        pieces=len(np.unique(connected_pieces(mesh.faces, len(mesh.vertices))[used])),
        euler_number=len(used) - count + len(mesh.faces),
        self_intersections=count_self_intersections(mesh),
        volume_mm3=mesh.volume_mm3,
        expected_mm3=expected_mm3,
        area_mm2=mesh.area_mm2,
        mean_distance_mm=float(away.mean()),
        largest_distance_mm=float(away.max()),
    )
    return replace(mesh, quality=quality)
