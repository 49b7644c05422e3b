"""A picture of a training run: its losses and the Dice of held-out cases over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.files.atomic import atomic_path
from volseg.training.journal import Event

_LOSS_COLOURS = ("#9a9a9a", "#d08c60", "#7d6bb0")
_POINTS = 20  # a loss is smoothed over about the 20th part of the log
_MOST_NAMED = 14  # in the legend


def draw_curve(events: Sequence[Event], path: Path) -> None:
    """Draw losses and validation Dice over the steps as a PNG.

    Losses are drawn faintly as they were, and smoothed over equally many lines of the log for each plane: planes take
    turns, and their losses differ. A star marks the score of the last weights, which are the model.

    Parameters
    ----------
    events : sequence of dict
        The lines of the log.
    path : Path
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    right = axes.twinx()
    axes.set(xlabel="step", ylabel="loss")
    right.set(ylabel="Dice of held-out cases", ylim=(0, 1))
    for side in (axes, right):
        side.spines["top"].set_visible(False)
    _draw_losses(axes, events)
    _draw_scores(right, [event for event in events if event["event"] in ("validation", "final")])
    handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=handles[:_MOST_NAMED], loc="outside right upper", frameon=False, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _draw_losses(axes: Any, events: Sequence[Event]) -> None:
    planes, steps = 1, []
    for event in events:
        if event["event"] == "plan":
            planes = len(event["config"]["preparation"]["planes"])
        elif event["event"] == "steps":
            steps.append(event)
    window = planes * max(1, round(len(steps) / _POINTS / planes))
    curves: dict[str, list[tuple[float, float]]] = {}
    for event in steps:
        for name, loss in event["losses"].items():
            curves.setdefault(name, []).append((event["step"], loss))
    for name, colour in zip(sorted(curves), _LOSS_COLOURS, strict=False):
        x, y = np.array(curves[name], dtype=float).T
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
        axes.plot(smoothed(x, window), smoothed(y, window), color=colour, label=f"{name} loss")


def _draw_scores(axes: Any, scores: Sequence[Event]) -> None:
    if not scores:
        return
    steps, means = [], []
    curves: dict[str, list[float | None]] = {label: [] for label in scores[0]["per_label"]}
    for event in scores:
        steps.append(event["step"])
        means.append(event["mean"])
        for label, curve in curves.items():
            curve.append(event["per_label"].get(label))
    for label, curve in curves.items():
        axes.plot(steps, _numbers(curve), linewidth=0.9, alpha=0.7, marker=".", markersize=4, label=label)
    axes.plot(steps, _numbers(means), color="black", marker="o", markersize=4, label="mean Dice", clip_on=False)
    if scores[-1]["event"] == "final" and means[-1] is not None:
        star = {"color": "black", "linestyle": "none", "marker": "*", "markersize": 13, "clip_on": False}
        axes.plot(steps[-1:], means[-1:], label=f"final: {means[-1]:.3f}", **star)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(values, dtype=float)  # None becomes NaN, which is not drawn


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
