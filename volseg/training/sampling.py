"""Batches of training slices, drawn at random from the prepared cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.config import Config
from volseg.core.planes import Plane
from volseg.core.slices import neighbour_indices
from volseg.prediction.prepare import gather_neighbours
from volseg.training.data import CachedCase
from volseg.training.growth import Stage


def make_samplers(prepared: Sequence[dict[Plane, CachedCase]], config: Config) -> dict[Plane, SliceSampler]:
    """Make a sampler for each plane along which some case is cut.

    Parameters
    ----------
    prepared : sequence of dict
        What `cache_case` returned for each training case.
    config : Config
        Planned.
    """
    samplers = {}
    for plane in config.preparation.planes or ():
        cases = [case[plane] for case in prepared if plane in case]
        if cases:
            samplers[plane] = SliceSampler(cases, config, plane)
    return samplers


@dataclass(frozen=True, eq=False)
class SliceSampler:
    """Draws batches of slices of one plane; `foreground_fraction` of them hold a label, the others are any.

    For a slice with a label the case is drawn first, then one of the classes that it has, then one of the slices that
    hold this class and, where the slice is larger than the window, one of its pixels. So a small class is seen as often
    as a large one.

    Parameters
    ----------
    cases : sequence of CachedCase
    config : Config
        Planned.
    plane : {"axial", "coronal", "sagittal"}
    """

    cases: Sequence[CachedCase]
    config: Config
    plane: Plane

    @property
    def slices_per_epoch(self) -> int:
        """Number of labelled slices of all cases, at least 1: these make one epoch."""
        return max(1, sum(len(case.foreground) for case in self.cases))

    @property
    def has_labels(self) -> bool:
        """Whether any slice holds a label."""
        return any(len(case.foreground) for case in self.cases)

    def draw(self, rng: np.random.Generator, stage: Stage) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw one batch.

        Parameters
        ----------
        rng : numpy.random.Generator
        stage : Stage
            Says how many slices, and of which size.

        Returns
        -------
        slices : (B, C, H, W) float32
        classes : (B, H, W) int64
        """
        images, classes = [], []
        for _ in range(stage.batch_size):
            image, numbers = self._draw_one(rng, stage.slice_size(self.plane))
            images.append(image)
            classes.append(numbers)
        return np.stack(images), np.stack(classes)

    def _draw_one(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        case = self.cases[int(rng.integers(len(self.cases)))]
        wanted = 0
        if rng.random() < self.config.training.foreground_fraction and case.slices:
            wanted = int(rng.choice(list(case.slices)))
        index = rng.choice(case.slices[wanted]) if wanted else rng.integers(len(case.classes))
        around = neighbour_indices(np.array([index]), len(case.classes), self.config.preparation.neighbours)
        image = gather_neighbours(case.image, around)[0]
        classes = case.classes[index]
        window = _window(classes, size, rng, wanted=wanted)
        # Outside the slice both repeat their edge, as the network's own padding does at test time.
        return _cut(image, window), _cut(classes, window).astype(np.int64)


def _window(
    classes: NDArray[Any], size: tuple[int, int], rng: np.random.Generator, *, wanted: int
) -> list[NDArray[np.int64]]:
    """Return row and column numbers of a window of `size`: centred where the slice is smaller, else at random.

    A pixel of the class `wanted` lies in it, unless this is 0.
    """
    centre = None
    is_larger = classes.shape[0] > size[0] or classes.shape[1] > size[1]
    if wanted and is_larger:
        inside = np.argwhere(classes == wanted)
        centre = inside[rng.integers(len(inside))]
    window = []
    for axis, (have, want) in enumerate(zip(classes.shape, size, strict=True)):
        slack = have - want
        if slack <= 0:
            start = slack // 2
        elif centre is None:
            start = int(rng.integers(slack + 1))
        else:
            # The labelled pixel lies anywhere in the middle half of the window.
            start = int(np.clip(centre[axis] - want // 4 - rng.integers(want // 2 + 1), 0, slack))
        window.append(np.clip(np.arange(start, start + want), 0, have - 1))
    return window


def _cut(array: NDArray[Any], window: list[NDArray[np.int64]]) -> NDArray[Any]:
    rows, columns = window
    return array[..., rows[:, None], columns]
