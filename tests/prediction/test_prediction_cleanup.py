from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from volseg.config import CleanupConfig, parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.errors import ConfigError
from volseg.network.description import CleanupDecision
from volseg.network.file import Model
from volseg.prediction.cleanup import clean_labels, describe_cleanup, model_cleanup, resolve_cleanup

LABELS = (Label(3, "liver", (200, 0, 0)), Label(7, "spleen", (0, 200, 0)), Label(70000, "cyst", (0, 0, 200)))


def label_map(array: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> LabelMap:
    return LabelMap(array, Grid.from_spacing(array.shape, spacing), LABELS)


def blank(shape: tuple[int, int, int] = (12, 12, 12)) -> np.ndarray:
    return np.zeros(shape, dtype=np.int32)


def test_largest_component_is_kept_for_the_named_label_only() -> None:
    array = blank()
    array[1:5, 1:5, 1:5] = 3
    array[8, 8, 8] = 3
    array[9, 1, 1] = array[1, 9, 9] = 7
    cleaned = clean_labels(label_map(array), {"liver": CleanupConfig(largest_component=True)})
    assert cleaned.array[8, 8, 8] == 0
    assert np.count_nonzero(cleaned.array == 3) == 64
    assert np.count_nonzero(cleaned.array == 7) == 2
    assert cleaned.array.dtype == array.dtype
    assert array[8, 8, 8] == 3  # the input is left alone


def test_touching_at_an_edge_or_corner_is_not_connected() -> None:
    array = blank()
    array[1:3, 1:3, 1:3] = 3
    array[3, 3, 1] = array[3, 3, 3] = 3
    cleaned = clean_labels(label_map(array), CleanupConfig(largest_component=True))
    assert np.count_nonzero(cleaned.array) == 8


@pytest.mark.parametrize(("minimum_mm3", "left"), [(0, 13), (5.9, 13), (6.1, 12), (24, 12), (72, 12), (72.1, 0)])
def test_minimum_size_is_in_cubic_millimetres(minimum_mm3: float, left: int) -> None:
    array = blank()
    array[0:3, 0:2, 0:2] = 3  # 12 voxels of 6 mm3
    array[8, 8, 8] = 3  # 1 voxel
    cleaned = clean_labels(label_map(array, (1, 2, 3)), CleanupConfig(minimum_mm3=minimum_mm3))
    assert np.count_nonzero(cleaned.array) == left


def test_only_enclosed_background_is_filled() -> None:
    array = blank()
    array[2:9, 2:9, 2:9] = 3
    array[4:7, 4:7, 4:7] = 0  # a cavity
    array[5, 5, 5] = 7  # with another label inside
    array[3, 3, 2] = 0  # a pit in the surface
    cleaned = clean_labels(label_map(array), CleanupConfig(fill_holes=True)).array
    assert cleaned[4, 4, 4] == 3
    assert cleaned[5, 5, 5] == 7
    assert cleaned[3, 3, 2] == 0


def test_a_ring_is_filled_on_one_slice_but_a_tube_is_not() -> None:
    ring = blank((9, 9, 1))
    ring[2:7, 2:7] = 3
    ring[4, 4] = 0
    assert clean_labels(label_map(ring), CleanupConfig(fill_holes=True)).array[4, 4, 0] == 3
    tube = np.repeat(ring, 5, axis=2)
    assert clean_labels(label_map(tube), CleanupConfig(fill_holes=True)).array[4, 4, 2] == 0


def test_a_hole_closed_by_the_border_of_the_image_is_open() -> None:
    array = blank((5, 5, 5))
    array[0:3, 1:4, 1:4] = 3
    array[0:2, 2, 2] = 0
    assert clean_labels(label_map(array), CleanupConfig(fill_holes=True)).array[0, 2, 2] == 0


def test_specks_go_before_holes_are_filled() -> None:
    array = blank()
    array[1:8, 1:8, 1:8] = 3
    array[3:6, 3:6, 3:6] = 0
    array[4, 4, 4] = 7
    array[9:12, 9:12, 9:12] = 7
    steps = {"liver": CleanupConfig(fill_holes=True), "spleen": CleanupConfig(largest_component=True)}
    assert clean_labels(label_map(array), steps).array[4, 4, 4] == 3


def test_absent_labels_and_a_single_voxel_are_no_problem() -> None:
    everything = CleanupConfig(largest_component=True, minimum_mm3=1, fill_holes=True)
    assert not clean_labels(label_map(blank()), everything).array.any()
    one = np.full((1, 1, 1), 3)
    assert clean_labels(label_map(one), everything).array[0, 0, 0] == 3


def test_unknown_names_and_negative_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"names kidney, lung; the labels are liver, spleen, cyst"):
        clean_labels(label_map(blank()), {"lung": CleanupConfig(), "kidney": CleanupConfig()})
    with pytest.raises(ConfigError, match=r"cleanup.liver.minimum_mm3: Input should be greater than or equal to 0"):
        parse_config({"cleanup": {"liver": {"minimum_mm3": -1}}})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_agrees_with_scipy_on_the_whole_array(seed: int) -> None:
    random = np.random.default_rng(seed)
    array = np.where(random.random((6, 7, 5)) < 0.55, 3, 0).astype(np.int32)
    filled = clean_labels(label_map(array), {"liver": CleanupConfig(fill_holes=True)}).array == 3
    assert np.array_equal(filled, ndimage.binary_fill_holes(array == 3))
    largest = clean_labels(label_map(array), {"liver": CleanupConfig(largest_component=True)}).array == 3
    components, count = ndimage.label(array == 3)
    sizes = ndimage.sum_labels(array == 3, components, range(1, count + 1))
    assert np.array_equal(largest, components == 1 + np.argmax(sizes))


