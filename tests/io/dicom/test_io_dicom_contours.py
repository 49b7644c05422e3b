from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import points_in_poly

from volseg.io.dicom import contours
from volseg.io.dicom.contours import fill_contours, fill_even_odd, join_holes, signed_area, trace_edges

Mask = NDArray[np.bool_]
Float = NDArray[np.float64]
MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))


def disc(radius: float, *, size: int = 25) -> Mask:
    row, column = np.indices((size, size)) - size // 2
    return np.asarray(row**2 + column**2 <= radius**2)


def box(low: float, high: float) -> Float:
    return np.array([(low, low), (high, low), (high, high), (low, high)], dtype=float)


def assert_valid(polygons: list[NDArray[np.float64]]) -> None:
    for polygon in polygons:
        assert len({tuple(point) for point in polygon}) == len(polygon), "a polygon passes a point twice"
        assert (polygon % 1 == 0.5).all()
        steps = np.roll(polygon, -1, axis=0) - polygon
        assert ((steps == 0).sum(axis=1) == 1).all(), "an edge is not along the pixels"
        assert ((steps == 0) != (np.roll(steps, -1, axis=0) == 0)).all(), "a point lies on a straight line"


# ------------------------------------------------------------------------------------------------------------ tracing


@pytest.mark.parametrize("radius", [3, 5, 10])
def test_a_disc_keeps_its_area(radius: float) -> None:
    mask = disc(radius)
    (outline,) = trace_edges(mask)
    assert signed_area(outline) == mask.sum()


def test_a_pixel_is_the_square_around_its_centre() -> None:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1, 3] = True
    (outline,) = trace_edges(mask)
    np.testing.assert_array_equal(outline, [(2.5, 0.5), (3.5, 0.5), (3.5, 1.5), (2.5, 1.5)])


def test_holes_turn_the_other_way_than_outer_boundaries() -> None:
    ring = disc(9) & ~disc(5) | disc(2)
    areas = sorted(signed_area(polygon) for polygon in trace_edges(ring))
    assert areas == [-disc(5).sum(), disc(2).sum(), disc(9).sum()]


@pytest.mark.parametrize("flip", [1, -1])
def test_pixels_that_touch_by_a_corner_are_two_outlines(flip: int) -> None:
    mask = np.eye(2, dtype=bool)[::flip]
    for filled, area in ((mask, 1), (~np.pad(mask, 1), -1)):
        areas = [signed_area(polygon) for polygon in trace_edges(filled)]
        assert areas.count(area) == 2
        assert_valid(trace_edges(filled))


def test_a_region_that_touches_itself_is_an_outline_and_a_hole() -> None:
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=bool)
    assert sorted(signed_area(polygon) for polygon in trace_edges(mask)) == [-1, 8]
    assert_valid(trace_edges(mask))


@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks(value: bool) -> None:
    mask = np.full((3, 5), value)
    assert [signed_area(polygon) for polygon in trace_edges(mask)] == ([15] if value else [])
    np.testing.assert_array_equal(fill_even_odd(trace_edges(mask), mask.shape), mask)


@given(MASKS)
@settings(deadline=None)
def test_any_mask_returns_from_its_outlines(mask: Mask) -> None:
    polygons = trace_edges(mask)
    assert_valid(polygons)
    assert sum(map(signed_area, polygons)) == mask.sum()
    np.testing.assert_array_equal(fill_even_odd(polygons, mask.shape), mask)
    np.testing.assert_array_equal(fill_contours(polygons, mask.shape), mask)


# ------------------------------------------------------------------------------------------------------------ keyholes


@given(MASKS)
@settings(deadline=None)
def test_keyholes_keep_every_mask_whether_readers_add_or_subtract(mask: Mask) -> None:
    polygons = trace_edges(mask)
    joined = join_holes(polygons)
    assert len(joined) == sum(signed_area(polygon) > 0 for polygon in polygons)
    assert sum(map(signed_area, joined)) == mask.sum()
    counts = sum((fill_even_odd([p], mask.shape).astype(int) for p in joined), np.zeros(mask.shape, dtype=int))
    np.testing.assert_array_equal(counts, mask)
    np.testing.assert_array_equal(fill_contours(joined, mask.shape), mask)


def test_many_nested_holes_in_a_real_sized_slice() -> None:
    blobs = ndimage.gaussian_filter(np.random.default_rng(1).random((200, 230)), 2) > 0.5
    joined = join_holes(trace_edges(blobs))
    assert all(signed_area(polygon) > 0 for polygon in joined)
    np.testing.assert_array_equal(fill_even_odd(joined, blobs.shape), blobs)


