"""Label maps that may lie over each other: in as few layers as that needs, and on more than one slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.layers import Layers
from volseg.core.volume import Volume
from volseg.core.voxels import smallest_integer
from volseg.io.catalogue import Catalogue


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


def join_masks(labels: Sequence[Label], masks: Iterable[NDArray[np.bool_]], grid: Grid) -> tuple[LabelMap, ...]:
    """Lay masks (I, J, K) of one grid, one for each label, into each other where they do not meet.

    Each goes into the first that it fits into. One is held at a time, so that many take no more memory than a few. No
    mask at all gives one empty label map.
    """
    layers = Layers(grid.shape, smallest_integer(max((label.value for label in labels), default=0)), order="F")
    for label, mask in zip(labels, masks, strict=True):
        layers.add(label, partial(_whole, mask))
    filled = layers.filled or [(np.zeros(grid.shape, layers.dtype), [])]
    return tuple(LabelMap(array, grid, tuple(members)) for array, members in filled)


def _whole(mask: NDArray[np.bool_], array: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
    return [(array, mask)]


def one_slice_advice(layers: Sequence[LabelMap], found: Catalogue, *, image: Volume | None = None) -> str | None:
    """Say of labels that lie on a single slice, of which there is no surface, what would help; None of all others.

    Parameters
    ----------
    layers : sequence of LabelMap
        As they were read.
    found : Catalogue
        What lies where they come from.
    image : Volume, optional
        The scan that was given with them.
    """
    grid = layers[0].grid
    if min(grid.shape) > 1:
        return None
    path = found.path
    if image is not None and min(image.grid.shape) == 1:
        advice = "nor has its scan more of them"
    elif found.is_dicom:
        advice = "give the scan that was segmented, too (--image; to `view` as INPUT), among whose slices it then lies"
    else:
        advice = f"`volseg convert {path.name} OUT.nii.gz --image SCAN` puts it among the slices of its scan"
    size = "x".join(map(str, grid.shape))
    return f"{path}: holds a single slice ({size} voxels), and a surface needs at least 2 slices; {advice}"


def _fits(layer: LabelMap, home: LabelMap) -> bool:
    values, names = {label.value for label in home.labels}, {label.name for label in home.labels}
    if any(label.value in values or label.name in names for label in layer.labels):
        return False
    return not np.any((layer.array != 0) & (home.array != 0))
