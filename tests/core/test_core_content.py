"""The box of what is not empty."""

from __future__ import annotations

import tracemalloc
from itertools import permutations, product
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from volseg.core.content import content_box, crop, crop_labels, whole_box
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume

SHAPE = (9, 11, 13)
INSIDE = (slice(3, 6), slice(2, 7), slice(4, 12))


def padded(value: float, dtype: str = "int16") -> NDArray[np.generic]:
    scan = np.full(SHAPE, value, dtype=dtype)
    scan[INSIDE] = np.random.default_rng(0).integers(1, 100, scan[INSIDE].shape)
    return scan


@pytest.mark.parametrize(("value", "dtype"), [(0, "uint8"), (-1024, "int16"), (-2000, "float32"), (0.1, "float32")])
def test_borders_of_any_one_value_are_left_out(value: float, dtype: str) -> None:
    assert content_box([padded(value, dtype)]) == INSIDE


def test_the_box_does_not_depend_on_how_the_scan_is_stored() -> None:
    scan = padded(0)
    for order, backwards in product(permutations(range(3)), product((False, True), repeat=3)):
        flipped = tuple(axis for axis in range(3) if backwards[axis])
        turned = np.flip(scan.transpose(order), flipped)
        expected = [INSIDE[axis] for axis in order]
        for axis in flipped:
            size = turned.shape[axis]
            expected[axis] = slice(size - expected[axis].stop, size - expected[axis].start)
        for stored in (turned, turned.copy("F"), turned.copy("C")):
            assert content_box([stored]) == tuple(expected)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("is_last", [False, True])
def test_one_side_that_is_empty_is_enough(axis: int, is_last: bool) -> None:
    scan = np.random.default_rng(0).integers(1, 100, SHAPE)
    part = [slice(0, size) for size in SHAPE]
    part[axis] = slice(SHAPE[axis] - 4, None) if is_last else slice(0, 4)
    scan[tuple(part)] = 0
    expected = [slice(0, size) for size in SHAPE]
    expected[axis] = slice(0, SHAPE[axis] - 4) if is_last else slice(4, SHAPE[axis])
    assert content_box([scan]) == tuple(expected)


def test_empty_slices_between_others_stay() -> None:
    scan = np.random.default_rng(0).integers(1, 100, SHAPE)
    scan[0] = scan[4:6] = 0
    assert content_box([scan]) == (slice(1, SHAPE[0]), slice(0, SHAPE[1]), slice(0, SHAPE[2]))


@pytest.mark.parametrize("value", [0, -1024, 7.5, np.nan])
def test_a_scan_of_one_value_is_whole(value: float) -> None:
    assert content_box([np.full(SHAPE, value)]) == whole_box(SHAPE)


def test_noise_is_not_empty() -> None:
    scan = padded(0).astype(np.float32) + np.random.default_rng(1).normal(0, 1e-3, SHAPE)
    assert content_box([scan]) == whole_box(SHAPE)


def test_borders_that_are_not_finite_are_not_empty() -> None:
    assert content_box([padded(np.inf, "float32")]) == whole_box(SHAPE)


def test_a_body_of_one_value_is_not_taken_for_a_border() -> None:
    scan = np.zeros(SHAPE, dtype=np.uint8)
    scan[INSIDE] = 50
    assert content_box([scan]) == INSIDE
    scan[:] = 50  # as most faces are
    scan[1:, 1:-1, 1:-1] = 0
    scan[4, 5, 6] = 9
    assert content_box([scan]) == (slice(1, 9), slice(1, 10), slice(1, 12))


def test_what_any_channel_shows_is_in_the_box_and_each_has_its_own_border() -> None:
    first, second = np.zeros(SHAPE), np.full(SHAPE, -1000.0)
    first[4, 5, 6], second[6, 5, 7] = 1, 1
    assert content_box([first, second]) == (slice(4, 7), slice(5, 6), slice(6, 8))
    assert content_box([first, np.zeros(SHAPE)]) == (slice(4, 5), slice(5, 6), slice(6, 7))


def test_labelled_voxels_are_in_the_box() -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[8, 0, 5] = 3
    assert content_box([padded(0)], labels) == (slice(3, 9), slice(0, 7), slice(4, 12))
    assert content_box([padded(0)], np.zeros(SHAPE, dtype=np.uint8)) == INSIDE


def test_a_part_lies_where_it_was() -> None:
    grid = Grid(SHAPE, np.array([[0, -2.0, 0, 5], [1.0, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]]))
    scan = Volume(padded(0), grid, name="t1", modality="MR", unit=None, source="files")
    part = crop(scan, INSIDE)
    assert np.shares_memory(part.array, scan.array)
    assert (part.name, part.modality, part.source) == ("t1", "MR", None)
    np.testing.assert_allclose(part.grid.to_world((1, 1, 1)), grid.to_world((4, 3, 5)))
    labels = LabelMap((scan.array > 50).astype(np.uint8), grid, (Label(1, "bright", (1, 2, 3)),))
    cut = crop_labels(labels, INSIDE)
    assert cut.labels == labels.labels
    assert cut.grid.is_close(part.grid)
    np.testing.assert_array_equal(cut.array, labels.array[INSIDE])


@pytest.mark.parametrize("order", ["C", "F"])
def test_it_takes_little_memory_whatever_the_order(order: Literal["C", "F"]) -> None:
    scan = np.zeros((60, 70, 80), dtype=np.int16, order=order)
    scan[10:50, 10:60, 10:70] = 7
    content_box([scan])  # what is imported is not counted
    tracemalloc.start()
    try:
        content_box([scan])
        assert tracemalloc.get_traced_memory()[1] < scan.nbytes / 10
    finally:
        tracemalloc.stop()
