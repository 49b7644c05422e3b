from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import (
    Label,
    LabelMap,
    count_values,
    default_colour,
    keep_colours_apart,
    label_boxes,
    label_extent,
    present_values,
)
from volseg.core.resample import reorient
from volseg.errors import InputError

GRID = Grid.from_spacing((2, 3, 4))
LIVER, SPLEEN = Label(3, "liver", (200, 0, 0), "SCT:10200004"), Label(300, "spleen", (0, 200, 0))


def array_of(*values: int, dtype: str = "u2") -> np.ndarray:
    array = np.zeros((2, 3, 4), dtype=dtype)
    array.flat[: len(values)] = values
    return array


def test_values_are_kept_and_labels_sorted() -> None:
    array = array_of(3, 300, 300)
    labels = LabelMap(array, GRID, (SPLEEN, LIVER))
    assert labels.array is array
    assert labels.labels == (LIVER, SPLEEN)
    assert labels.mask(SPLEEN).sum() == 2
    assert labels.mask(LIVER).dtype == bool


def test_a_label_may_be_absent_from_the_array() -> None:
    assert LabelMap(array_of(), GRID, (LIVER, SPLEEN)).labels == (LIVER, SPLEEN)


def test_unnamed_values_are_named_on_demand_only() -> None:
    array = array_of(3, 7, 300)
    with pytest.raises(InputError, match=r"label values \[7, 300\] have no name; name them or use LabelMap.from_array"):
        LabelMap(array, GRID, (LIVER,))
    labels = LabelMap.from_array(array, GRID, labels=(LIVER,))
    assert [(label.value, label.name) for label in labels.labels] == [(3, "liver"), (7, "label_7"), (300, "label_300")]
    assert labels.labels[0].code == "SCT:10200004"


def test_a_mask_becomes_label_1() -> None:
    labels = LabelMap.from_array(array_of(1, 1).astype(bool), GRID)
    assert labels.array.dtype == np.uint8
    assert labels.labels == (Label(1, "label_1", default_colour(1)),)
    assert type(labels.labels[0].value) is int


def test_negative_values_are_refused() -> None:
    for make in (LabelMap.from_array, lambda array, grid: LabelMap(array, grid, ())):
        with pytest.raises(InputError, match=r"label map has the value -2; expected 0 for background and positive"):
            make(array_of(-2, 5, dtype="i2"), GRID)


@pytest.mark.parametrize("dtype", ["f4", "c8", "O"])
def test_only_integers_are_label_maps(dtype: str) -> None:
    for make in (LabelMap.from_array, lambda array, grid: LabelMap(array, grid, ())):
        with pytest.raises(InputError, match=r"label map has voxel type .*; expected integers"):
            make(np.zeros((2, 3, 4), dtype=dtype), GRID)


def test_wrong_shapes_and_repeated_labels_are_refused() -> None:
    with pytest.raises(InputError, match=r"label map shape \(2, 3\) does not fit the grid's \(2, 3, 4\)"):
        LabelMap(np.zeros((2, 3), dtype=int), GRID, ())
    with pytest.raises(InputError, match=r"label values given twice: \[3\]"):
        LabelMap(array_of(), GRID, (LIVER, Label(3, "other", (0, 0, 0))))
    with pytest.raises(InputError, match=r"label names given twice: \['liver'\]"):
        LabelMap(array_of(), GRID, (LIVER, Label(4, "liver", (0, 0, 0))))


@pytest.mark.parametrize(
    ("value", "name", "colour", "message"),
    [
        (0, "liver", (0, 0, 0), "label 'liver' has value 0; expected at least 1, as 0 is background"),
        (-3, "liver", (0, 0, 0), "label 'liver' has value -3; expected at least 1"),
        (1, "  ", (0, 0, 0), "label 1 has an empty name"),
        (1, "liver", (0, 0, 256), r"colour of label 'liver' is \(0, 0, 256\); expected three numbers 0 to 255"),
        (1, "liver", (0, 0), "expected three numbers 0 to 255"),
    ],
)
def test_impossible_labels_are_refused(value: int, name: str, colour: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Label(value, name, colour)  # type: ignore[arg-type]


def test_present_values_are_plain_integers_without_background() -> None:
    values = present_values(array_of(0, 3, 300, 3))
    assert values == {3, 300}
    assert all(type(value) is int for value in values)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "i8"])
