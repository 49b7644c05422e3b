from __future__ import annotations

from itertools import pairwise

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


ENTRIES = ["1 2 3 plane", "s slice", "d doubt", "a n all, none", "t transparency", "q close"] * 3


@pytest.mark.parametrize("size", [(320, 240), (640, 420), (1200, 900), (2400, 1200)])
def test_all_help_is_in_lines_that_fit_below_the_sliders(size: tuple[int, int]) -> None:
    layout = Layout.of(size, NAMES, sliders=3, entries=ENTRIES)
    assert "   ".join(layout.help) == "   ".join(ENTRIES)
    assert max(map(len, layout.help)) * 0.6 * layout.bar_letter <= size[0]
    assert (len(layout.help) == 1) == (size[0] > 2000)
    feet = [layout.help_place(n)[1] * layout.bar.top * size[1] for n in range(len(layout.help))]
    assert feet[-1] > 0
    steps = [upper - lower for upper, lower in pairwise(feet)]
    assert all(step > layout.bar_letter for step in steps)
    assert feet[0] + layout.bar_letter < layout.track(0).bottom * size[1]


@pytest.mark.parametrize("panes", [1, 2])
def test_the_colours_of_doubt_have_room_for_their_texts(panes: int) -> None:
    layout = Layout.of((900, 600), NAMES, panes=panes, sliders=3)
    box = layout.scale()
    assert 0.2 < box.left < box.right < 1  # beside the marker of axes
    pane = layout.panes[0]
    assert (box.right - box.left) * (pane.right - pane.left) * 900 >= 22 * layout.bar_letter * 0.99
    assert 0 < box.bottom < box.top < 0.2


def test_a_long_legend_stays_readable_and_in_the_window() -> None:
    layout = Layout.of(SIZE, [f"structure {n}" for n in range(200)], sliders=3)
    assert layout.letter >= 11
    assert layout.rows < 200
    assert layout.row(layout.rows - 1).bottom > layout.bar.top
    assert layout.legend.right - layout.legend.left < 0.4
