"""Labels that overlap in one label map: the smallest has the voxel, and every loss is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.merging import merge_layers, number_layers, renumber
from volseg.errors import InputError

GRID = Grid.from_spacing((4, 3, 2))
VALUES = (1, 2, 300, 70000)


def layer(masks: dict[int, np.ndarray]) -> LabelMap:
    """Return a label map; where masks overlap, the last counts."""
    array = np.zeros(GRID.shape, np.uint32)
    for value, mask in masks.items():
        array[mask] = value
    return LabelMap(array, GRID, tuple(Label(value, f"label {value}", (1, 2, 3)) for value in masks))


@given(
    masks=arrays(np.bool_, st.tuples(st.just(len(VALUES)), *map(st.just, GRID.shape))), order=st.permutations(VALUES)
)
def test_each_voxel_has_the_smallest_of_its_labels(masks: np.ndarray, order: list[int]) -> None:
    by_value = dict(zip(VALUES, masks, strict=True))
    sizes = {value: (int(mask.sum()), value) for value, mask in by_value.items()}
    merged, losses = merge_layers([layer({value: by_value[value]}) for value in order])
    expected = np.zeros(GRID.shape, int)
    for value in sorted(VALUES, key=lambda value: sizes[value], reverse=True):
        expected[by_value[value]] = value
    np.testing.assert_array_equal(merged.array, expected)
    counted = {}
    for loss in losses:
        assert loss.voxels == sizes[loss.label.value][0]
        for taker, count in loss.takers:
            counted[loss.label.value, taker.value] = count
    for loser in VALUES:
        for taker in set(VALUES) - {loser}:
            lost = by_value[loser] & (expected == taker)
            assert counted.pop((loser, taker), 0) == lost.sum()
    assert not counted


def test_one_layer_is_returned_as_it_is() -> None:
    only = layer({1: np.ones(GRID.shape, bool)})
    assert merge_layers([only]) == (only, ())
    assert number_layers([only])[0] is only


def test_what_is_said_of_a_loss() -> None:
    whole, part = np.ones(GRID.shape, bool), np.zeros(GRID.shape, bool)
    part[0, 0] = True
    _, (loss,) = merge_layers([layer({1: whole}), layer({2: part})])
    assert str(loss) == "label 1 gives 2 of its 24 voxels (8.33 %) to label 2 (2)"


def test_two_names_of_one_value() -> None:
    full = np.ones(GRID.shape, np.uint8)
    layers = [LabelMap(full, GRID, (Label(1, name, (1, 2, 3)),)) for name in ("a", "b")]
    with pytest.raises(InputError, match="labels 'a' and 'b' both have the value 1; give each its own"):
        merge_layers(layers)
    merged, _ = merge_layers(number_layers(layers))
    assert [(label.value, label.name) for label in merged.labels] == [(1, "a"), (2, "b")]


def test_new_values_by_name() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(GRID.shape) % 4
    labels = tuple(Label(value, name, (1, 2, 3)) for value, name in enumerate(("a", "b", "c"), 1))
    (found,) = renumber([LabelMap(array, GRID, labels)], {"a": Label(3, "A", (4, 5, 6)), "b": Label(1, "B", (7, 8, 9))})
    np.testing.assert_array_equal(found.array, np.array([0, 3, 1, 0])[array])
    assert [label.name for label in found.labels] == ["B", "A"]
