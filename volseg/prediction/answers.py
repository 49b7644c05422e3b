"""From the logits of networks to labels and probabilities on the scan's own grid, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from volseg.core.content import Box
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.planes import Plane
from volseg.core.slices import NORMAL_AXIS, stack_slices
from volseg.network.file import Model
from volseg.network.softmax import softmax
from volseg.prediction.calibration import soften
from volseg.prediction.candidates import BYTES, LEAST, Candidates
from volseg.prediction.doubt_counts import DoubtCounter
from volseg.prediction.prepare import SliceStack

# Temperature of each network's answer before the average: at 1 that is of probabilities, at infinity of logits. Between
# the two, all five folds of the hippocampus set are a little better (benchmarks/accuracy.md).
SOFTENING = 2.0
_MOST_BYTES = 4e9  # of the probabilities of all classes, unless they are asked for
_PIXELS_PER_BLOCK = 512 * 512  # whose probabilities are in memory at a time: 43 MB with 41 classes


class Answers:
    """Labels on the scan's grid, and probabilities where they are kept or fused. Slices are written through views.

    Parameters
    ----------
    model : Model
    grid : Grid
        Grid of the scan.
    stacks : dict of plane to SliceStack
        The planes that answer. If there is one, a voxel's label is known with its slice; several are fused.
    box : three slices
        The part of the grid that was prepared; outside all is background.
    keep : bool
        Whether the probabilities are a result.
    temperatures : sequence of float
        At which the doubt is counted.
    """

    def __init__(
        self,
        model: Model,
        grid: Grid,
        stacks: Mapping[Plane, SliceStack],
        *,
        box: Box,
        keep: bool,
        temperatures: Sequence[float],
    ) -> None:
        self.model, self.grid, self.stacks = model, grid, stacks
        self.keep, self.fuse = keep, len(stacks) > 1
        values = [0, *(label.value for label in model.labels)]
        self.values = np.array(values, dtype=np.min_scalar_type(max(values)))
        self.labels = np.zeros(grid.shape, dtype=self.values.dtype)
        self.labels_inside = self.labels[box]
        # What is written together lies together in memory, which is up to four times as quick.
        self.slab_axis = 0
        self.probabilities: NDArray[np.float16] | None = None
        self.probabilities_inside: NDArray[np.float16] | None = None
        self.candidates: Candidates | None = None
        if keep:
            if not self.fuse:  # a class of a slice
                ((plane, stack),) = stacks.items()
                self.slab_axis = stack.reorientation.axes[NORMAL_AXIS[plane]]
            self.probabilities = _all_background(len(values), grid, self.slab_axis)
            self.probabilities_inside = self.probabilities[:, *box]
            self.probabilities_inside[0] = 0
        elif self.fuse and not can_hold(model, self.labels_inside.shape):
            self.candidates = Candidates(self.labels_inside.shape, len(values), _MOST_BYTES)
        elif self.fuse:  # the classes of a voxel
            shape = (*self.labels_inside.shape, len(values))
            self.probabilities_inside = np.moveaxis(np.zeros(shape, dtype=np.float16), -1, 0)
        self.counter = DoubtCounter(stacks, grid, box, classes=len(values), temperatures=temperatures)

    @property
    def label_map(self) -> LabelMap:
        """The labels, before clean-up."""
        return LabelMap(self.labels, self.grid, self.model.labels)

    def turn_to(self, plane: Plane, weight: float) -> None:
        """Cut the arrays into slices of a plane, whose answers have this weight.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"}
        weight : float
            The weights of all planes sum to 1.
        """
        stack = self.stacks[plane]
        self.weight, self.size = weight, stack.native_size
        self.label_slices = stack_slices(stack.reorientation.array(self.labels_inside), plane)
        if self.probabilities_inside is not None:
            self.probability_slices = stack_slices(stack.reorientation.array(self.probabilities_inside), plane)
        self.counter.turn_to(plane)
        if self.candidates is not None:
            self.candidates.turn_to(stack, plane)
            self.is_last = plane == list(self.stacks)[-1]

    @torch.inference_mode()
    def fill(self, start: int, logits: Sequence[Tensor]) -> None:
        """Put the answers to some slices into the arrays.

        Parameters
        ----------
        start : int
            Number of the first slice.
        logits : sequence of (B, K, h, w) tensors
            One for each network, at the model's spacing.
        """
        step = max(1, _PIXELS_PER_BLOCK // prod(self.size))
        for first in range(0, len(logits[0]), step):
            block = [answer[first : first + step] for answer in logits]
            self._fill_block(start + first, block)

    def _fill_block(self, start: int, logits: Sequence[Tensor]) -> None:
        scores = logits[0]
        # The largest logit has the largest probability, unless it is averaged with others or between pixels.
        is_decided = not self.fuse and len(logits) == 1 and scores.shape[-2:] == self.size
        if self.keep or not is_decided:
            probabilities = resample_slices(average(logits), self.size)
            if not is_decided:
                scores = probabilities
        here, classes = slice(start, start + len(scores)), largest(scores)
        self.counter.add_plane(here, classes)
        if not self.fuse:
            self.label_slices[here] = self.values[classes]
            self.counter.answers.add(scores, classes, _average_of_one if is_decided else None)
        if self.candidates is not None:
            self._fuse(self.candidates, self.weight * probabilities, here)
        if self.probabilities_inside is not None:
            weighted = (self.weight * probabilities).half().cpu()
            _add(self.probability_slices[:, here], weighted.transpose(0, 1))

    def _fuse(self, candidates: Candidates, weighted: Tensor, here: slice) -> None:
        sums = candidates.add_to(weighted, here)
        if self.is_last:
            classes = largest(sums)
            self.label_slices[here] = self.values[classes]
            self.counter.answers.add(sums, classes)
        else:
            candidates.keep(sums, here)

    @torch.inference_mode()
    def finish(self) -> None:
        """Decide the labels of fused planes and calibrate the probabilities, once all slices are filled."""
        if self.probabilities_inside is None:
            return
        labels = np.moveaxis(self.labels_inside, self.slab_axis, 0)
        probabilities = np.moveaxis(self.probabilities_inside, 1 + self.slab_axis, 1)
        for number in range(len(labels)):  # a slab at a time, to save memory
            slab = probabilities[:, number]
            if self.fuse:
                sums = torch.from_numpy(slab)[None].float()
                classes = largest(sums)
                labels[number] = self.values[classes[0]]
                self.counter.answers.add(sums, classes)
            if self.keep:
                probabilities[:, number] = soften(slab, self.model.temperature)


def can_hold(model: Model, shape: tuple[int, ...]) -> bool:
    """Whether the probabilities of all classes of a scan fit into 4 GB, or take no more than the fewest `Candidates`.

    Parameters
    ----------
    model : Model
    shape : (I, J, K)
        Of the scan, or of the part of it that is prepared.
    """
    return 2 * (len(model.labels) + 1) * prod(shape) <= max(_MOST_BYTES, LEAST * BYTES * prod(shape))


def _all_background(count: int, grid: Grid, slab_axis: int) -> NDArray[np.float16]:
    """Return probabilities of `count` classes on a grid, 1 for the background; slabs across the axis lie together."""
    shape = (count, grid.shape[slab_axis], *np.delete(grid.shape, slab_axis).tolist())
    probabilities = np.zeros(shape, dtype=np.float16)
    probabilities[0] = 1
    return np.moveaxis(probabilities, 1, 1 + slab_axis)


def largest(scores: Tensor) -> NDArray[np.int64]:
    """Return the class with the largest score of each pixel, the first one of several.

    Parameters
    ----------
    scores : (B, K, h, w) tensor

    Returns
    -------
    (B, h, w) int64
    """
    # `max` is twice as quick as `argmax` with 41 classes whose scores lie together.
    return np.asarray(scores.max(dim=1).indices.cpu().numpy())


def average(logits: Sequence[Tensor]) -> Tensor:
    """Return the probabilities that several networks give together, each softened by `SOFTENING`.

    Parameters
    ----------
    logits : sequence of (B, K, h, w) tensors
        One for each network.

    Returns
    -------
    (B, K, h, w) float32 tensor
    """
    total = torch.zeros((), device=logits[0].device)
    for answer in logits:
        total = total + softmax(answer.float() / SOFTENING)
    return total / len(logits)


def _average_of_one(logits: Tensor) -> Tensor:
    return average([logits])


def _add(view: NDArray[np.float16], addend: Tensor) -> None:
    """Add to a view of any strides by torch, which is four times as quick as NumPy in half precision."""
    # It knows no negative strides.
    backwards = tuple(axis for axis, stride in enumerate(view.strides) if stride < 0)
    torch.from_numpy(np.flip(view, backwards)).add_(addend.flip(backwards) if backwards else addend)


def resample_slices(slices: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample slices as `volseg.core.resample.resample_plane` does, which is slower on many channels.

    Parameters
    ----------
    slices : (B, K, h, w) float32 tensor
    size : (H, W)

    Returns
    -------
    (B, K, H, W) float32 tensor
    """
    height, width = slices.shape[-2:]
    if (height, width) == size:
        return slices
    shrinks = size[0] < height or size[1] < width  # then pixels are averaged, not skipped
    if shrinks and slices.device.type not in ("cpu", "cuda"):
        slices = slices.cpu()  # not every kind of device can average
    return F.interpolate(slices, size, mode="bilinear", align_corners=False, antialias=shrinks)
