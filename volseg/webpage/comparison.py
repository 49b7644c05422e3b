"""Two label maps in one page: where they agree, how far their surfaces lie apart, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.agreement import AGREE, AGREEMENT_COLOURS, ONLY_FIRST, ONLY_SECOND, OTHER, find_agreement
from volseg.core.labelmap import Label, LabelMap
from volseg.core.mesh import Mesh
from volseg.core.resample import Reorientation
from volseg.evaluation import Evaluation, evaluate
from volseg.evaluation.scores import METRICS
from volseg.surface.distance import signed_distances
from volseg.webpage.structures import label_surfaces, lighter

AGREEMENT = {
    AGREE: "both agree",
    ONLY_FIRST: "only in the labels",
    ONLY_SECOND: "only in the reference",
    OTHER: "another label in the reference",
}
_INSIDE, _SAME, _OUTSIDE = (49, 98, 196), (235, 235, 235), (205, 55, 40)
_SHARE = 98.0  # percentile of the distances at the ends of the colours
_LEAST_MM = 1.0


@dataclass(frozen=True)
class Comparison:
    """What a page shows of two label maps.

    Parameters
    ----------
    agreement : LabelMap
        One label for each row of `AGREEMENT`.
    meshes : tuple of Mesh
        The surfaces of the first label map.
    colours : dict of int to (V, 4) uint8
        Colour of each vertex by its signed distance to the reference, by the number of the mesh. A label that the
        reference lacks has none.
    limit_mm : float
        The distance at both ends of the colours.
    table : dict
        Headings and rows of texts.
    """

    agreement: LabelMap
    meshes: tuple[Mesh, ...]
    colours: Mapping[int, NDArray[np.uint8]]
    limit_mm: float
    table: dict[str, Any]

    @property
    def legend(self) -> dict[str, Any]:
        """What the colours of the surfaces mean."""
        limit = f"{self.limit_mm:.3g} mm"
        return {
            "colours": [_INSIDE, _SAME, _OUTSIDE],
            "texts": [f"{limit} inside", "on the reference", f"{limit} outside"],
        }


def compare_labels(labels: LabelMap, reference: LabelMap) -> Comparison:
    """Compare a label map with its reference.

    Parameters
    ----------
    labels, reference : LabelMap
        On the same grid, in any order of axes; labels are matched by value.

    Raises
    ------
    GeometryError
        The grids differ.
    InputError
        There is nothing to compare.
    """
    table = _table(evaluate(labels, reference))
    change = Reorientation.onto(reference.grid, labels.grid)
    agreement = _agreement(labels, change.array(reference.array))
    meshes = lighter(label_surfaces(labels))
    others = {mesh.name: mesh for mesh in lighter(label_surfaces(_with_names_of(labels, reference)))}
    distances = {}
    for number, mesh in enumerate(meshes):
        if mesh.name in others:
            distances[number] = signed_distances(mesh, others[mesh.name])
    limit = _limit_mm([*distances.values()])
    colours = {number: distance_colours(found, limit) for number, found in distances.items()}
    named = tuple(replace(mesh, name=f"surface of {mesh.name}") for mesh in meshes)
    return Comparison(agreement, named, colours, limit, table)


def distance_colours(distances: NDArray[np.float64], limit_mm: float) -> NDArray[np.uint8]:
    """(V, 4) colours of signed distances, from inside over white to outside.

    Parameters
    ----------
    distances : (V,) float
        mm.
    limit_mm : float
        From where on the colour no longer changes.
    """
    places = np.clip(distances / limit_mm, -1, 1)
    steps = np.array([_INSIDE, _SAME, _OUTSIDE])
    channels = [np.interp(places, [-1, 0, 1], steps[:, channel]) for channel in range(3)]
    return np.stack([*channels, np.full(len(places), 255.0)], axis=1).astype(np.uint8)


def _agreement(labels: LabelMap, reference: NDArray[Any]) -> LabelMap:
    named = [Label(value, name, AGREEMENT_COLOURS[value]) for value, name in AGREEMENT.items()]
    return LabelMap(find_agreement(labels.array, reference), labels.grid, tuple(named))


def _with_names_of(labels: LabelMap, reference: LabelMap) -> LabelMap:
    """Return the reference with the names that the other label map gives its values, as values are what is matched."""
    names = {label.value: label.name for label in labels.labels}
    known = tuple(replace(label, name=names[label.value]) for label in reference.labels if label.value in names)
    array = np.where(np.isin(reference.array, [label.value for label in known]), reference.array, 0)
    return LabelMap(array, reference.grid, known)


def _limit_mm(distances: Sequence[NDArray[np.float64]]) -> float:
    if not distances:
        return _LEAST_MM
    return max(_LEAST_MM, float(np.percentile(np.abs(np.concatenate(distances)), _SHARE)))


def _table(evaluation: Evaluation) -> dict[str, Any]:
    headings = ["label", *(metric.title for metric in METRICS.values())]
    rows = []
    for row in evaluation.rows:
        texts = [row.label]
        for name, metric in METRICS.items():
            texts.append(metric.text(getattr(row.scores, name)))
        rows.append(texts)
    return {"headings": headings, "rows": rows}
