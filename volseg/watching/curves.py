"""The curves of a training run, from the lines of its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Event = dict[str, Any]
_POINTS = 20  # a loss is smoothed over about the 20th part of the log


@dataclass(frozen=True, eq=False)
class Curve:
    """Values over the steps.

    Parameters
    ----------
    name : str
    steps : (N,) float
    values : (N,) float
        NaN where there is none.
    """

    name: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float | None:
        """The last value that there is."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite[-1]) if finite.size else None


@dataclass(frozen=True, eq=False)
class Curves:
    """All curves of a run.

    Parameters
    ----------
    losses : tuple of Curve
        As they are in the log.
    smooth_losses : tuple of Curve
        Smoothed over equally many lines of the log for each plane: planes take turns, and their losses differ.
    labels : tuple of Curve
        Dice of the held-out cases by label, at each validation.
    mean : Curve
        Mean Dice at each validation.
    final : float or None
        Mean Dice of the last weights on all held-out cases; the last value of `mean` then.
    same_cases : Curve
        Mean Dice of those cases that every validation had; these numbers can be compared with each other.
    cases : tuple of int
        How many cases each validation had.
    seconds : float
        Spent on learning and validating.
    """

    losses: tuple[Curve, ...]
    smooth_losses: tuple[Curve, ...]
    labels: tuple[Curve, ...]
    mean: Curve
    final: float | None
    same_cases: Curve
    cases: tuple[int, ...]
    seconds: float

    @property
    def last_step(self) -> int:
        """The last step that the log knows of; 0 before the first."""
        return int(max((curve.steps[-1] for curve in (*self.losses, self.mean) if curve.steps.size), default=0))

    @classmethod
    def of(cls, events: Sequence[Event]) -> Curves:
        """Take the lines of a log apart.

        Parameters
        ----------
        events : sequence of dict
        """
        planes, seconds, made, scores = 1, 0.0, list[Event](), list[Event]()
        for event in events:
            if event["event"] == "plan":
                planes = len(event["config"]["preparation"]["planes"])
            elif event["event"] == "steps":
                made.append(event)
                seconds = event.get("seconds", seconds)
            elif event["event"] in ("validation", "final"):
                scores.append(event)
            elif event["event"] == "end":
                seconds = event["seconds"]
        losses = _losses(made)
        window = planes * max(1, round(len(made) / _POINTS / planes))
        smooth = [Curve(each.name, smoothed(each.steps, window), smoothed(each.values, window)) for each in losses]
        ended = bool(scores) and scores[-1]["event"] == "final"
        return cls(
            losses,
            tuple(smooth),
            _labels(scores),
            _curve("mean Dice", scores, [event["mean"] for event in scores]),
            scores[-1]["mean"] if ended else None,
            _same_cases(scores),
            tuple(event.get("cases", 0) for event in scores),
            seconds,
        )


def _losses(made: Sequence[Event]) -> tuple[Curve, ...]:
    found: dict[str, list[tuple[float, float]]] = {}
    for event in made:
        for name, loss in event["losses"].items():
            found.setdefault(name, []).append((event["step"], loss))
    curves = []
    for name in sorted(found):
        steps, values = np.array(found[name], dtype=float).T
        curves.append(Curve(name, steps, values))
    return tuple(curves)


def _labels(scores: Sequence[Event]) -> tuple[Curve, ...]:
    if not scores:
        return ()
    names = scores[0]["per_label"]
    return tuple(_curve(name, scores, [event["per_label"].get(name) for event in scores]) for name in names)


def _same_cases(scores: Sequence[Event]) -> Curve:
    """Return the scores that can be compared; the last validation, of all cases, also tells that of the others'."""
    kept = [event for event in scores if event["event"] == "validation" or "same_cases" in event]
    return _curve("mean Dice", kept, [event.get("same_cases", event["mean"]) for event in kept])


def _curve(name: str, events: Sequence[Event], values: Sequence[float | None]) -> Curve:
    steps = np.array([event["step"] for event in events], dtype=float)
    return Curve(name, steps, np.array(values, dtype=float))  # None becomes NaN


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the running mean where the window is whole.

    Parameters
    ----------
    values : (N,) float
    window : int
        Number of values.

    Returns
    -------
    (N - window + 1,) float
        The values themselves if there are fewer than `window`.
    """
    if len(values) < window:
        return values
    return np.convolve(values, np.full(window, 1 / window), mode="valid")
