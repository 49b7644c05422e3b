"""The slices that are learnt from grow: small patches first, whole slices at the end.

S. Fischer et al., "Progressive Growing of Patch Size: Curriculum Learning for Accelerated and Improved Medical Image
Segmentation", 2025, arXiv:2510.23241. Patches make more steps in the same time and are filled by the labels; what lies
far from every label, and the statistics of batch norm, are learnt at the end from whole slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from volseg.config import Config
from volseg.core.planes import Plane
from volseg.core.slices import in_plane

Size = tuple[int, int, int]

_GROWING_BATCH = 4  # slices of a batch at most while they grow, as more steps teach more than larger batches
_STAGES = 4  # at most
_LAST = 0.3  # of the training, for whole slices


@dataclass(frozen=True)
class Stage:
    """A part of a training, whose slices have one size.

    Parameters
    ----------
    end : float
        Progress of the training at its end, 0 to 1.
    size : (3,) int
        Pixels along the patient's right-left, front-back and foot-head axes.
    batch_size : int
        Slices.
    """

    end: float
    size: Size
    batch_size: int

    def slice_size(self, plane: Plane) -> tuple[int, int]:
        """Return (height, width) of its slices in pixels.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"}
        """
        return plane_size(self.size, plane)


def plane_size(size: Size, plane: Plane) -> tuple[int, int]:
    """Return (height, width) of the slices of a plane.

    Parameters
    ----------
    size : (3,) int
        Pixels along the patient's right-left, front-back and foot-head axes.
    plane : {"axial", "coronal", "sagittal"}
    """
    height, width = in_plane(plane)
    return size[height], size[width]


def most_pixels(size: Size, planes: Sequence[Plane]) -> int:
    """Return the pixels of the largest slice of some planes.

    Parameters
    ----------
    size : (3,) int
    planes : sequence of plane
    """
    return max(_pixels(size, planes))


def mean_pixels(size: Size, planes: Sequence[Plane]) -> float:
    """Return the pixels of a slice, the mean over some planes.

    Parameters
    ----------
    size : (3,) int
    planes : sequence of plane
    """
    pixels = _pixels(size, planes)
    return sum(pixels) / len(pixels)


def _pixels(size: Size, planes: Sequence[Plane]) -> list[int]:
    pixels = []
    for plane in planes:
        height, width = plane_size(size, plane)
        pixels.append(height * width)
    return pixels


def plan_stages(config: Config, planes: Sequence[Plane]) -> tuple[Stage, ...]:
    """Return the stages of a training: from `first_size` to `slice_size` by equal factors.

    Smaller slices make batches of more, as many as have the pixels of a batch at the end, up to 4.

    Parameters
    ----------
    config : Config
        Planned; without `first_size` nothing grows.
    planes : sequence of plane

    Raises
    ------
    ValueError
        The settings are not planned.
    """
    training, levels = config.training, config.network.levels
    last, batch_size = training.slice_size, training.batch_size
    if last is None or batch_size is None or levels is None:
        raise ValueError("slice_size, batch_size and levels are not planned")
    sizes = _sizes(training.first_size or last, last, 2**levels)
    stages = []
    for number, size in enumerate(sizes, 1):
        end = (1 - _LAST) * number / max(1, len(sizes) - 1) if number < len(sizes) else 1.0
        as_many = batch_size * most_pixels(last, planes) // most_pixels(size, planes)
        stages.append(Stage(end, size, max(batch_size, min(_GROWING_BATCH, as_many))))
    return tuple(stages)


def _sizes(first: Size, last: Size, multiple: int) -> list[Size]:
    """Return the different sizes from the first to the last."""
    sizes = []
    for number in range(_STAGES):
        x, y, z = (_between(a, b, number / (_STAGES - 1), multiple) for a, b in zip(first, last, strict=True))
        if (x, y, z) not in sizes:
            sizes.append((x, y, z))
    return sizes


def _between(first: int, last: int, share: float, multiple: int) -> int:
    """Return the size after a share of the factor from the first to the last."""
    if share in (0, 1):
        return last if share else first
    wanted = float(first * (last / first) ** share)
    return min(last, max(first, round(wanted / multiple) * multiple))


def mean_batch(stages: Sequence[Stage]) -> float:
    """Return the mean number of slices of the batches of a training, where equal shares of it are equally many steps.

    Parameters
    ----------
    stages : sequence of Stage
    """
    mean, begin = 0.0, 0.0
    for stage in stages:
        mean += (stage.end - begin) * stage.batch_size
        begin = stage.end
    return mean


def stage_at(stages: Sequence[Stage], progress: float) -> Stage:
    """Return the stage of a moment of the training.

    Parameters
    ----------
    stages : sequence of Stage
    progress : float
        Share of the training that is done, 0 to 1.
    """
    for stage in stages:
        if progress < stage.end:
            return stage
    return stages[-1]
