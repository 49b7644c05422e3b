"""One label map from labels that overlap.

A voxel that several structures claim goes to the smallest of them. So a part stays whole inside its whole (a tumour in
an organ, a vein in a lung), whatever the files are called and in whatever order they come. Sizes are counted in the
case itself; of two structures of one size the one with the lower value takes the voxel. Nothing is lost silently: each
label that gives voxels away has a `Loss`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Label, LabelMap, count_values
from volseg.core.voxels import smallest_integer
from volseg.errors import InputError


@dataclass(frozen=True)
class Loss:
    """What a label lost to smaller ones.

    Parameters
    ----------
    label : Label
    voxels : int
        How many it had.
    takers : tuple of (Label, int)
        Which labels took how many of them, the most first; at least one.
    """

    label: Label
    voxels: int
    takers: tuple[tuple[Label, int], ...]

    @property
    def lost(self) -> int:
        """How many voxels it lost."""
        return sum(count for _, count in self.takers)

    def __str__(self) -> str:
        takers = ", ".join(f"{label.name} ({count})" for label, count in self.takers)
        share = 100 * self.lost / self.voxels
        return f"{self.label.name} gives {self.lost} of its {self.voxels} voxels ({share:.3g} %) to {takers}"


def merge_layers(layers: Sequence[LabelMap]) -> tuple[LabelMap, tuple[Loss, ...]]:
    """Merge layers of labels into one label map; voxels of several labels go to the smallest.

    Parameters
    ----------
    layers : sequence of LabelMap
        At least one, all on one grid. A label may be in several layers.

    Returns
    -------
    merged : LabelMap
        A single layer is returned as it is.
    losses : tuple of Loss
        In order of value; empty if nothing overlaps.

    Raises
    ------
    InputError
        Two labels have the same value.
    """
    if len(layers) == 1:
        return layers[0], ()
    labels = _labels_of(layers)
    values = np.array(sorted(labels), dtype=np.int64)
    sizes = np.zeros(len(values), np.int64)
    for layer in layers:
        for value, count in count_values(layer.array).items():
            sizes[np.searchsorted(values, value)] += count
    ranks = np.empty(len(values), np.int64)
    ranks[np.lexsort((values, sizes))] = np.arange(len(values))
    merged = _painted(layers, values, ranks)
    losses = _losses(layers, merged, [labels[value] for value in values.tolist()], sizes)
    return LabelMap(merged, layers[0].grid, tuple(labels.values())), losses


def number_layers(layers: Sequence[LabelMap]) -> Sequence[LabelMap]:
    """Renumber labels 1, 2, 3 ... in order if two of them have the same value; else return them as they are.

    Parameters
    ----------
    layers : sequence of LabelMap
    """
    names = dict.fromkeys(label.name for layer in layers for label in layer.labels)
    if len({label.value for layer in layers for label in layer.labels}) == len(names):
        return layers
    found = {label.name: label for layer in layers for label in layer.labels}
    return renumber(layers, {name: replace(found[name], value=value) for value, name in enumerate(names, 1)})


def renumber(layers: Sequence[LabelMap], labels: Mapping[str, Label]) -> tuple[LabelMap, ...]:
    """Give labels other values, names and colours.

    Parameters
    ----------
    layers : sequence of LabelMap
    labels : mapping of str to Label
        The new label of each name. Labels of other names become background.
    """
    highest = max((label.value for label in labels.values()), default=0)
    changed = []
    for layer in layers:
        array = np.zeros_like(layer.array, dtype=smallest_integer(highest))
        kept: dict[int, Label] = {}
        for label in layer.labels:
            if label.name in labels:
                kept[labels[label.name].value] = labels[label.name]
                array[layer.mask(label)] = labels[label.name].value
        changed.append(LabelMap(array, layer.grid, tuple(kept.values())))
    return tuple(changed)


def _labels_of(layers: Sequence[LabelMap]) -> dict[int, Label]:
    """Return the labels of all layers by value."""
    labels: dict[int, Label] = {}
    for layer in layers:
        for label in layer.labels:
            other = labels.setdefault(label.value, label)
            if other.name != label.name:
                raise InputError(
                    f"labels {other.name!r} and {label.name!r} both have the value {label.value}; give each its own"
                )
    return labels


def _painted(layers: Sequence[LabelMap], values: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[Any]:
    """Return the array in which each voxel has the label of the lowest rank among those that claim it."""
    merged = layers[0].array.astype(smallest_integer(int(values[-1]) if len(values) else 0))
    for layer in layers[1:]:
        claimed = (layer.array != 0) & (merged != 0)
        ours, theirs = merged[claimed], layer.array[claimed]
        np.copyto(merged, layer.array, where=merged == 0, casting="unsafe")
        smaller = ranks[np.searchsorted(values, theirs)] < ranks[np.searchsorted(values, ours)]
        merged[claimed] = np.where(smaller, theirs, ours)
    return merged


def _losses(
    layers: Sequence[LabelMap], merged: NDArray[Any], labels: Sequence[Label], sizes: NDArray[np.int64]
) -> tuple[Loss, ...]:
    """Count the voxels that each label lost to each other; `labels` and `sizes` are in order of value."""
    values = np.array([label.value for label in labels], dtype=np.int64)
    taken = np.zeros((len(values), len(values)), np.int64)
    for layer in layers:
        lost = (layer.array != 0) & (layer.array != merged)
        losers, takers = (np.searchsorted(values, array[lost]) for array in (layer.array, merged))
        pairs, counts = np.unique(losers * len(values) + takers, return_counts=True)
        taken[pairs // max(1, len(values)), pairs % max(1, len(values))] += counts
    losses = []
    for place, row in enumerate(taken):
        order = [taker for taker in np.argsort(-row, kind="stable").tolist() if row[taker]]
        if order:
            takers = tuple((labels[taker], int(row[taker])) for taker in order)
            losses.append(Loss(labels[place], int(sizes[place]), takers))
    return tuple(losses)
