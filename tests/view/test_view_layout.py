from __future__ import annotations

import pytest

from volseg.view.layout import Layout

NAMES = ["liver", "right_kidney", "spleen"]
SIZE = (1200, 900)


@pytest.mark.parametrize(("panes", "sliders"), [(1, 0), (1, 3), (2, 3)])
def test_parts_fill_the_window_without_overlap(panes: int, sliders: int) -> None:
    boxes = Layout.of(SIZE, NAMES, panes=panes, sliders=sliders).boxes
    assert len(boxes) == panes + 1 + bool(sliders)
    area = sum((box.right - box.left) * (box.top - box.bottom) for box in boxes)
    assert area == pytest.approx(1)
    for x in (0.01, 0.3, 0.6, 0.99):
        for y in (0.01, 0.5, 0.99):
            assert sum(box.holds(x, y) for box in boxes) == 1


def test_rows_are_found_where_they_are_drawn() -> None:
    layout = Layout.of(SIZE, NAMES, sliders=3)
    for n in range(3):
        row = layout.row(n)
        assert layout.row_at((row.left + row.right) / 2, (row.bottom + row.top) / 2) == n
    assert layout.row_at(0.5, layout.row(0).bottom) is None
    assert layout.row_at(0.99, 0.01) is None


def test_sliders_are_found_where_they_are_drawn() -> None:
    layout = Layout.of(SIZE, NAMES, sliders=3)
    for n in range(3):
        track = layout.track(n)
        assert layout.slider_at((track.left + track.right) / 2, (track.bottom + track.top) / 2) == n
    assert layout.slider_at(0.5, 0.5) is None
    assert Layout.of(SIZE, NAMES).slider_at(0.5, 0.01) is None


def test_a_long_legend_stays_readable_and_in_the_window() -> None:
    layout = Layout.of(SIZE, [f"structure {n}" for n in range(200)], sliders=3)
    assert layout.letter >= 11
    assert layout.rows < 200
    assert layout.row(layout.rows - 1).bottom > layout.bar.top
    assert layout.legend.right - layout.legend.left < 0.4
