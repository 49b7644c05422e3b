"""Probabilities to a field whose zero is the surface of one label: sharper than the voxels of the label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.errors import InputError

Probabilities = Sequence[NDArray[Any]] | NDArray[Any]
Box = tuple[slice, ...]

_SMALLEST = np.float32(1e-6)  # so that every voxel is inside or outside


@dataclass(frozen=True, eq=False)
class ProbabilityField:
    """One label around its voxels: `field` (float32, positive inside), its grid, and the volume to expect, mm3."""

    field: NDArray[np.float32]
    grid: Grid
    volume_mm3: float


def check_probabilities(labels: LabelMap, probabilities: Probabilities) -> None:
    """See that there is one array for each label, and perhaps more for other classes, on the grid of the label map.

    Raises
    ------
    InputError
        There is not.
    """
    shapes = [tuple(array.shape) for array in probabilities]
    if len(shapes) < len(labels.labels) or set(shapes) - {labels.grid.shape}:
        raise InputError(
            f"the probabilities have shapes {shapes}; expected one of {labels.grid.shape} for each of the "
            f"{len(labels.labels)} labels"
        )


def probability_field(labels: LabelMap, number: int, probabilities: Probabilities, box: Box) -> ProbabilityField:
    """Make the field of ``labels.labels[number]``, whose voxels lie in `box`.

    It is by how much the label is likelier than the likeliest other class, so that two labels that touch have the same
    surface between them. The label map has the last word on what is inside: where clean-up has changed it, the field
    keeps its size and takes the label map's sign. The volume is the sum of the probabilities of the voxels and their
    neighbours, which is that of the body where they are its shares of the voxels.

    Parameters
    ----------
    labels : LabelMap
    number : int
    probabilities : (L, I, J, K)
        Of each label, in the order of ``labels.labels``, then perhaps of other classes; what is missing to 1 is
        background's.
    box : tuple of slice
    """
    grown = tuple(slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(box, labels.grid.shape, strict=True))
    own = np.asarray(probabilities[number][grown], dtype=np.float32)
    background, other = 1 - own, np.zeros_like(own)
    for n, array in enumerate(probabilities):
        if n != number:
            crop = np.asarray(array[grown], dtype=np.float32)
            background -= crop
            np.maximum(other, crop, out=other)
    lead = own - np.maximum(other, background)
    mask = labels.array[grown] == labels.labels[number].value
    size = np.maximum(np.abs(lead), _SMALLEST)
    near = ndimage.binary_dilation(mask, np.ones((3, 3, 3)))
    shares = np.where((lead > 0) == mask, own, mask)[near]
    start, stop = (tuple(getattr(s, end) for s in grown) for end in ("start", "stop"))
    grid = labels.grid.crop(start, stop)
    return ProbabilityField(np.where(mask, size, -size), grid, float(shares.sum(dtype=float)) * grid.voxel_volume_mm3)
