"""How far predicted surfaces lie from the true ones, beside what their probabilities say of that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.core.mesh import Mesh
from volseg.prediction.surface_doubt import surface_sd

_VERTICES = 500  # of a surface


def surface_distances(
    labels: LabelMap, reference: LabelMap, probabilities: NDArray[np.float16], order: Sequence[Label]
) -> tuple[NDArray[np.float64], ...]:
    """Measure the surface of each label that both label maps have.

    Parameters
    ----------
    labels : LabelMap
        As predicted.
    reference : LabelMap
        On the same grid; labels are matched by value.
    probabilities : (K, I, J, K) float16
        Of background and each label.
    order : sequence of Label
        That of the probabilities.

    Returns
    -------
    tuple of (N, 2) arrays
        For each surface, at some of its vertices: the distance from the true surface, positive outside of it, and its
        standard deviation by the probabilities, mm.
    """
    from volseg.surface import extract_surfaces
    from volseg.surface.distance import signed_distances

    if 1 in labels.grid.shape:
        return ()
    numbers = {label.name: number for number, label in enumerate(order, 1)}
    in_both = label_boxes(labels.array).keys() & label_boxes(reference.array).keys()
    shared = tuple(label for label in order if label.value in in_both)
    if not shared:
        return ()
    ours, theirs = (
        extract_surfaces(LabelMap(np.where(np.isin(array, list(in_both)), array, 0), labels.grid, shared))
        for array in (labels.array, reference.array)
    )
    found = []
    for mesh, true in zip(ours, theirs, strict=True):
        if len(mesh.faces) and len(true.faces):
            some = Mesh(mesh.vertices[:: -(-len(mesh.vertices) // _VERTICES)], np.zeros((0, 3), dtype=np.int64))
            sd = surface_sd(some, probabilities[numbers[mesh.name]], labels.grid)
            found.append(np.stack([signed_distances(some, true), sd], axis=1))
    return tuple(found)
