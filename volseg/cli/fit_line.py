"""What a model knows to say how far its predictions are in doubt, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def fit_line(fit: Mapping[str, Any] | None) -> str:
    """Say what a model can tell about the quality of a prediction.

    Parameters
    ----------
    fit : mapping, optional
        A `volseg.network.doubt_fit.DoubtFit` as a dictionary.
    """
    if fit is None or not fit["cases"]:
        return "doubt: no held-out cases are known, so nothing is said about the quality of a prediction"
    line, parts, surfaces = fit["dice"], [], _of_surfaces(fit["surface"])
    if line is None:
        return f"doubt: {fit['cases']} held-out cases, too few for an expected Dice and intervals{surfaces}"
    for name, volume in fit["volumes"].items():
        if volume["low"] is not None:
            parts.append(f"{name} {volume['low']:.2f} to {volume['high']:.2f}")
    volumes = f"; true volumes are so many times the predicted ones: {', '.join(parts)}" if parts else ""
    dice = (
        f"a Dice of {line['at_0']:.2f} to {line['at_100']:.2f} is expected, -{line['below']:.2f} +{line['above']:.2f}"
    )
    return f"doubt: by {fit['cases']} held-out cases {dice}{volumes}{surfaces}"


def _of_surfaces(fit: Mapping[str, Any] | None) -> str:
    if fit is None or fit["factor"] is None:
        return ""
    return (
        f"; surfaces are {fit['factor']:.2f} times as far off as the probabilities say, by {fit['surfaces']} surfaces"
    )
