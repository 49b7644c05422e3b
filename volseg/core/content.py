"""Where a scan is not empty: without the borders of one value that skull stripping, padding and tilting leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import box_grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume

Box = tuple[slice, slice, slice]


def content_box(channels: Sequence[NDArray[Any]], labels: NDArray[Any] | None = None) -> Box:
    """Return the smallest box that holds everything of a scan but its empty borders.

    The value of the borders is what a whole outer face of the array has; if faces differ, the value of most of them. It
    can be another one in each channel. A scan without such a face, or of one value alone, is not cropped.

    Parameters
    ----------
    channels : sequence of (I, J, K) arrays
        A voxel is empty if it has the value of the borders in all channels.
    labels : (I, J, K) integers, optional
        Voxels other than 0 also lie in the box.

    Returns
    -------
    three slices
        With explicit starts and stops.

    Examples
    --------
    >>> import numpy as np
    >>> scan = np.full((10, 10, 10), -1024)
    >>> scan[3:7, 4:6, :] = 40
    >>> content_box([scan])
    (slice(3, 7, None), slice(4, 6, None), slice(0, 10, None))
    """
    shape = channels[0].shape
    borders = _border_values(channels)
    if borders is None:
        return whole_box(shape)
    found = [_bounds(channel, value) for channel, value in zip(channels, borders, strict=True)]
    if all(bounds is None for bounds in found):
        return whole_box(shape)
    if labels is not None:
        found.append(_bounds(labels, 0))
    starts, stops = zip(*(bounds for bounds in found if bounds is not None), strict=True)
    i, j, k = map(slice, np.min(starts, axis=0).tolist(), np.max(stops, axis=0).tolist())
    return i, j, k


def whole_box(shape: Sequence[int]) -> Box:
    """Return the box of a whole array.

    Parameters
    ----------
    shape : (I, J, K)
    """
    i, j, k = (slice(0, size) for size in shape)
    return i, j, k


def crop(volume: Volume, box: Box) -> Volume:
    """Return the part of a scan in a box: a view of its voxels, without its reference to files.

    Parameters
    ----------
    volume : Volume
    box : three slices
        With explicit starts and stops.
    """
    return Volume(volume.array[box], box_grid(volume.grid, box), volume.name, volume.modality, volume.unit)


def crop_labels(labels: LabelMap, box: Box) -> LabelMap:
    """Return the part of a label map in a box, as a view of its voxels.

    Parameters
    ----------
    labels : LabelMap
    box : three slices
        With explicit starts and stops.
    """
    return LabelMap(labels.array[box], box_grid(labels.grid, box), labels.labels)


def _border_values(channels: Sequence[NDArray[Any]]) -> tuple[float, ...] | None:
    """Return the value of the empty borders in each channel; None if no outer face is of one value."""
    counts: Counter[tuple[float, ...]] = Counter()
    for axis in range(3):
        for end in (0, -1):
            faces = [np.moveaxis(channel, axis, 0)[end] for channel in channels]  # views, in any order in memory
            lowest = tuple(face.min().item() for face in faces)
            if np.isfinite(lowest).all() and lowest == tuple(face.max().item() for face in faces):
                counts[lowest] += 1
    # Of several the smallest, whatever the order of the axes.
    return min(counts, key=lambda values: (-counts[values], values), default=None)


def _bounds(array: NDArray[Any], empty: float) -> tuple[list[int], list[int]] | None:
    """Return the first voxel on each axis that is not empty, and the one after the last; None if all are."""
    # Slabs are contiguous in memory, and one at a time takes little of it.
    axis = int(np.argmax(np.abs(array.strides)))
    rest = [other for other in range(3) if other != axis]
    filled = [np.zeros(size, dtype=bool) for size in array.shape]
    for number, slab in enumerate(np.moveaxis(array, axis, 0)):
        different = slab != empty
        rows = different.any(axis=1)
        filled[axis][number] = rows.any()
        if filled[axis][number]:
            filled[rest[0]] |= rows
            filled[rest[1]] |= different.any(axis=0)
    if not filled[axis].any():
        return None
    starts, stops = [], []
    for along in filled:
        starts.append(int(along.argmax()))
        stops.append(len(along) - int(along[::-1].argmax()))
    return starts, stops
