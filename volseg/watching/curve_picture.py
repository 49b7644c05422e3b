"""A picture of a training run: its losses and the Dice of held-out cases over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from volseg.files.atomic import atomic_path
from volseg.watching.curves import Curves

LOSS_COLOURS = ("#9a9a9a", "#d08c60", "#7d6bb0")
_MOST_NAMED = 14  # in the legend


def draw_curve(curves: Curves, path: Path) -> None:
    """Draw losses and validation Dice over the steps as a PNG.

    Losses are drawn faintly as they were, and smoothed. A star marks the score of the last weights, which are the
    model.

    Parameters
    ----------
    curves : Curves
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
    _draw_losses(axes, curves)
    _draw_scores(right, curves)
    handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=handles[:_MOST_NAMED], loc="outside right upper", frameon=False, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _draw_losses(axes: Any, curves: Curves) -> None:
    for raw, smooth, colour in zip(curves.losses, curves.smooth_losses, LOSS_COLOURS, strict=False):
        axes.plot(raw.steps, raw.values, color=colour, linewidth=0.8, alpha=0.35)
        axes.plot(smooth.steps, smooth.values, color=colour, label=f"{smooth.name} loss")


def _draw_scores(axes: Any, curves: Curves) -> None:
    mean = curves.mean
    if not mean.steps.size:
        return
    for curve in curves.labels:
        axes.plot(curve.steps, curve.values, linewidth=0.9, alpha=0.7, marker=".", markersize=4, label=curve.name)
    axes.plot(mean.steps, mean.values, color="black", marker="o", markersize=4, label=mean.name, clip_on=False)
    if curves.final is not None:
        star = {"color": "black", "linestyle": "none", "marker": "*", "markersize": 13, "clip_on": False}
        axes.plot(mean.steps[-1:], mean.values[-1:], label=f"final: {curves.final:.3f}", **star)
