"""The sizes of a training: of its slices, at first and at the end, of its batches, and the depth of its networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from volseg.config import Config
from volseg.core.planes import Plane
from volseg.network.discriminator import RECEPTIVE_FIELD, discriminator_layers
from volseg.network.generator import NETWORKS
from volseg.training.growth import Size, most_pixels, plane_size

_FIRST_SLICE = 64  # pixels
_MOST_LEFT_OUT = 0.05  # of a side, where that spares a frame of padding
_WORTH_GROWING = 2  # slices at the end have so many times the pixels of the first ones, at least
# More steps of small batches teach more in the same time (benchmarks/accuracy.md, "Batches").
_PIXELS_PER_BATCH = 256 * 256
_SMALLEST_BATCH = 2  # slices: batch norm needs some to compare
_LARGEST_BATCH = 16  # slices


@dataclass(frozen=True)
class Sizes:
    """Sizes of a training.

    Parameters
    ----------
    levels : int
        How often the networks halve a slice.
    slice_size : (3,) int
        Pixels of the slices at the end, along the patient's axes.
    first_size : (3,) int, optional
        Pixels of the first slices; None where slices have one size that was set.
    batch_size : int
        Slices of a batch at the end.
    """

    levels: int
    slice_size: Size
    first_size: Size | None
    batch_size: int


def plan_sizes(config: Config, planes: Sequence[Plane], usual: Size) -> Sizes:
    """Return the sizes that are set, and plan the others.

    Parameters
    ----------
    config : Config
    planes : sequence of plane
    usual : (3,) int
        Pixels of a usual scan along the patient's axes, or the slice size that is set.
    """
    training = config.training
    used = [plane_size(usual, plane) for plane in planes]
    network = NETWORKS[config.network.block]
    levels = config.network.levels or max(map(network.levels_for, used))
    least = network.least_pixels
    whole = _multiples(usual, 2**levels, least)
    if training.slice_size is None:
        whole = _nearly_whole(usual, whole, 2**levels, least)
    first = training.first_size
    if training.slice_size is None and first is None:
        first = _multiples(_first_patch(whole, config, planes), 2**levels, least)
        if most_pixels(first, planes) * _WORTH_GROWING > most_pixels(whole, planes):
            first = whole
    if first is not None:  # slices do not shrink to their last size
        right, front, foot = (min(pair) for pair in zip(first, whole, strict=True))
        first = right, front, foot
    return Sizes(levels, whole, first, training.batch_size or _batch_size(most_pixels(usual, planes)))


def _multiples(size: Sequence[int], multiple: int, least: int) -> Size:
    """Round a size up to multiples, `least` of them at least."""
    right, front, foot = (max(least, ceil(n / multiple)) * multiple for n in size)
    return right, front, foot


def _nearly_whole(usual: Size, whole: Size, multiple: int, least: int) -> Size:
    """Return a size that leaves a little out of a slice where that spares a frame of padding; steps are quicker."""
    sides = []
    for n, padded in zip(usual, whole, strict=True):
        smaller = n // multiple * multiple
        is_nearly_whole = n - smaller <= _MOST_LEFT_OUT * n and smaller >= least * multiple
        sides.append(smaller if is_nearly_whole else padded)
    right, front, foot = sides
    return right, front, foot


def _first_patch(whole: Size, config: Config, planes: Sequence[Plane]) -> Size:
    """Return the size of the smallest patches that are worth learning from."""
    pixels = _FIRST_SLICE
    if config.loss.adversarial_weight > 0:  # as large as what the discriminator judges at once
        shortest = min(min(plane_size(whole, plane)) for plane in planes)
        layers = discriminator_layers((shortest, shortest), max_layers=config.discriminator.max_layers)
        pixels = max(pixels, RECEPTIVE_FIELD[layers])
    right, front, foot = (min(pixels, n) for n in whole)
    return right, front, foot


def _batch_size(pixels: int) -> int:
    """Return how many slices of so many pixels make a batch."""
    return max(_SMALLEST_BATCH, min(_LARGEST_BATCH, _PIXELS_PER_BATCH // pixels))
