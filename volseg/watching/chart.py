"""Curves as SVG, for a page: light or dark by the page's own colours, and readable without scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

import numpy as np

from volseg.watching.curves import Curve

_WIDTH, _HEIGHT = 560, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 30
_MOST_POINTS = 400  # of a line; a curve has about 200


@dataclass(frozen=True)
class Line:
    """A curve in a chart.

    Parameters
    ----------
    curve : Curve
    colour : str
        As CSS has it.
    kind : {"raw", "smooth", "label", "mean"}
        The style sheet says how each looks; the last two have points that tell their values.
    """

    curve: Curve
    colour: str
    kind: str


def draw_chart(title: str, lines: Sequence[Line], *, last_step: int, high: float) -> str:
    """Draw lines over the steps as an SVG element.

    Parameters
    ----------
    title : str
    lines : sequence of Line
    last_step : int
        The right end.
    high : float
        The upper end; the lower one is 0.

    Returns
    -------
    str
        ``data-last-step`` and the others in it tell a script where a step lies.
    """
    axis = _Axis(max(1, last_step), high if high > 0 else 1.0)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title, quote=True)}" '
        f'data-last-step="{axis.last_step}" data-left="{_LEFT}" data-width="{_WIDTH - _LEFT - _RIGHT}">'
    ]
    parts += _grid(axis)
    for line in lines:
        parts += _drawn(line, axis)
    parts.append(f'<line class="mark" x1="0" x2="0" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" visibility="hidden"/>')
    parts.append("</svg>")
    return "".join(parts)


@dataclass(frozen=True)
class _Axis:
    last_step: int
    high: float

    def x(self, step: float) -> float:
        return _LEFT + step / self.last_step * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = min(max(value / self.high, 0.0), 1.0)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _grid(axis: _Axis) -> list[str]:
    parts = []
    for value in _ticks(axis.high, 5):
        y = axis.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for step in _ticks(axis.last_step, 6):
        if step == int(step):
            parts.append(f'<text x="{axis.x(step):.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{int(step)}</text>')
    return parts


def _ticks(high: float, most: int) -> list[float]:
    """Return round numbers from 0 to `high`."""
    power = 10.0 ** floor(log10(high / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if high / (power * factor) <= most)
    return [float(f"{number * step:.6g}") for number in range(floor(high / step + 1e-9) + 1)]


def _drawn(line: Line, axis: _Axis) -> list[str]:
    curve = line.curve
    name, colour = html.escape(curve.name, quote=True), html.escape(line.colour, quote=True)
    stride = max(1, -(-len(curve.steps) // _MOST_POINTS))
    pieces: list[str] = []
    points, pen = [], "M"
    for step, value in zip(curve.steps[::stride], curve.values[::stride], strict=True):
        if not np.isfinite(value):
            pen = "M"
            continue
        pieces.append(f"{pen}{axis.x(step):.1f} {axis.y(value):.1f}")
        pen = "L"
        if line.kind in ("label", "mean"):
            told = f"<title>{name}: {value:.3f} at step {step:.0f}</title>"
            points.append(f'<circle cx="{axis.x(step):.1f}" cy="{axis.y(value):.1f}" r="3">{told}</circle>')
    if not pieces:
        return []
    path = f'<path d="{"".join(pieces)}"/>'
    return [f'<g class="{line.kind}" data-name="{name}" style="--colour:{colour}">', path, *points, "</g>"]
