"""What the Dice of a label in a held-out case depends on, whichever pieces of its prediction are cleared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.config import CleanupConfig
from volseg.core.labelmap import LabelMap, count_values, label_boxes
from volseg.prediction.cleanup import find_pieces, join_boxes


@dataclass(frozen=True)
class Area:
    """Some voxels of a prediction, and how many of them are in the reference."""

    voxels: int
    hits: int


NO_AREA = Area(0, 0)


@dataclass(frozen=True, eq=False)
class LabelPieces:
    """What the Dice of a label in a case depends on, whichever pieces of it are cleared.

    Parameters
    ----------
    sizes, voxels, hits : (N,) int
        Each size of a piece that there is, in voxels; the voxels of all pieces of this size, and those of them that are
        in the reference.
    largest : Area
        The piece that would be kept alone.
    reference : int
        Voxels of the reference.
    voxel_mm3 : float
    """

    sizes: NDArray[np.int64]
    voxels: NDArray[np.int64]
    hits: NDArray[np.int64]
    largest: Area
    reference: int
    voxel_mm3: float

    @property
    def reference_mm3(self) -> float:
        """Volume of the reference."""
        return self.reference * self.voxel_mm3

    def kept(self, step: CleanupConfig) -> Area:
        """Return what is left when pieces are cleared.

        Parameters
        ----------
        step : CleanupConfig
            Its filling of holes does not count.
        """
        if step.largest_component:
            return self.largest if self.largest.voxels * self.voxel_mm3 >= step.minimum_mm3 else NO_AREA
        large = self.sizes * self.voxel_mm3 >= step.minimum_mm3
        return Area(int(self.voxels[large].sum()), int(self.hits[large].sum()))

    def dice(self, area: Area) -> float:
        """Return the Dice of an area; NaN where it and the reference are empty.

        Parameters
        ----------
        area : Area
        """
        total = area.voxels + self.reference
        return 2 * area.hits / total if total else float("nan")


def count_pieces(prediction: LabelMap, reference: LabelMap, values: Iterable[int]) -> dict[int, LabelPieces]:
    """Count the pieces of labels in one pass, and their voxels that are in the reference.

    Parameters
    ----------
    prediction, reference : LabelMap
        On one grid.
    values : iterable of int
        Of the labels.

    Returns
    -------
    dict of int to LabelPieces
        By value.
    """
    boxes, of_reference = label_boxes(prediction.array), count_values(reference.array)
    box = join_boxes([*boxes.values()]) if boxes else (slice(0, 1),) * 3
    predicted, there = prediction.array[box], reference.array[box]
    found, counted = find_pieces(predicted), {}
    hits = np.bincount(found.components[predicted == there], minlength=len(found.sizes))
    for value in values:
        of_label = found.values == value
        sizes, of_size = np.unique(found.sizes[of_label], return_inverse=True)
        counted[value] = LabelPieces(
            sizes,
            np.bincount(of_size, weights=found.sizes[of_label]).astype(np.int64),
            np.bincount(of_size, weights=hits[of_label]).astype(np.int64),
            _largest(found.sizes[of_label], hits[of_label]),
            of_reference[value],
            prediction.grid.voxel_volume_mm3,
        )
    return counted


def _largest(sizes: NDArray[np.int64], hits: NDArray[np.int64]) -> Area:
    """Return the largest piece, the first of several."""
    return Area(int(sizes.max()), int(hits[sizes.argmax()])) if len(sizes) else NO_AREA
