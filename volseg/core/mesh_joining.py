"""Several meshes as one, for formats without objects of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from volseg.core.mesh import Mesh


def join_meshes(meshes: Sequence[Mesh], *, first: int = 1) -> Mesh:
    """Put meshes into one.

    Parameters
    ----------
    meshes : sequence of Mesh
        At least one.
    first : int
        Number of the first.

    Returns
    -------
    Mesh
        With the point data that all of them have, the colour (``RGB``, uint8) and the number (``Label``, int32, counted
        from `first`) of its mesh at each vertex.
    """
    counts = [len(mesh.vertices) for mesh in meshes]
    shared = set.intersection(*(set(mesh.point_data) for mesh in meshes))
    data = {key: np.concatenate([mesh.point_data[key] for mesh in meshes]) for key in sorted(shared)}
    data["RGB"] = np.repeat(np.array([mesh.colour for mesh in meshes], dtype=np.uint8), counts, axis=0)
    data["Label"] = np.repeat(np.arange(first, first + len(meshes), dtype=np.int32), counts)
    return replace(Mesh.joined(meshes), point_data=data)
