"""Which slices the contours of a structure stand for, wherever their planes lie and however dense they are."""

from __future__ import annotations

import re
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structure_sets import sized

from volseg.core.grid import Grid
from volseg.io.dicom.rtstruct_regions import Region, fill, lay_out, usual_step

SLICES, THICKNESS_MM = 40, 2.0
GRID = Grid.from_spacing((60, 3, SLICES), (1, 1, THICKNESS_MM))


def filled(heights: list[float], usual: float = 1.0, grid: Grid = GRID) -> tuple[dict[int, int], Region]:
    """Draw a box for each height, in slices, the n-th of n + 1 columns; the numbers of the boxes by slice."""
    region = fill(lay_out(sized(heights, THICKNESS_MM), grid), grid, usual)
    return {k: int(mask.any(axis=0).sum()) - 1 for k, mask in region.masks.items()}, region


EVEN = {"offset": st.floats(0, 1), "count": st.integers(3, 20), "start": st.integers(3, 10)}


@given(jitter=st.lists(st.floats(-0.007, 0.007), min_size=20, max_size=20), **EVEN)
@example(jitter=[0, 0, 0.0039, *[0] * 17], offset=0.4804, count=3, start=3)
def test_planes_as_far_apart_as_slices_take_a_slice_each_at_any_offset(
    offset: float, count: int, start: int, jitter: list[float]
) -> None:
    found, region = filled([start + offset + n + jitter[n] for n in range(count)])
    first = min(found)
    assert found == {first + n: n for n in range(count)}
    assert abs(first - start - offset) < 0.55
    assert not any("left" in remark or "filled" in remark for remark in region.remarks)


@pytest.mark.parametrize("offset", [0.5, 0.4999, 0.5001, -0.5])
def test_half_way_between_slices_none_is_lost(offset: float) -> None:
    found, region = filled([offset + n for n in range(10, 15)])
    assert list(found.values()) == [0, 1, 2, 3, 4]
    assert list(found) == list(range(min(found), min(found) + 5))
    assert region.remarks == ["5 contours between slices put on the nearest"]


@given(step=st.floats(0.1, 5.2), **EVEN)
def test_a_slice_takes_the_nearest_plane_if_it_lies_within_half_a_step(
    step: float, offset: float, count: int, start: int
) -> None:
    heights = np.array([start + offset + n * step for n in range(count)])
    found, _ = filled(heights.tolist())
    for k in range(SLICES):
        distances = abs(heights - k)
        if distances.min() < step / 2 - 0.02:
            assert distances[found[k]] < distances.min() + 0.04
        elif distances.min() > max(step, 1) / 2 + 0.02:
            assert k not in found
    # A structure thinner than a slice and between slices is on the nearest slice.
    inside = (heights[0] - step / 2 - 0.02 < np.arange(SLICES)) & (np.arange(SLICES) < heights[-1] + step / 2 + 0.02)
    assert set(found) <= set(np.flatnonzero(inside)) or len(found) == 1


@given(st.lists(st.integers(-60, 860), min_size=1, max_size=25, unique=True), st.floats(0.2, 4), st.randoms())
def test_every_contour_is_used_or_counted_in_any_order(places: list[int], usual: float, random: Random) -> None:
    heights = [0.05 * place for place in places]
    found, region = filled(heights, usual)
    counted = sum(int(remark.split()[0]) for remark in region.remarks if re.match(r"\d+ contours? .*left out", remark))
    assert counted + len(set(found.values())) == len(heights)
    shuffled = random.sample(heights, len(heights))
    again, _ = filled(shuffled, usual)
    assert {k: shuffled[n] for k, n in again.items()} == {k: heights[n] for k, n in found.items()}


def test_planes_further_apart_than_slices_fill_those_between() -> None:
    found, region = filled([10, 12, 14])
    assert found == {10: 0, 11: 0, 12: 1, 13: 1, 14: 2, 15: 2}
    assert region.remarks == ["3 slices between contours filled by the nearest one"]
    found, _ = filled([10, 13, 16])
    assert found == {9: 0, 10: 0, 11: 0, 12: 1, 13: 1, 14: 1, 15: 2, 16: 2, 17: 2}
    # Slices of 2.5 mm, contours every 3 mm: none between is lost.
    found, _ = filled([10 + 1.2 * n for n in range(10)])
    assert sorted(found) == list(range(10, 22))


def test_missing_planes_stay_empty() -> None:
    found, region = filled([3, 4, 5, 9, 10, 11])
    assert list(found) == [3, 4, 5, 9, 10, 11]
    assert region.remarks == ["3 slices between its first and last without a contour left empty"]
    found, region = filled([10, 12, 14, 22, 24])
    assert sorted(found) == [10, 11, 12, 13, 14, 15, 22, 23, 24, 25]
    # Two contours give no rule, and planes that are very far apart give no rule.
    assert sorted(filled([10, 13])[0]) == [10, 13]
    assert sorted(filled([10, 16, 22])[0]) == [10, 16, 22]


def test_a_structure_without_a_step_of_its_own_has_that_of_the_others() -> None:
    others = [lay_out(sized([2, 5, 8], THICKNESS_MM), GRID), lay_out(sized([2, 6, 10], THICKNESS_MM), GRID)]
    assert usual_step(others, GRID) == pytest.approx(3)
    assert usual_step([], GRID) == 1
    assert sorted(filled([20], 3)[0]) == [19, 20, 21]
    assert sorted(filled([20, 23], 3)[0]) == list(range(19, 25))
    assert sorted(filled([20, 21], 3)[0]) == [20, 21]
    assert sorted(filled([20.4], 0.2)[0]) == [20]


def test_denser_planes_are_sampled() -> None:
    found, region = filled([9.6 + 0.2 * n for n in range(8)])
    assert found == {10: 2, 11: 7}
    assert region.remarks == ["6 contours between slices left out, as no slice is near enough"]
    # Thinner than a slice, and between two of them.
    assert filled([10.3, 10.4, 10.5])[0] == {10: 0}
    assert filled([-0.8, -0.7, -0.6])[0] == filled([39.6, 39.7, 39.8])[0] == {}


def test_contours_lie_across_any_axis_and_others_are_left_out() -> None:
    roi = sized([4, 5, 6], THICKNESS_MM)
    across = roi.contours[0][1][:, [2, 1, 0]] * [1, 1, 5]
    drawing = lay_out(roi._replace(contours=[*roi.contours, (False, across)]), GRID)
    assert (drawing.axis, len(drawing.contours)) == (2, 3)
    assert list(drawing.left_out.values()) == [1]
    turned = Grid(GRID.shape[::-1], GRID.affine @ np.eye(4)[[2, 1, 0, 3]])
    assert lay_out(roi, turned).axis == 0
    # Small contours may lie along slices that the rest of the structure was not drawn on.
    tilted = [(False, points + np.outer([0, 0, 1, 1], [0, 0, 5])) for _, points in roi.contours * 2]
    drawing = lay_out(roi._replace(contours=[*roi.contours, *tilted]), GRID)
    assert drawing.contours == []
    assert list(drawing.left_out.values()) == [6]
