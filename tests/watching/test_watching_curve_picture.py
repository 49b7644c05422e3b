"""The picture of a run: its contents, and no zigzag from planes that take turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from volseg.watching.curve_picture import _draw_losses, _draw_scores, draw_curve
from volseg.watching.curves import Curves, Event, smoothed

PLANES = ("axial", "coronal", "sagittal")


def plan(*planes: str) -> Event:
    return {"event": "plan", "config": {"preparation": {"planes": list(planes)}}}


def score(kind: str, step: int, mean: float | None) -> Event:
    return {"event": kind, "step": step, "mean": mean, "per_label": {"ball": mean, "bar": None}}


def axes() -> Any:
    return Figure().subplots()


def lines(drawn: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in drawn.get_lines()}


@pytest.mark.parametrize("before", [[], [score("validation", 5, 0.2)], [score("validation", 5, None)]])
def test_the_final_score_is_the_last_point_and_is_marked(before: list[Event]) -> None:
    drawn = axes()
    _draw_scores(drawn, Curves.of([*before, score("final", 12, 0.595)]))
    found = lines(drawn)
    assert (found["mean Dice"].get_xdata()[-1], found["mean Dice"].get_ydata()[-1]) == (12, 0.595)
    assert (found["ball"].get_xdata()[-1], found["ball"].get_ydata()[-1]) == (12, 0.595)
    star = found["final: 0.595"]
    assert (list(star.get_xdata()), list(star.get_ydata()), star.get_marker()) == ([12], [0.595], "*")


def test_a_run_that_is_not_finished_has_no_star() -> None:
    drawn = axes()
    _draw_scores(drawn, Curves.of([score("validation", 5, 0.2)]))
    assert {line.get_marker() for line in drawn.get_lines()} == {".", "o"}


@given(
    levels=st.lists(st.floats(-5, 5), min_size=1, max_size=3),
    turns=st.integers(1, 80),
)
def test_planes_that_take_turns_make_a_level_line(levels: list[float], turns: int) -> None:
    """However different their losses are."""
    losses = levels * turns
    events = [{"event": "steps", "step": n, "losses": {"reconstruction": loss}} for n, loss in enumerate(losses, 1)]
    drawn = axes()
    _draw_losses(drawn, Curves.of([plan(*PLANES[: len(levels)]), *events]))
    line = lines(drawn)["reconstruction loss"]
    assert np.allclose(line.get_ydata(), np.mean(levels))
    assert len(line.get_xdata()) == len(line.get_ydata()) >= 1


def test_smoothing_is_the_mean_where_it_is_whole() -> None:
    assert smoothed(np.array([1.0, 2.0, 6.0, 3.0]), 2).tolist() == [1.5, 4.0, 4.5]
    assert smoothed(np.array([1.0, 2.0]), 3).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [plan("axial")],
        [score("final", 3, None)],
        [{"event": "steps", "step": 1, "losses": {"reconstruction": 1.0}}],
        [plan("axial"), {"event": "steps", "step": 1, "losses": {"reconstruction": 1.0}}, score("final", 1, 0.5)],
    ],
)
def test_every_log_has_a_picture(events: list[Event], tmp_path: Path) -> None:
    draw_curve(Curves.of(events), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