def test_voxels_of_each_value_are_counted_without_background(dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 5, (4, 5, 6)).astype(dtype)[:, ::-1].transpose(2, 0, 1)
    counts = count_values(array)
    assert counts == {value: int((array == value).sum()) for value in range(1, 5)}
    assert counts[7] == 0
    assert not count_values(array * 0)


@pytest.mark.parametrize("largest", [2, 65535, 70000, 2**40])
@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_boxes_of_small_and_large_values(largest: int, dtype: str) -> None:
    assert label_boxes(array_of(0, 1, 0, largest, largest, 1, dtype=dtype)) == {
        1: (slice(0, 1), slice(0, 2), slice(1, 2)),
        largest: (slice(0, 1), slice(0, 2), slice(0, 4)),
    }
    assert label_boxes(array_of(dtype=dtype)) == {}


@pytest.mark.parametrize("largest", [5, 70000])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_boxes_are_the_same_in_any_order_in_memory(order: tuple[int, int, int], largest: int) -> None:
    array = np.zeros((4, 5, 6), dtype=np.int64)
    array[1:3, 2, 3:6], array[0, 1:4, 0] = 2, largest
    stored = np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
    for view in (stored, np.flip(np.ascontiguousarray(np.flip(array, 1)), 1)):
        assert label_boxes(view) == {
            2: (slice(1, 3), slice(2, 3), slice(3, 6)),
            largest: (slice(0, 1), slice(1, 4), slice(0, 1)),
        }


def test_default_colours_are_legal_and_neighbours_differ() -> None:
    colours = np.array([default_colour(value) for value in range(1, 120)])
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 60
    assert len({tuple(colour) for colour in colours.tolist()}) == len(colours)


def test_names_decide_on_colours_and_numbers_only_where_there_is_no_name() -> None:
    assert default_colour(1, "spleen") == default_colour(7, "Spleen") == (153, 88, 142)
    assert default_colour(1, "blob") == default_colour(7, "blob")
    for name in ("", " ", "label_7", "Segment 7", "segment_12", "roi_7"):
        assert default_colour(7, name) == default_colour(7), name


def test_equal_colours_are_changed_unless_they_were_chosen() -> None:
    red = (200, 0, 0)
    labels = [Label(n, name, red) for n, name in enumerate(["a", "b", "c", "label_4"], start=1)]
    apart = keep_colours_apart(labels, given={2})
    assert [label.colour for label in apart if label.value in (2, 4)] == [red, red]
    assert len({label.colour for label in apart}) == 3
    assert keep_colours_apart(labels[:1]) == (labels[0],)
    assert [label.colour for label in keep_colours_apart(labels, given={1, 2, 3})] == [red] * 4


def test_more_equal_colours_than_can_be_told_apart_stay() -> None:
    labels = [Label(n, f"liver{' ' * n}", (201, 113, 79)) for n in range(1, 200)]
    assert len({label.colour for label in keep_colours_apart(labels)}) > 50


def test_where_labels_are() -> None:
    image = Grid.from_spacing((20, 16, 12), (2, 1.5, 3), (-40, 30, 11))
    beside = Grid.from_spacing((20, 16, 12), (2, 1.5, 3), (-50, 30, 11))
    array = np.zeros(image.shape, np.uint8)
    array[3:12, 3:9, 3:9] = 1
    turned, grid = reorient(array, image, "SPL")
    extent, outside = label_extent([LabelMap.from_array(turned, grid)], image)
    assert extent == ((3, 11), (3, 8), (3, 8))
    assert outside == 0
    # Two of nine planes of the label are beyond the first voxel's outer edge, one just on it.
    extent, outside = label_extent([LabelMap.from_array(array, beside)], image)
    assert extent == ((-2, 6), (3, 8), (3, 8))
    assert outside == pytest.approx(2 / 9)
    assert label_extent([LabelMap.from_array(array * 0, image)], image) == (None, None)
