"""What a training will come to: its steps, its time, and how often it sees the labelled slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from volseg.config import PreparationConfig, TrainingConfig
from volseg.core.slices import NORMAL_AXIS, in_plane
from volseg.training.growth import Stage
from volseg.training.pace import Pace
from volseg.training.schedule import END_SHARE, VALIDATION_SHARE, Budget


@dataclass(frozen=True)
class Workload:
    """How much there is to learn from and to predict.

    Parameters
    ----------
    slices : int
        Labelled slices of all training cases and planes.
    case_pixels : float
        Pixels of all slices of a case, over all planes.
    """

    slices: int
    case_pixels: float


def count_pixels(shape: Sequence[int], spacing: Sequence[float], preparation: PreparationConfig) -> float:
    """Return the pixels of all slices of a scan, over all planes, as they are prepared.

    Parameters
    ----------
    shape : (3,) int
        In RAS order, as the spacing.
    spacing : (3,) float, mm
    preparation : PreparationConfig
        Planned.
    """
    pixels = np.multiply(shape, spacing) / (preparation.spacing_mm or spacing)
    count = 0.0
    for plane in preparation.planes or ():
        height, width = in_plane(plane)
        count += shape[NORMAL_AXIS[plane]] * float(pixels[height] * pixels[width])
    return count


@dataclass(frozen=True)
class Outlook:
    """What is expected of a training.

    Parameters
    ----------
    steps : int
        Of all planes together.
    seconds : float
        From the first step on, with validations.
    passes : float
        How often as many slices are learnt from as hold a label.
    """

    steps: int
    seconds: float
    passes: float


def look_ahead(
    settings: TrainingConfig, budget: Budget, stages: Sequence[Stage], pace: Pace, work: Workload
) -> tuple[Outlook, Outlook, Outlook]:
    """Return what is expected in half the time, in the time of the budget, and in twice that.

    Parameters
    ----------
    settings : TrainingConfig
    budget : Budget
    stages : sequence of Stage
    pace : Pace
        Seconds of the steps of each stage.
    work : Workload
    """
    case = pace.pixel_seconds * work.case_pixels
    on_the_way = case * (settings.validations - 1) * min(settings.validation_cases, budget.held_out)
    at_the_end = case * budget.held_out

    def expected(times: float) -> Outlook:
        limit = times * budget.limit_seconds
        checks = min(on_the_way, VALIDATION_SHARE * limit)
        end = min(at_the_end, END_SHARE * limit)
        most_steps = inf if budget.minutes else times * budget.steps
        steps, slices, seconds = _learn(stages, pace, most_steps, limit - checks - end)
        return Outlook(max(1, round(steps)), seconds + checks + end, slices / work.slices)

    return expected(0.5), expected(1.0), expected(2.0)


def _learn(stages: Sequence[Stage], pace: Pace, most_steps: float, limit: float) -> tuple[float, float, float]:
    """Return how many steps and slices there are, and the seconds; each stage ends by its steps or by the clock."""
    steps, slices, seconds = 0.0, 0.0, 0.0
    for stage, step_seconds in zip(stages, pace.step_seconds, strict=True):
        count = max(0.0, min(stage.end * most_steps - steps, (stage.end * limit - seconds) / step_seconds))
        steps += count
        slices += count * stage.batch_size
        seconds += count * step_seconds
    return steps, slices, seconds


def seconds_left(budget: Budget, stages: Sequence[Stage], pace: Pace, *, progress: float, elapsed: float) -> float:
    """Return how long a training will go on, by how long it took so far.

    Parameters
    ----------
    budget : Budget
    stages : sequence of Stage
    pace : Pace
        How the steps of the stages compare.
    progress : float
        Share of the training that is done, 0 to 1.
    elapsed : float
        Seconds of learning and validating.
    """
    by_clock = budget.limit_seconds - elapsed
    if budget.minutes is not None:
        return max(0.0, by_clock)
    done = _weight(stages, pace, progress)
    by_steps = elapsed * (_weight(stages, pace, 1.0) - done) / done if done else inf
    return max(0.0, min(by_clock, by_steps))


def _weight(stages: Sequence[Stage], pace: Pace, progress: float) -> float:
    """Return in which proportion to others the steps until a moment take time."""
    weight, begin = 0.0, 0.0
    for stage, seconds in zip(stages, pace.step_seconds, strict=True):
        weight += max(0.0, min(stage.end, progress) - begin) * seconds
        begin = stage.end
    return weight


def told_time(seconds: float) -> str:
    """Return a time as users say it: ``40 s``, ``12 min``, ``3.5 h``.

    Parameters
    ----------
    seconds : float
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
