"""Fewer triangles for the same shape."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import fast_simplification
import numpy as np

from volseg.errors import UsageError
from volseg.mesh import Mesh

logger = logging.getLogger(__name__)
_VOLUME_TOLERANCE = 0.05
_NOTABLY_MORE = 1.1


def simplify_meshes(meshes: Sequence[Mesh], *, keep: float) -> list[Mesh]:
    """Simplify each mesh (`simplify_mesh`); one warning lists those that keep notably more triangles than asked."""
    simpler = [simplify_mesh(mesh, keep=keep) for mesh in meshes]
    shares = [(new.name, len(new.faces) / len(old.faces)) for new, old in zip(simpler, meshes, strict=True)]
    if more := [f"{name} ({share:.0%})" for name, share in shares if share > _NOTABLY_MORE * keep]:
        logger.warning("more than %.3g%% of the triangles kept, to keep the shape: %s", 100 * keep, ", ".join(more))
    return simpler


def simplify_mesh(mesh: Mesh, *, keep: float) -> Mesh:
    """Reduce the number of triangles by collapsing the edges that change the shape least.

    Parameters
    ----------
    mesh : Mesh
        Closed.
    keep : float
        Fraction of the triangles to keep, over 0 up to 1. More are kept where fewer would open the
        surface or change its volume by over 5 %: small things have few triangles to spare.

    Returns
    -------
    Mesh
        Closed; without point data, as the vertices are others.

    Raises
    ------
    UsageError
        `keep` is not a fraction.

    References
    ----------
    Garland, Heckbert, Surface simplification using quadric error metrics, SIGGRAPH 1997, doi:10.1145/258734.258849.
    """
    check_fraction(keep)
    fraction = keep
    while fraction < 1:
        points, faces = fast_simplification.simplify(mesh.vertices, mesh.faces.astype(np.int32), 1 - fraction)
        simpler = replace(mesh, vertices=points, faces=faces, point_data={})
        if _is_alike(simpler, mesh):
            break
        fraction *= 2
    else:
        simpler = mesh
    return simpler


def check_fraction(keep: float) -> None:
    """Refuse what is no fraction of triangles to keep (UsageError)."""
    if not 0 < keep <= 1:
        raise UsageError(f"fraction of triangles to keep is {keep:g}; expected a number over 0 up to 1")


def _is_alike(simpler: Mesh, mesh: Mesh) -> bool:
    change = abs(simpler.volume_mm3 - mesh.volume_mm3)
    return simpler.is_closed and change <= _VOLUME_TOLERANCE * mesh.volume_mm3
