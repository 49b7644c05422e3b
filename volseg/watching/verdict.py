"""What the curves of a training run say, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from volseg.watching.curves import Curve, Curves

# A change of the Dice below the first is none, whatever the number of cases; one above the second always is one.
_LEAST, _LARGEST = 0.005, 0.02
_FEWEST = 4  # validations
_LATE = 2 / 3  # of the steps: what comes after is compared with the best before
_NORMAL = 0.6745 * 6**0.5  # median of |second differences| of noise of standard deviation 1

Trend = Literal["improving", "flat", "falling", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """What the curves say.

    Parameters
    ----------
    trend : {"improving", "flat", "falling", "unknown"}
        Of the mean Dice of held-out cases; of the loss where no case is held out.
    text : str
        A sentence without a full stop.
    command : str
        The options that do what it advises.
    """

    trend: Trend
    text: str
    command: str = ""


def judge(curves: Curves) -> Verdict:
    """Say whether a training still improved in its last third, and if not, since when.

    Only cases that every validation had are compared. A change counts from four times the noise on, but from 0.005 at
    least and 0.02 at most. The noise is the standard deviation of a validation, by the second differences of the curve
    after its first third, which is steep. Four times, as the best of some values is compared with a single one.

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
    values, steps = scores.values, scores.steps
    tolerance = min(max(_LEAST, 4 * _noise(scores)), _LARGEST)
    late = steps > _LATE * steps[-1]
    before, best = float(values[~late].max()), float(values.max())
    if values[-1] < best - tolerance:
        top = int(steps[values.argmax()])
        return Verdict(
            "falling",
            f"the mean Dice of held-out cases fell from {best:.3f} at step {top} to {values[-1]:.3f}: the networks "
            "learn the training cases by heart; train shorter, or with more scans or stronger augmentation",
        )
    if values[-1] > before + tolerance:
        since = int(steps[~late][-1])
        return Verdict(
            "improving",
            f"the mean Dice of held-out cases still rose from {before:.3f} to {values[-1]:.3f} after step {since} "
            f"of {int(steps[-1])}",
        )
    level = values >= best - tolerance
    first = int(np.flatnonzero(~level)[-1]) + 1 if not level.all() else 0
    return Verdict(
        "flat",
        f"the mean Dice of held-out cases is flat since step {int(steps[first])} of {int(steps[-1])} "
        f"(within {tolerance:.3f})",
    )


def _judge_loss(loss: Curve) -> Verdict:
    if len(loss.steps) < _FEWEST:
        return Verdict("unknown", "too few steps to say whether it still improves")
    late = loss.steps > _LATE * loss.steps[-1]
    before, last = float(loss.values[~late][-1]) if (~late).any() else float(loss.values[0]), float(loss.values[-1])
    text = f"no case is held out; the {loss.name} loss went from {before:.3f} to {last:.3f} in the last third"
    return Verdict("unknown", f"{text}, which does not say how good it is on other scans")


def _noise(curve: Curve) -> float:
    """Return the standard deviation of single values about a smooth curve."""
    later = curve.values[len(curve.values) // 3 :]
    return float(np.median(np.abs(np.diff(later, 2)))) / _NORMAL


def _finite(curve: Curve) -> Curve:
    there = np.isfinite(curve.values)
    return Curve(curve.name, curve.steps[there], curve.values[there])
