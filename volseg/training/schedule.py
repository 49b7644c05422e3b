"""How far training has come, by steps or by the clock, and the learning rate there."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, inf, pi

from volseg.config import TrainingConfig

STEPS = 7_000  # for each plane, where nothing else is set
_EPOCHS = 3  # at least, on sets so large that the steps would not show every slice
_VALIDATION_SHARE = 0.15  # of a wall-clock budget, or of the time so far, for the validations on the way
_END_SHARE = 0.2  # of a wall-clock budget, at most, for the validation at the end
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
    """

    steps: int
    minutes: float | None = None
    held_out: int = 0

    def progress(self, *, step: int, elapsed: float, case_seconds: float = 0.0) -> float:
        """Return the share of the training that is done, 0 to 1.

        Parameters
        ----------
        step : int
            Steps made.
        elapsed : float
            Seconds of learning and validating.
        case_seconds : float
            Validation time of one case: time for the validation at the end is set aside.
        """
        if self.minutes is None:
            return min(1.0, step / self.steps)
        at_the_end = min(case_seconds * self.held_out, self.seconds_at_the_end())
        return min(1.0, elapsed / (self.minutes * 60 - at_the_end))

    def seconds_at_the_end(self) -> float:
        """Return how long the validation at the end may take; infinite without a wall-clock budget."""
        return inf if self.minutes is None else _END_SHARE * 60 * self.minutes

    def seconds_on_the_way(self, *, elapsed: float, validations: int) -> float:
        """Return how long one validation on the way may take.

        Parameters
        ----------
        elapsed : float
            Seconds of learning and validating.
        validations : int
            How many there are to be.
        """
        if self.minutes is None:
            return max(_SHORT_SECONDS, _VALIDATION_SHARE * elapsed)
        return _VALIDATION_SHARE * 60 * self.minutes / validations

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
        if self.minutes is None:
            return True
        return seconds <= _VALIDATION_SHARE * (elapsed - checked * 60 * self.minutes)


def plan_budget(settings: TrainingConfig, *, slices: int, planes: int, held_out: int) -> Budget:
    """Return the budget of a run: epochs or minutes that are set, else 7,000 steps for each plane.

    Parameters
    ----------
    settings : TrainingConfig
    slices : int
        Labelled slices of all cases and planes, which are an epoch.
    planes : int
    held_out : int
        Held-out cases.
    """
    epoch = ceil(slices / (settings.batch_size or 1))
    steps = settings.epochs * epoch if settings.epochs else max(STEPS * planes, _EPOCHS * epoch)
    return Budget(steps, settings.minutes, held_out)


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
