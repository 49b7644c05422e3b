"""The part and the resolution of a scan that fit into a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from volseg.core.grid import Float, Grid
from volseg.core.labelmap import LabelMap, label_extent
from volseg.core.volume import Volume
from volseg.view.shown_voxels import Shown
from volseg.webpage.blocks import packed

_MARGIN_MM = 20.0
_MOST_HALVINGS = 6
_SAMPLED_SLICES = 12


def choose_shown(grid: Grid, volumes: Sequence[tuple[Volume, Float]], layers: Sequence[LabelMap], room: int) -> Shown:
    """Choose as much of a scan as fits: all, else cropped around the labels, else halved along the finest axes.

    Parameters
    ----------
    grid : Grid
        Of the scan; without a scan, a grid of the labels.
    volumes : sequence of (Volume, (256,) float)
        What the page has of the voxels of the grid, as the scan and the doubt, and the levels of each.
    layers : sequence of LabelMap
    room : int
        Most bytes of the volumes in the page.
    """
    attempts = list(_attempts(Shown.all_of(grid), layers))
    for shown in attempts:
        if not volumes or sum(_size(shown, volume, levels) for volume, levels in volumes) <= room:
            return shown
    return attempts[-1]


def _attempts(shown: Shown, layers: Sequence[LabelMap]) -> Iterator[Shown]:
    yield shown
    extent, _ = label_extent(layers, shown.whole)
    if extent is not None:
        box = []
        for (first, last), n, spacing in zip(extent, shown.whole.shape, shown.whole.spacing, strict=True):
            margin = _MARGIN_MM / spacing
            start = int(np.clip(np.floor(first - margin), 0, n - 1))
            box.append(slice(start, int(np.clip(np.ceil(last + margin) + 1, start + 1, n))))
        shown = Shown(shown.whole, (box[0], box[1], box[2]))
        yield shown
    for _ in range(_MOST_HALVINGS):
        shown = shown.halved()
        yield shown


def _size(shown: Shown, volume: Volume, levels: Float) -> int:
    """Estimate the bytes of a volume in the page from a few slices."""
    count = shown.grid.shape[2]
    every = max(1, count // _SAMPLED_SLICES)
    sampled = shown.levels_of(volume, levels, every)
    return int(len(packed(sampled)["data"]) * count / sampled.shape[2])
