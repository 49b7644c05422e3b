from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.planes import PLANES, Plane
from volseg.core.slices import NORMAL_AXIS, in_plane, neighbour_indices, stack_slices


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("lead", [(), (2,), (2, 6)])
def test_what_is_written_into_slices_is_in_the_volume(plane: Plane, lead: tuple[int, ...]) -> None:
    array = np.arange(np.prod(lead, dtype=int) * 60).reshape(*lead, 3, 4, 5)
    stack = stack_slices(array, plane)
    assert np.shares_memory(stack, array)
    written = np.zeros_like(array)
    stack_slices(written, plane)[...] = stack
    assert np.array_equal(written, array)


@pytest.mark.parametrize("plane", PLANES)
def test_slices_are_cut_across_the_planes_normal(plane: Plane) -> None:
    array = np.arange(60).reshape(3, 4, 5)  # in RAS order
    stack = stack_slices(array, plane)
    for number, one in enumerate(stack):
        assert np.array_equal(one, array.take(number, axis=NORMAL_AXIS[plane]))
    assert stack.shape[1:] == tuple(array.shape[axis] for axis in in_plane(plane))


def test_the_normals_are_those_of_anatomy() -> None:
    assert NORMAL_AXIS == {"sagittal": 0, "coronal": 1, "axial": 2}
    assert [in_plane(plane) for plane in PLANES] == [(0, 1), (0, 2), (1, 2)]


def test_neighbours_surround_each_slice_and_repeat_at_the_ends() -> None:
    assert neighbour_indices(np.array([0, 2, 4]), 5, 2).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [2, 3, 4, 4, 4]]
    assert neighbour_indices(np.array([0]), 1, 3).tolist() == [[0] * 7]
    assert neighbour_indices(np.array([3, 1]), 5, 0).tolist() == [[3], [1]]


@given(st.integers(1, 30), st.integers(0, 5))
def test_the_middle_is_the_slice_itself(count: int, neighbours: int) -> None:
    found = neighbour_indices(np.arange(count), count, neighbours)
    assert found.shape == (count, 2 * neighbours + 1)
    assert np.array_equal(found[:, neighbours], np.arange(count))
    assert found.min() >= 0
    assert found.max() < count
    assert np.isin(np.diff(found, axis=1), (0, 1)).all()
