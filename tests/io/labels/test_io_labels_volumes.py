"""Label maps of several volumes: masks become labels, and of other maps one volume can be chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.errors import AmbiguousError, InputError
from volseg.io import read, read_label_layers, read_labels
from volseg.io.images.nifti import write_nifti
from volseg.io.labels.table import write_label_table

GRID = Grid.from_spacing((5, 4, 3), (1, 2, 3), (7, 8, 9))


def saved(path: Path, array: np.ndarray) -> Path:
    write_nifti(array, GRID, path)
    return path


@given(masks=arrays(np.uint8, st.tuples(*map(st.just, GRID.shape), st.integers(2, 5)), elements=st.integers(0, 1)))
def test_any_masks_come_back_as_labels_of_their_numbers(tmp_path_factory, masks: np.ndarray) -> None:
    path = saved(tmp_path_factory.getbasetemp() / "masks.nii", masks)
    layers = read_label_layers(path)
    assert sorted(label.value for layer in layers for label in layer.labels) == list(range(1, masks.shape[3] + 1))
    for layer in layers:
        assert layer.grid.is_close(GRID)
        for label in layer.labels:
            np.testing.assert_array_equal(layer.array == label.value, masks[..., label.value - 1] == 1)
    if masks.sum(axis=3).max() <= 1:
        assert len(layers) == 1  # apart, so one label map


def test_values_of_their_own_are_kept_and_others_are_numbers(tmp_path: Path) -> None:
    masks = np.zeros((*GRID.shape, 3), np.uint8)
    masks[0, ..., 0], masks[1, ..., 2] = 7, 3
    assert [label.value for label in read_labels(saved(tmp_path / "own.nii", masks)).labels] == [3, 7]
    masks[masks > 0] = 255
    found = read_labels(saved(tmp_path / "same.nii.gz", masks))
    assert [label.name for label in found.labels] == ["label_1", "label_2", "label_3"]
    assert (found.array[0] == 1).all()
    assert (found.array[1] == 3).all()


def test_names_come_from_a_table_beside_or_given_and_some_can_be_chosen(tmp_path: Path) -> None:
    path = saved(tmp_path / "masks.nii", np.ones((*GRID.shape, 2), np.uint8))
    write_label_table([Label(1, "liver", (1, 2, 3)), Label(2, "lesion", (4, 5, 6))], tmp_path / "masks.tsv")
    assert [label.name for layer in read_label_layers(path) for label in layer.labels] == ["liver", "lesion"]
    assert [label.name for label in read_labels(path, only=["lesion"]).labels] == ["lesion"]
    with pytest.raises(AmbiguousError, match=r"labels overlap, .* into 2: liver; lesion; choose .*--only"):
        read_labels(path)
    write_label_table([Label(1, "a", (1, 2, 3)), Label(2, "b", (4, 5, 6))], tmp_path / "other.tsv")
    (layer,) = read_label_layers(path, labels=tmp_path / "other.tsv", only=["B"])
    assert [label.name for label in layer.labels] == ["b"]


@pytest.mark.parametrize("kind", ["several values", "fractions", "negative"])
def test_of_what_is_no_mask_one_volume_is_chosen_by_name_or_number(tmp_path: Path, kind: str) -> None:
    volumes = np.zeros((*GRID.shape, 3), np.float32 if kind == "fractions" else np.int16)
    volumes[0, 0, 0, 1] = {"several values": 2, "fractions": 0.5, "negative": -1}[kind]
    volumes[1, 0, 0, 1] = volumes[2, ..., 2] = 1
    path = saved(tmp_path / "time.nii.gz", volumes)
    message = r"holds 3 volumes \(time_0, time_1, time_2\), and not all are masks .* name or number \(--series\)"
    with pytest.raises(AmbiguousError, match=message):
        read_label_layers(path)
    for series in ("time_2", "2"):
        assert (read_labels(path, series=series).array == volumes[..., 2]).all()
        assert (read(path, series=series).array == volumes[..., 2]).all()
    with pytest.raises(InputError, match="has no volume '3'; expected one of time_0, time_1, time_2"):
        read_labels(path, series="3")
