"""Probabilities to a field that is zero on the surface of one label; it is sharper than the voxels of the label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Grid, box_grid
from volseg.core.labelmap import LabelMap
from volseg.errors import InputError

Probabilities = Sequence[NDArray[Any]] | NDArray[Any]
Box = tuple[slice, ...]

_SMALLEST = np.float32(1e-6)  # so that every voxel is inside or outside


@dataclass(frozen=True, eq=False)
class ProbabilityField:
    """One label around its voxels: `field` (float32, positive inside), its grid, and the expected volume in mm3."""

    field: NDArray[np.float32]
    grid: Grid
    volume_mm3: float


def check_probabilities(labels: LabelMap, probabilities: Probabilities) -> None:
    """Check that every label has an array on the grid of the label map; arrays of other classes may follow.

    Parameters
    ----------
    labels : LabelMap
    probabilities : (L, I, J, K)

    Raises
    ------
    InputError
        Arrays are missing or have another shape.
    """
    shapes = [tuple(array.shape) for array in probabilities]
    if len(shapes) < len(labels.labels) or set(shapes) - {labels.grid.shape}:
        raise InputError(
            f"the probabilities have shapes {shapes}; expected one of {labels.grid.shape} for each of the "
            f"{len(labels.labels)} labels"
        )


def probability_field(labels: LabelMap, number: int, probabilities: Probabilities, box: Box) -> ProbabilityField:
    """Make the field of ``labels.labels[number]``, whose voxels lie in `box`.

    The field is the probability of the label minus that of the likeliest other class, so two labels that touch have the
    same surface between them. The label map decides what is inside: where clean-up has changed it, the field keeps its
    size and takes the label map's sign. The volume is the sum of the probabilities of the voxels and their neighbours.
    That is the true volume if each probability is the share of the voxel that the body fills.

    Parameters
    ----------
    labels : LabelMap
    number : int
    probabilities : (L, I, J, K)
        One array for each label, in the order of ``labels.labels``; those of other classes may follow. Their sum is
        less than 1 by the probability of background.
    box : tuple of slice
        The smallest that holds the voxels of the label.
    """
    box = _grown(box, labels.grid.shape)
    own = np.asarray(probabilities[number][box], dtype=np.float32)
    background, other = 1 - own, np.zeros_like(own)
    for n, array in enumerate(probabilities):
        if n != number:
            crop = np.asarray(array[box], dtype=np.float32)
            background -= crop
            np.maximum(other, crop, out=other)
    lead = own - np.maximum(other, background)
    mask = labels.array[box] == labels.labels[number].value
    size = np.maximum(np.abs(lead), _SMALLEST)
    near = ndimage.binary_dilation(mask, np.ones((3, 3, 3)))
    shares = np.where((lead > 0) == mask, own, mask)[near]
    grid = box_grid(labels.grid, box)
    return ProbabilityField(np.where(mask, size, -size), grid, float(shares.sum(dtype=float)) * grid.voxel_volume_mm3)


def _grown(box: Box, shape: Sequence[int]) -> Box:
    """Enlarge a box by one voxel on every side, within the array."""
    grown = []
    for side, length in zip(box, shape, strict=True):
        grown.append(slice(max(side.start - 1, 0), min(side.stop + 1, length)))
    return tuple(grown)