def test_a_channel_goes_there_and_back_between_pixel_centres() -> None:
    (outline,) = join_holes(trace_edges(np.pad([[0]], 1, constant_values=1) > 0))
    expected = [(-0.5, -0.5), (2.5, -0.5), (2.5, 2.5), (-0.5, 2.5), (-0.5, 0.5)]
    expected += [(0.5, 0.5), (0.5, 1.5), (1.5, 1.5), (1.5, 0.5), (0.5, 0.5), (-0.5, 0.5)]
    np.testing.assert_array_equal(outline, expected)


# ---------------------------------------------------------------------------------------------------------- rasterising


def distance_to_outline(polygon: Float, point: Float) -> float:
    """Distance of a point from the nearest edge of a polygon, pixels."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    along = ((point - polygon) * edges).sum(axis=1) / (edges**2).sum(axis=1)
    nearest = polygon + along.clip(0, 1)[:, None] * edges
    return float(np.linalg.norm(nearest - point, axis=1).min())


@given(st.integers(0, 10**6))
@settings(deadline=None)
def test_any_polygon_against_another_implementation(seed: int) -> None:
    random = np.random.default_rng(seed)
    polygon = random.uniform(-3, 15, (random.integers(3, 9), 2))
    column, row = np.meshgrid(np.arange(12), np.arange(10))
    expected = points_in_poly(np.column_stack([column.ravel(), row.ravel()]), polygon).reshape(10, 12)
    found = fill_even_odd([polygon], (10, 12))
    assert not (expected & ~found).any()
    # Centres within 0.001 pixel of the outline are inside by rule.
    for y, x in np.argwhere(found & ~expected):
        assert distance_to_outline(polygon, np.array([x, y])) < 1.5e-3


def test_centres_on_an_outline_are_inside_whatever_the_last_digits() -> None:
    for noise in (0, 1e-4, -1e-4):
        np.testing.assert_array_equal(
            fill_even_odd([box(2 + noise, 5 + noise)], (8, 8)), fill_even_odd([box(1.9, 5.1)], (8, 8))
        )
    diamond = np.array([(4.0, 1.0), (7.0, 4.0), (4.0, 7.0), (1.0, 4.0)])
    assert fill_even_odd([diamond], (9, 9)).sum() == 25
    assert fill_even_odd([diamond + np.array([2e-3, 0])], (9, 9)).sum() == 25 - 7
    line = np.array([(1.0, 3.0), (6.0, 3.0)])
    assert fill_even_odd([line], (8, 8)).sum() == 6


def test_the_rim_of_a_hole_is_inside() -> None:
    # As outlines through the centres of a region's own outermost pixels have it.
    for fill in (fill_even_odd, fill_contours):
        mask = fill([box(0, 8), box(3, 5)], (9, 9))
        assert mask.sum() == 81 - 1
        assert not mask[4, 4]


def test_what_lies_outside_is_cut_off() -> None:
    assert fill_even_odd([box(-1e7, 1e7)], (4, 5)).all()
    for polygon in (box(20, 30), box(-9, -2), box(4.6, 4.9), np.zeros((0, 2))):
        assert not fill_even_odd([polygon], (4, 5)).any()
    assert not fill_even_odd([], (4, 5)).any()


def test_long_outlines_are_taken_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((40, 50)) < 0.5
    monkeypatch.setattr(contours, "_CHUNK", 7)
    np.testing.assert_array_equal(fill_even_odd(join_holes(trace_edges(mask)), mask.shape), mask)


# ------------------------------------------------------------------------------------------- several on one slice


def test_nested_contours_are_holes_and_islands_in_any_order() -> None:
    nested = [box(0.5, 11.5), box(2.5, 9.5), box(4.5, 7.5)]
    expected = 121 - 49 + 9
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        assert fill_contours([nested[n] for n in order], (14, 14)).sum() == expected


def test_overlapping_contours_are_one_region() -> None:
    overlapping = [box(0.5, 6.5), box(3.5, 9.5)]
    assert fill_contours(overlapping, (12, 12)).sum() == 36 + 36 - 9
    assert fill_even_odd(overlapping, (12, 12)).sum() == 36 + 36 - 18


def test_a_contour_given_twice_counts_once() -> None:
    again = np.roll(box(0.5, 6.5), 2, axis=0)[::-1]
    assert fill_contours([box(0.5, 6.5), again], (9, 9)).sum() == 36


@pytest.mark.parametrize(
    "change", [lambda p: np.vstack([p, p[:1]]), lambda p: p + 1e-3, lambda p: p[::-1], lambda p: p]
)
def test_a_contour_that_is_nearly_given_twice_counts_once(change) -> None:
    square = np.array([[1.5, 1.5], [16.5, 1.5], [16.5, 16.5], [1.5, 16.5]])
    assert fill_contours([square, change(square)], (20, 20)).sum() == 225
    hole = np.array([[4.5, 4.5], [8.5, 4.5], [8.5, 8.5], [4.5, 8.5]])
    assert fill_contours([square, hole, change(hole)], (20, 20)).sum() == 225 - 16