def test_a_models_clean_up_is_what_was_decided_under_what_was_set() -> None:
    def decision(**settings: Any) -> CleanupDecision:
        step = CleanupConfig(**settings).model_dump()
        return CleanupDecision(**step, cases=9, dice_before=0.8, dice_after=0.9)

    decided = {"liver": decision(largest_component=True), "spleen": decision(), "cyst": decision(minimum_mm3=2)}
    config = parse_config({"cleanup": {"cyst": {"fill_holes": False}}})
    model = Model(config, LABELS, ("CT",), {}, cleanup=decided)
    cyst = CleanupConfig(minimum_mm3=2, fill_holes=False)
    assert model_cleanup(model) == {"liver": CleanupConfig(largest_component=True), "cyst": cyst}
    assert model_cleanup(replace(model, cleanup={})) == {"cyst": CleanupConfig(fill_holes=False)}
    off = CleanupConfig(largest_component=False, minimum_mm3=0, fill_holes=False)
    assert set(model_cleanup(model, {"*": off}).values()) == {off}
    assert model_cleanup(model, {"liver": CleanupConfig(fill_holes=True)})["liver"] == CleanupConfig(
        largest_component=True, fill_holes=True
    )


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (CleanupConfig(), "nothing"),
        (CleanupConfig(largest_component=True), "largest component"),
        (CleanupConfig(largest_component=True, fill_holes=True), "largest component, holes filled"),
        (CleanupConfig(minimum_mm3=12.3456), "without pieces below 12.35 mm3"),
    ],
)
def test_a_clean_up_is_told_in_words(step: CleanupConfig, words: str) -> None:
    assert describe_cleanup(step) == words


def test_settings_are_combined_by_what_is_set() -> None:
    model = {"*": CleanupConfig(largest_component=True), "liver": CleanupConfig(minimum_mm3=5)}
    over = {"*": CleanupConfig(fill_holes=True), "spleen": CleanupConfig(largest_component=False)}
    assert resolve_cleanup(["liver", "spleen"], model, over) == {
        "liver": CleanupConfig(largest_component=True, minimum_mm3=5, fill_holes=True),
        "spleen": CleanupConfig(largest_component=False, fill_holes=True),
    }
    assert resolve_cleanup(["liver"], {}) == {}
    with pytest.raises(ConfigError, match=r"cleanup names dark; the labels are liver, and \* is all"):
        resolve_cleanup(["liver"], model | {"dark": CleanupConfig()})
