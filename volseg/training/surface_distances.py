"""How far predicted surfaces lie from the true ones, beside what their probabilities say of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.inspection.reader_notes import collected_notes
from volseg.prediction.surface_doubt import surface_sd

_VERTICES = 500  # of a surface
MOST_OF_A_CASE = 4  # surfaces: those of one case are alike, and take time


def surface_distances(
    labels: LabelMap,
    reference: LabelMap,
    probabilities: NDArray[np.float16],
    order: Sequence[Label],
    *,
    first: int = 0,
    heed: Callable[[], None] = lambda: None,
) -> tuple[NDArray[np.float64], ...]:
    """Measure the surfaces of some labels that both label maps have, up to four.

    Vertices at the border of the scan do not count: there both surfaces end, wherever the structure does.

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
    first : int
        From which label on they are chosen, so that each gets its turn.
    heed : callable
        Called between surfaces; may raise.

    Returns
    -------
    tuple of (N, 2) arrays
        For each surface, at some of its vertices: the distance from the true surface, positive outside of it, and its
        standard deviation by the probabilities, mm. Nothing where no surface can be made of a prediction.
    """
    from volseg.surface.distance import signed_distances

    if 1 in labels.grid.shape:
        return ()
    in_both = label_boxes(labels.array).keys() & label_boxes(reference.array).keys()
    shared = [(number, label) for number, label in enumerate(order, 1) if label.value in in_both]
    turn = first % max(1, len(shared))
    found = []
    for number, label in [*shared[turn:], *shared[:turn]][:MOST_OF_A_CASE]:
        heed()
        mesh, true = _surface(labels, label), _surface(reference, label)
        if mesh is None or true is None:
            continue
        places = labels.grid.to_voxel(mesh.vertices)
        inside = np.all((places > 0) & (places < np.array(labels.grid.shape) - 1), axis=1)
        vertices = mesh.vertices[inside]
        if len(vertices):
            some = Mesh(vertices[:: ceil(len(vertices) / _VERTICES)], np.zeros((0, 3), dtype=np.int64))
            sd = surface_sd(some, probabilities[number], labels.grid)
            found.append(np.stack([signed_distances(some, true), sd], axis=1))
    return tuple(found)


def _surface(labels: LabelMap, label: Label) -> Mesh | None:
    """Return the surface of one label; None if it has none, as it is noise."""
    from volseg.surface import extract_surfaces

    alone = LabelMap((labels.array == label.value).astype(np.uint8), labels.grid, (replace(label, value=1),))
    try:
        with collected_notes():  # which are not about files of the user
            (mesh,) = extract_surfaces(alone)
    except InputError:
        return None
    return mesh if len(mesh.faces) else None
