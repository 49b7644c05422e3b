"""The part and the resolution of a scan that a page shows, and the labels on the same voxels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid, box_grid
from volseg.core.labelmap import LabelMap, label_extent
from volseg.core.resample import Reorientation
from volseg.core.volume import Volume
from volseg.view.greyscale import display_window
from volseg.webpage.blocks import packed

# Of the 256 levels: most in the window that is shown first, as there each is a grey value of its own.
_BELOW, _WITHIN, _ABOVE = 56, 120, 80
_MARGIN_MM = 20.0
_ALIKE = 1.5  # axes are halved together if their spacings differ by less
_MOST_HALVINGS = 6
_SAMPLED_SLICES = 12
ORIENTATION = "RAS"


@dataclass(frozen=True, eq=False)
class Shown:
    """A box of a grid in RAS order, and how many voxels along each axis became one."""

    whole: Grid
    box: tuple[slice, slice, slice]
    factors: tuple[int, int, int] = (1, 1, 1)

    @classmethod
    def all_of(cls, grid: Grid) -> Shown:
        """Show all voxels of a grid in any order."""
        whole = Reorientation.between(grid, ORIENTATION).grid(grid)
        i, j, k = (slice(0, n) for n in whole.shape)
        return cls(whole, (i, j, k))

    @property
    def is_cropped(self) -> bool:
        """Whether it shows a part only."""
        return any(part.stop - part.start < n for part, n in zip(self.box, self.whole.shape, strict=True))

    @property
    def grid(self) -> Grid:
        """The grid of the voxels that are shown."""
        part = box_grid(self.whole, self.box)
        shape = [n // factor for n, factor in zip(part.shape, self.factors, strict=True)]
        coarser = np.diag([*self.factors, 1.0])
        coarser[:3, 3] = (np.array(self.factors) - 1) / 2
        return Grid((shape[0], shape[1], shape[2]), part.affine @ coarser)

    def halved(self) -> Shown:
        """Halve the resolution along the finest axes: in plane for thick slices."""
        spacing = np.array(self.whole.spacing) * self.factors
        finest = (spacing < _ALIKE * spacing.min()) & (np.array(self.grid.shape) > 1)
        i, j, k = np.where(finest, 2, 1) * self.factors
        return Shown(self.whole, self.box, (int(i), int(j), int(k)))

    def levels_of(self, volume: Volume, levels: Float, every: int = 1) -> NDArray[np.uint8]:
        """(I, J, K) number of the level nearest to each voxel, means where voxels became one.

        Parameters
        ----------
        volume : Volume
            On the whole grid, in any order.
        levels : (256,) float
            Increasing.
        every : int
            Only every so many slices along the last axis.
        """
        array = Reorientation.between(volume.grid, ORIENTATION).array(volume.array)[self.box]
        shape, (a, b, c) = self.grid.shape, self.factors
        numbers = np.arange(len(levels), dtype=float)
        slices = []
        for k in range(0, shape[2], every):
            block = array[: shape[0] * a, : shape[1] * b, k * c : (k + 1) * c].astype(np.float64)
            means = block.reshape(shape[0], a, shape[1], b, c).mean(axis=(1, 3, 4))
            slices.append(np.interp(np.nan_to_num(means, nan=levels[0]), levels, numbers) + 0.5)
        return np.stack(slices, axis=2).astype(np.uint8)

    def values_of(self, labels: LabelMap) -> NDArray[np.integer]:
        """(I, J, K) value of a label map on any grid at the centre of each voxel; 0 outside it.

        Parameters
        ----------
        labels : LabelMap
        """
        grid = self.grid
        to_labels = np.linalg.solve(labels.grid.affine, grid.affine)[:3]
        in_plane = np.indices(grid.shape[:2]).reshape(2, -1).T @ to_labels[:, :2].T + to_labels[:, 3]
        last = np.array(labels.grid.shape) - 1
        slices = []
        for k in range(grid.shape[2]):
            place = np.rint(in_plane + to_labels[:, 2] * k).astype(np.int64)
            inside = ((place >= 0) & (place <= last)).all(axis=1)
            values = np.zeros(len(place), dtype=labels.array.dtype)
            values[inside] = labels.array[tuple(place[inside].T)]
            slices.append(values.reshape(grid.shape[:2]))
        return np.stack(slices, axis=2)


def grey_levels(volume: Volume) -> Float:
    """(256,) values of a scan that a page can show, increasing; the window that is shown first has most of them.

    Parameters
    ----------
    volume : Volume
    """
    low, high = display_window(volume)
    finite = volume.array[np.isfinite(volume.array)] if volume.array.dtype.kind == "f" else volume.array
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (low, high)
    parts = [
        np.linspace(min(least, low), low, _BELOW, endpoint=False),
        np.linspace(low, high, _WITHIN, endpoint=False),
        np.linspace(high, max(most, high), _ABOVE),
    ]
    # Where nothing lies beyond the window, the steps there are tiny, so that the values still increase.
    return np.asarray(np.concatenate(parts) + np.arange(256) * 1e-9 * (high - low))


def choose_shown(grid: Grid, volume: Volume | None, levels: Float, layers: Sequence[LabelMap], room: int) -> Shown:
    """Choose as much of a scan as fits: all, else cropped around the labels, else halved along the finest axes.

    Parameters
    ----------
    grid : Grid
        Of the scan; without a scan, a grid of the labels.
    volume : Volume or None
    levels : (256,) float
        From `grey_levels`.
    layers : sequence of LabelMap
    room : int
        Most bytes of the scan in the page.
    """
    attempts = list(_attempts(Shown.all_of(grid), layers))
    for shown in attempts:
        if volume is None or _size(shown, volume, levels) <= room:
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
    """Estimate the bytes of the scan in the page from a few slices."""
    count = shown.grid.shape[2]
    every = max(1, count // _SAMPLED_SLICES)
    sampled = shown.levels_of(volume, levels, every)
    return int(len(packed(sampled)["data"]) * count / sampled.shape[2])
