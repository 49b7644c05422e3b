"""How quick a machine is: a few steps of throwaway networks are timed, and the length of a training follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.config import Config
from volseg.core.planes import Plane
from volseg.training.augment import augment
from volseg.training.growth import Stage, mean_pixels, most_pixels, plan_stages
from volseg.training.step import Learner

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]
Draw = Callable[[Stage], Batch]

_SECONDS = 3.0  # for all measurements together
_PROBE = 128  # pixels along each side of the first slices that are timed
_PROBED = 2  # slices
_ONLY_FORWARD = 1 / 3  # of a step's time: the backward pass takes twice that of the forward pass


@dataclass(frozen=True)
class Pace:
    """Seconds of the steps of a training.

    Parameters
    ----------
    step_seconds : tuple of float
        One step of each stage, the mean over the planes.
    pixel_seconds : float
        A pixel of a whole slice in prediction.
    """

    step_seconds: tuple[float, ...]
    pixel_seconds: float


def random_draws(config: Config, *, channels: int, labels: int) -> dict[Plane, Draw]:
    """Return for each plane a function that makes random slices and classes.

    Parameters
    ----------
    config : Config
        Planned.
    channels, labels : int
        Of a scan, and labels without background.
    """
    rng = np.random.default_rng(0)
    images = channels * (2 * config.preparation.neighbours + 1)

    def draw(stage: Stage, plane: Plane) -> Batch:
        height, width = stage.slice_size(plane)
        slices = rng.standard_normal((stage.batch_size, images, height, width), dtype=np.float32)
        return slices, rng.integers(0, labels + 1, (stage.batch_size, height, width))

    return {plane: partial(draw, plane=plane) for plane in config.preparation.planes or ()}


def measure_pace(
    config: Config, draws: Mapping[Plane, Draw], *, channels: int, labels: int, device: torch.device
) -> Pace:
    """Time steps of each stage on networks that are thrown away, for about three seconds in all.

    The largest plane is timed; where a whole batch would take too long, some of its slices are, and where even one
    would, the pixels tell. Torch's global random numbers are as before.

    Parameters
    ----------
    config : Config
        Planned.
    draws : dict of plane to function
        Makes a batch for a stage.
    channels, labels : int
        Of a scan, and labels without background.
    device : torch.device
    """
    planes = list(draws)
    stages = plan_stages(config, planes)
    plane = max(planes, key=lambda plane: most_pixels(stages[-1].size, [plane]))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        timer = _Timer(Learner(config, plane, channels=channels, labels=labels, device=device))
        rates = timer.rates(stages, draws[plane])
    seconds = []
    for stage, rate in zip(stages, rates, strict=True):
        seconds.append(rate * stage.batch_size * mean_pixels(stage.size, planes))
    return Pace(tuple(seconds), _ONLY_FORWARD * rates[-1])


class _Timer:
    """Times steps of a learner."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.noise = learner, torch.Generator().manual_seed(0)

    def rates(self, stages: Sequence[Stage], draw: Draw) -> list[float]:
        """Return the seconds of a pixel in each stage."""
        start = time.perf_counter()
        images, classes = draw(stages[0])
        probe = (slice(_PROBED), ..., slice(_PROBE), slice(_PROBE))
        rate = self._rate(lambda: (images[probe], classes[probe]))
        rates = []
        for number, stage in enumerate(stages):
            left = (_SECONDS - (time.perf_counter() - start)) / (len(stages) - number)
            height, width = stage.slice_size(self.learner.plane)
            count = min(stage.batch_size, int(left / 2 / (rate * height * width)))  # timed twice
            if count >= min(_PROBED, stage.batch_size):
                rate = self._rate(partial(draw, replace(stage, batch_size=count)))
            rates.append(rate)
        return rates

    def _rate(self, make: Callable[[], Batch]) -> float:
        """Return the seconds of a pixel in a step; the first step, in which libraries prepare themselves, is not it."""
        self._step(make)
        start = time.perf_counter()
        pixels = self._step(make)
        return (time.perf_counter() - start) / pixels

    def _step(self, make: Callable[[], Batch]) -> int:
        """Draw, augment and learn as a training does; return how many pixels the batch had."""
        learner = self.learner
        images, classes = (torch.from_numpy(part).to(learner.device) for part in make())
        images, classes = augment(images, classes, learner.config.augmentation, self.noise)
        learner.step(images, classes, 0.5)
        return classes.numel()
