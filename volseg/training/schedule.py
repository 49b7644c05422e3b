"""How far training has come, by steps or by the clock, and the learning rate there."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

_WARM_UP = 0.03  # of the training


@dataclass(frozen=True)
class Budget:
    """The end of training: a number of steps, or of seconds where `minutes` is set.

    Parameters
    ----------
    steps : int
        Optimiser steps in all.
    seconds : float, optional
        Wall-clock time for everything but the last validation; wins over `steps`.
    """

    steps: int
    seconds: float | None = None

    def progress(self, *, step: int, elapsed: float) -> float:
        """Share of the training that is done, 0 to 1."""
        done = step / self.steps if self.seconds is None else elapsed / self.seconds
        return min(1.0, done)


def rate_factor(progress: float, schedule: str) -> float:
    """Return what the learning rate is multiplied by.

    ``cosine``: a linear warm-up over 3 %, then half a cosine to zero (Loshchilov & Hutter 2017, arXiv:1608.03983).
    ``linear``: constant for the first half, then linearly to zero, as in pix2pix's published code.
    """
    if schedule == "linear":
        return min(1.0, 2 * (1 - progress))
    if progress < _WARM_UP:
        return (progress + 1e-3) / (_WARM_UP + 1e-3)
    return 0.5 * (1 + cos(pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
