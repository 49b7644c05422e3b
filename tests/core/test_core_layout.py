"""A copy has its axes where the array had them in memory: sums in another order would differ in the last bits."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from volseg.core.layout import Layout

STEPS = list(product((1, -1), repeat=3))


@pytest.mark.parametrize("axes", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_a_copy_lies_in_memory_as_the_array_does(axes: tuple[int, ...], steps: tuple[int, ...]) -> None:
    turned = np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(axes)
    array = turned[tuple(slice(None, None, step) for step in steps)]
    layout = Layout.of(array)
    ordered = layout.in_memory_order(array)
    assert ordered.flags.c_contiguous
    copy = layout.restore(ordered.copy())
    np.testing.assert_array_equal(copy, array)
    assert copy.strides == array.strides


def test_gaps_are_seen() -> None:
    channels = np.arange(48).reshape(2, 3, 4, 2)
    array = channels[..., 1]
    layout = Layout.of(array)
    assert not layout.in_memory_order(array).flags.c_contiguous
    np.testing.assert_array_equal(layout.restore(layout.in_memory_order(array).copy()), array)


def test_single_slices_and_nothing() -> None:
    for array in (np.ones((1, 5, 1)), np.asfortranarray(np.ones((4, 1, 3))), np.ones((0, 2, 3))):
        layout = Layout.of(array)
        np.testing.assert_array_equal(layout.restore(layout.in_memory_order(array).copy()), array)
