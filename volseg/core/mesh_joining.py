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
        Number of the first mesh.

    Returns
    -------
    Mesh
        Its point data are those that all meshes have, and for each vertex the colour (``RGB``, uint8) and number
        (``Label``, int32, counted from `first`) of its mesh.
    """
    counts, colours = [], []
    shared = set(meshes[0].point_data)
    for mesh in meshes:
        counts.append(len(mesh.vertices))
        colours.append(mesh.colour)
        shared &= mesh.point_data.keys()
    data = {}
    for key in sorted(shared):
        data[key] = np.concatenate([mesh.point_data[key] for mesh in meshes])
    data["RGB"] = np.repeat(np.array(colours, dtype=np.uint8), counts, axis=0)
    data["Label"] = np.repeat(np.arange(first, first + len(meshes), dtype=np.int32), counts)
    return replace(Mesh.joined(meshes), point_data=data)
