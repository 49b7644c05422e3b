"""What a report says of each label: volume, pieces, longest diameter, and where it reaches the border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Grid, box_grid
from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.surface.measurement import longest_of_voxels

# The sides to which the axes of the world grow, and those they come from.
_SIDES = (("left", "right"), ("back", "front"), ("lower end", "upper end"))


@dataclass(frozen=True)
class LabelSize:
    """Size and place of one label.

    Parameters
    ----------
    label : Label
    volume_ml : float
    pieces : int
        Voxels that touch at a corner belong to one piece.
    largest_share : float
        Of the voxels, in the largest piece; 0 where the label does not occur.
    longest_mm : float, optional
        Largest distance between the outer corners of its voxels; None where the label does not occur.
    borders : tuple of str
        The sides of the scan that it reaches: right, left, front, back, upper end, lower end.
    """

    label: Label
    volume_ml: float = 0.0
    pieces: int = 0
    largest_share: float = 0.0
    longest_mm: float | None = None
    borders: tuple[str, ...] = ()


def size_labels(labels: LabelMap) -> tuple[LabelSize, ...]:
    """Measure every label, those that do not occur too.

    Parameters
    ----------
    labels : LabelMap
    """
    boxes, sizes = label_boxes(labels.array), []
    for label in labels.labels:
        box = boxes.get(label.value)
        sizes.append(LabelSize(label) if box is None else _size(label, labels, box))
    return tuple(sizes)


def _size(label: Label, labels: LabelMap, box: tuple[slice, ...]) -> LabelSize:
    mask = labels.array[box] == label.value
    pieces = _piece_sizes(mask)
    total = int(pieces.sum())
    return LabelSize(
        label,
        volume_ml=total * labels.grid.voxel_volume_mm3 / 1000,
        pieces=len(pieces),
        largest_share=float(pieces.max() / total),
        longest_mm=longest_of_voxels(mask, box_grid(labels.grid, box)),
        borders=tuple(_borders(labels.grid, box)),
    )


def _piece_sizes(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    numbers, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.asarray(np.bincount(numbers.ravel())[1:], dtype=np.int64)


def _borders(grid: Grid, box: tuple[slice, ...]) -> list[str]:
    """Name the sides of a scan that a box reaches; an axis of a single voxel has no inside."""
    reached = []
    for part, length, world, sign in zip(box, grid.shape, *grid.world_axes, strict=True):
        low, high = _SIDES[world] if sign > 0 else _SIDES[world][::-1]
        if length > 1 and part.start == 0:
            reached.append(low)
        if length > 1 and part.stop == length:
            reached.append(high)
    return reached
