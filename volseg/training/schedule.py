"""How far training has come, by steps or by the clock, and the learning rate there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, inf, pi

from volseg.config import TrainingConfig
from volseg.training.growth import Stage, mean_batch

STEPS = 7_000  # for each plane, where nothing else is set
_MOST_MINUTES_ON_A_CPU = 60.0  # where nothing else is set
_MOST_MINUTES = 180.0  # on a GPU
_EPOCHS = 3  # at least, on sets so large that the steps would not show every slice
VALIDATION_SHARE = 0.08  # of a wall-clock budget, or of the time so far, for the validations on the way
END_SHARE = 0.2  # of a wall-clock budget, at most, for the validation at the end
_SHORT_SECONDS = 60  # every validation on the way may take as long where there is no such budget
_WARM_UP = 0.03  # of the training


@dataclass(frozen=True)
class Budget:
    """How long a training is, and how much of its time validations may take.

    Parameters
    ----------
    steps : int
        Optimiser steps in all.
    minutes : float, optional
        Wall-clock time from the first step on, validations included; wins over `steps`.
    held_out : int
        Cases of the validation at the end.
    most_minutes : float, optional
        Wall-clock time after which a training ends that has not made its steps, validations included.
    """

    steps: int
    minutes: float | None = None
    held_out: int = 0
    most_minutes: float | None = None

    def progress(self, *, step: int, elapsed: float, case_seconds: float = 0.0, look_seconds: float = 0.0) -> float:
        """Return the share of the training that is done, 0 to 1.

        Parameters
        ----------
        step : int
            Steps made.
        elapsed : float
            Seconds of learning and validating.
        case_seconds : float
            Validation time of one case: time for the validation at the end is set aside.
        look_seconds : float
            Time that pictures of samples take, which are made at the end as well.
        """
        by_steps = step / self.steps if self.minutes is None else 0.0
        at_the_end = min(case_seconds * self.held_out, self.seconds_at_the_end())
        by_clock = elapsed / max(self.limit_seconds - at_the_end - look_seconds, 1e-6)
        return min(1.0, max(by_steps, by_clock))

    @property
    def limit_seconds(self) -> float:
        """The wall-clock time that the training has, with its validations; infinite where only steps end it."""
        return 60 * (self.minutes or self.most_minutes or inf)

    def seconds_at_the_end(self) -> float:
        """Return how long the validation at the end may take; infinite where only steps end the training."""
        return END_SHARE * self.limit_seconds

    def seconds_on_the_way(self, *, elapsed: float, validations: int) -> float:
        """Return how long one validation on the way may take.

        Parameters
        ----------
        elapsed : float
            Seconds of learning and validating.
        validations : int
            How many there are to be.
        """
        most = VALIDATION_SHARE * self.limit_seconds / validations
        if self.minutes is None:  # steps may end it long before
            return min(most, max(_SHORT_SECONDS, VALIDATION_SHARE * elapsed))
        return most

    def has_time_for(self, seconds: float, *, elapsed: float, checked: float) -> bool:
        """Whether a validation of so many seconds keeps to the share of a wall-clock budget.

        Parameters
        ----------
        seconds : float
            Expected duration.
        elapsed : float
            Seconds of learning and validating.
        checked : float
            Progress at the last validation, 0 to 1.
        """
        if self.limit_seconds == inf:
            return True
        if self.minutes is None:  # steps may end it long before, so progress tells no time
            return seconds <= max(_SHORT_SECONDS, VALIDATION_SHARE * elapsed)
        return seconds <= VALIDATION_SHARE * (elapsed - checked * 60 * self.minutes)


def plan_budget(
    settings: TrainingConfig, stages: Sequence[Stage], *, slices: int, planes: int, held_out: int, device: str
) -> Budget:
    """Return the budget of a run: epochs or minutes that are set, else 7,000 steps a plane.

    These end after an hour on a CPU, and after three on a GPU, however many were made. The validation at the end is
    part of that time.

    Parameters
    ----------
    settings : TrainingConfig
    stages : sequence of Stage
        How its slices grow.
    slices : int
        Labelled slices of all cases and planes, which are an epoch.
    planes : int
    held_out : int
        Held-out cases.
    device : str
        Its kind, as torch names it.
    """
    epoch = ceil(slices / mean_batch(stages))
    steps = settings.epochs * epoch if settings.epochs else max(STEPS * planes, _EPOCHS * epoch)
    most = None if settings.epochs else (_MOST_MINUTES_ON_A_CPU if device == "cpu" else _MOST_MINUTES)
    return Budget(steps, settings.minutes, held_out, most)


def rate_factor(progress: float, schedule: str) -> float:
    """Return what the learning rate is multiplied by.

    ``cosine``: a linear warm-up over 3 %, then half a cosine to zero (Loshchilov & Hutter 2017, arXiv:1608.03983).
    ``linear``: constant for the first half, then linearly to zero, as in pix2pix's published code.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.
    schedule : {"cosine", "linear"}
    """
    if schedule == "linear":
        return min(1.0, 2 * (1 - progress))
    if progress < _WARM_UP:
        return (progress + 1e-3) / (_WARM_UP + 1e-3)
    return 0.5 * (1 + cos(pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
