"""Label maps that may lie over each other, in as few layers as that needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from volseg.labelmap import LabelMap


def join_layers(layers: Sequence[LabelMap]) -> tuple[LabelMap, ...]:
    """Lay label maps of one grid into each other where no values, names or voxels of them meet.

    Each goes into the first that it fits into, so the result is as given where all of them meet.
    """
    joined: list[LabelMap] = []
    for layer in layers:
        place = next((n for n, home in enumerate(joined) if _fits(layer, home)), None)
        if place is None:
            joined.append(layer)
        else:
            home = joined[place]
            array = np.where(layer.array != 0, layer.array, home.array)
            joined[place] = LabelMap(array, home.grid, (*home.labels, *layer.labels))
    return tuple(joined)


def _fits(layer: LabelMap, home: LabelMap) -> bool:
    values, names = {label.value for label in home.labels}, {label.name for label in home.labels}
    if any(label.value in values or label.name in names for label in layer.labels):
        return False
    return not np.any((layer.array != 0) & (home.array != 0))
