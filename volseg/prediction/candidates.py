"""Fusing planes of a large scan: of each voxel only the likeliest classes are kept until the last plane answers."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.core.planes import Plane
from volseg.core.slices import stack_slices
from volseg.prediction.prepare import SliceStack

LEAST = 4  # candidates of a voxel, whatever they take
BYTES = 3  # of a candidate: its class, up to 255, and a float16


class Candidates:
    """The largest sums of probabilities of each voxel over the planes so far, and their classes.

    A class that is no candidate of a voxel counts as 0 there so far. So a label may differ from that of all sums where
    it is in doubt between more classes than there are candidates (`benchmarks/fusion.py` counts how many do).

    Parameters
    ----------
    shape : (I, J, K)
        Of the part of the scan that is prepared.
    classes : int
        With background.
    most_bytes : float
        What they may take; four of each voxel are kept in any case.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, most_bytes: float) -> None:
        self._count = min(classes, max(LEAST, int(most_bytes / (BYTES * prod(shape)))))
        # The candidates of a voxel lie together in memory.
        together = (*shape, self._count)
        self._classes = np.moveaxis(np.zeros(together, dtype=np.min_scalar_type(classes - 1)), -1, 0)
        self._sums = np.moveaxis(np.zeros(together, dtype=np.float16), -1, 0)

    def turn_to(self, stack: SliceStack, plane: Plane) -> None:
        """Cut the arrays into slices of a plane.

        Parameters
        ----------
        stack : SliceStack
        plane : {"axial", "coronal", "sagittal"}
        """
        self._class_slices: NDArray[np.integer] = stack_slices(stack.reorientation.array(self._classes), plane)
        self._sum_slices: NDArray[np.float16] = stack_slices(stack.reorientation.array(self._sums), plane)

    def add_to(self, addend: Tensor, here: slice) -> Tensor:
        """Return the sums of all classes of some slices: an addend, and what the planes before gave.

        Parameters
        ----------
        addend : (B, K, H, W) float32 tensor
            It is changed.
        here : slice
            Numbers of the slices.
        """
        numbers = self._class_slices[:, here].swapaxes(0, 1).astype(np.int64)
        sums = self._sum_slices[:, here].swapaxes(0, 1).astype(np.float32)
        device = addend.device
        return addend.scatter_add_(1, torch.from_numpy(numbers).to(device), torch.from_numpy(sums).to(device))

    def keep(self, sums: Tensor, here: slice) -> None:
        """Take the largest sums of some slices as candidates.

        Parameters
        ----------
        sums : (B, K, H, W) float32 tensor
        here : slice
            Numbers of the slices.
        """
        largest = sums.movedim(1, -1).topk(self._count, dim=-1, sorted=False)
        self._class_slices[:, here] = np.moveaxis(largest.indices.cpu().numpy(), -1, 0)
        self._sum_slices[:, here] = np.moveaxis(largest.values.cpu().numpy(), -1, 0)
