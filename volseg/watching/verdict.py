"""What the curves of a training run say, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from volseg.watching.curves import Curve, Curves

_LEAST = 0.005  # a change of the Dice that counts
_SPREAD = 0.002  # the standard deviation of a validation about a smooth curve, at least
_TIMES = 3.0  # standard errors that a trend is away from none
_FEWEST = 4  # validations
_LATE, _FEWEST_LATE = 0.6, 3  # the trend is that after this share of the steps, but of three validations at least
_LEAST_OF_THREE = 0.02  # a trend of three validations, which are too few for a standard error
_NOTHING = 0.1  # below this Dice a network has not begun to find anything

Trend = Literal["improving", "flat", "falling", "nothing", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """What the curves say.

    Parameters
    ----------
    trend : {"improving", "flat", "falling", "nothing", "unknown"}
        Of the mean Dice of held-out cases; nothing: it or that of some labels is next to none; unknown: there are too
        few.
    text : str
        A sentence without a full stop.
    command : str
        The options that do what it advises.
    """

    trend: Trend
    text: str
    command: str = ""


def judge(curves: Curves) -> Verdict:
    """Say whether a training still improved in the end, and if not, since when.

    Only cases that every validation had are compared. The trend is that of a straight line through the validations of
    the last 40 % of the steps. It counts if it makes a difference of 0.005 or more and is three standard errors away
    from none; where there are three validations, if it is 0.02 or more.

    Parameters
    ----------
    curves : Curves

    Examples
    --------
    >>> losses = {"event": "steps", "step": 1, "losses": {"reconstruction": 1.0}, "seconds": 1.0}
    >>> judge(Curves.of([losses])).text
    'too few steps to say whether it still improves'
    """
    scores = _finite(curves.same_cases)
    if not curves.mean.steps.size and curves.smooth_losses:
        return _judge_loss(_finite(curves.smooth_losses[-1]))
    if len(scores.steps) < _FEWEST:
        return Verdict("unknown", "too few validations to say whether it still improves")
    values, last = scores.values, int(scores.steps[-1])
    if values.max() < _NOTHING:
        return Verdict(
            "nothing",
            f"the mean Dice of held-out cases is still {values[-1]:.3f} after {last} steps: the networks have not "
            "begun to find the labels",
        )
    begin = min(int(np.argmax(scores.steps > _LATE * last)), len(values) - _FEWEST_LATE)
    rise, error, spread = _line(scores.steps[begin:], values[begin:])
    least = max(_LEAST, _TIMES * error) if len(values) - begin > _FEWEST_LATE else _LEAST_OF_THREE
    span = f"over the last {last - int(scores.steps[begin])} of {last} steps"
    if rise > least:
        return Verdict("improving", f"the mean Dice of held-out cases still rose, by {rise:.3f} {span}")
    if rise < -least:
        best, top = float(values.max()), int(scores.steps[values.argmax()])
        return Verdict(
            "falling",
            f"the mean Dice of held-out cases fell {span}, from at most {best:.3f} at step {top} to {values[-1]:.3f}: "
            "the networks may learn the training cases by heart; train shorter, or with more scans or stronger "
            "augmentation",
        )
    tolerance = max(_LEAST, 2 * spread)
    low = np.flatnonzero(values < np.median(values[begin:]) - tolerance)
    first = int(scores.steps[min(low[-1] + 1, len(values) - 1)]) if low.size else int(scores.steps[0])
    flat = f"the mean Dice of held-out cases is flat since step {first} of {last} (within {tolerance:.3f})"
    dices = [curve.last for curve in curves.labels]
    missing = sum(dice is not None and dice < _NOTHING for dice in dices)
    if missing:
        return Verdict("nothing", f"{flat}, but {missing} of {len(dices)} labels are not found yet")
    return Verdict("flat", flat)


def _line(steps: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return by how much a straight line rises from the first to the last step, its error, and the spread about it."""
    places = steps - steps.mean()
    slope = float(places @ values / (places @ places))
    rest = values - values.mean() - slope * places
    spread = max(_SPREAD, float(np.sqrt(rest @ rest / max(1, len(values) - 2))))
    span = float(steps[-1] - steps[0])
    return slope * span, span * spread / float(np.sqrt(places @ places)), spread


def _judge_loss(loss: Curve) -> Verdict:
    if len(loss.steps) < _FEWEST:
        return Verdict("unknown", "too few steps to say whether it still improves")
    late = loss.steps > _LATE * loss.steps[-1]
    before, last = float(loss.values[late][0]), float(loss.values[-1])
    change = f"over the last 40 % of the steps the {loss.name} loss went from {before:.3f} to {last:.3f}"
    return Verdict("unknown", f"no case is held out; {change}, which does not say how good it is on other scans")


def _finite(curve: Curve) -> Curve:
    there = np.isfinite(curve.values)
    return Curve(curve.name, curve.steps[there], curve.values[there])
