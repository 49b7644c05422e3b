"""Label maps that may overlap, in as few layers as possible, and label maps of a single slice."""

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
    """Join label maps of one grid that have no values, names or voxels in common.

    Parameters
    ----------
    layers : sequence of LabelMap
        Each is joined with the first that it fits to.

    Returns
    -------
    tuple of LabelMap
        As few as that gives.
    """
    joined: list[LabelMap] = []
    for layer in layers:
        for place, home in enumerate(joined):
            if _fits(layer, home):
                array = np.where(layer.array != 0, layer.array, home.array)
                joined[place] = LabelMap(array, home.grid, (*home.labels, *layer.labels))
                break
        else:
            joined.append(layer)
    return tuple(joined)


def join_masks(labels: Sequence[Label], masks: Iterable[NDArray[np.bool_]], grid: Grid) -> tuple[LabelMap, ...]:
    """Join masks in as few layers as their overlaps allow; each goes into the first layer that it fits into.

    Parameters
    ----------
    labels : sequence of Label
    masks : iterable of (I, J, K) bool
        One for each label. Only one is held at a time, so many masks take no more memory than a few.
    grid : Grid
        Of all masks.

    Returns
    -------
    tuple of LabelMap
        At least one; it is empty without masks.
    """
    layers = Layers(grid.shape, smallest_integer(max((label.value for label in labels), default=0)), order="F")
    for label, mask in zip(labels, masks, strict=True):
        layers.add(label, partial(_whole, mask))
    filled = layers.filled or [(np.zeros(grid.shape, layers.dtype), [])]
    return tuple(LabelMap(array, grid, tuple(members)) for array, members in filled)


def _whole(mask: NDArray[np.bool_], array: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
    return [(array, mask)]


def one_slice_advice(layers: Sequence[LabelMap], found: Catalogue, *, image: Volume | None = None) -> str | None:
    """Return an error text with a remedy for labels on a single slice, which have no surface; None for other labels.

    Parameters
    ----------
    layers : sequence of LabelMap
        As they were read.
    found : Catalogue
        Of their path.
    image : Volume, optional
        The scan that was given with them.
    """
    grid = layers[0].grid
    if min(grid.shape) > 1:
        return None
    path = found.path
    if image is not None and min(image.grid.shape) == 1:
        advice = "its scan is a single slice too"
    elif found.is_dicom:
        advice = "give the scan that was segmented too (--image; to `view` as INPUT), to put it among its slices"
    else:
        advice = f"`volseg convert {path.name} OUT.nii.gz --image SCAN` puts it among the slices of its scan"
    size = "x".join(map(str, grid.shape))
    return f"{path}: holds a single slice ({size} voxels), and a surface needs at least 2 slices; {advice}"


def _fits(layer: LabelMap, home: LabelMap) -> bool:
    taken: set[int | str] = set()
    for label in home.labels:
        taken |= {label.value, label.name}
    for label in layer.labels:
        if label.value in taken or label.name in taken:
            return False
    return not np.any((layer.array != 0) & (home.array != 0))
