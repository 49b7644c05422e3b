"""A label map that was decoded comes back as it was, and is decoded again only if its files have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_dataset import LABELS, write_dataset

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.datasets import Case, check_dataset, read_dataset, read_reference
from volseg.datasets.packed import PackedLabels
from volseg.io import read_label_layers, write


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_was_packed_comes_back(dtype: Any, order: Any) -> None:
    grid = Grid.from_spacing((5, 4, 3), (1, 2, 3))
    values = np.random.default_rng(0).choice([0, 2, 7], size=grid.shape)
    labels = LabelMap(np.asarray(values, dtype=dtype, order=order), grid, LABELS)
    found = PackedLabels.pack(labels, "state").unpack()
    np.testing.assert_array_equal(found.array, labels.array)
    assert (found.array.dtype, found.array.strides) == (labels.array.dtype, labels.array.strides)
    assert (found.grid, found.labels) == (grid, LABELS)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Label maps that are decoded, as they are."""
    paths: list[Path] = []

    def watched(path: Path, **settings: Any) -> LabelMap:
        paths.append(path)
        return read_label_layers(path, **settings)

    monkeypatch.setattr("volseg.datasets.references.read_label_layers", watched)
    return paths


def test_a_checked_dataset_has_decoded_its_label_maps(dataset_folder: Path, decoded: list[Path]) -> None:
    dataset = read_dataset(dataset_folder)
    assert decoded == []
    checked = check_dataset(dataset)
    assert decoded == [case.label for case in dataset.cases]
    assert checked == dataset
    for case in checked.cases:
        assert read_reference(case).labels == LABELS
    assert len(decoded) == 6
    read_reference(dataset.cases[0])
    assert len(decoded) == 7


def test_a_dataset_without_names_has_decoded_them_already(tmp_path: Path, decoded: list[Path]) -> None:
    folder = write_dataset(tmp_path / "Plain")
    (folder / "dataset.json").unlink()
    checked = check_dataset(read_dataset(folder))
    assert [read_reference(case).labels for case in checked.cases] == [LABELS] * 6
    assert len(decoded) == 6


@pytest.mark.parametrize("changed", ["content", "time"])
def test_a_file_that_has_changed_is_decoded_again(changed: str, dataset_folder: Path, decoded: list[Path]) -> None:
    case: Case = check_dataset(read_dataset(dataset_folder)).cases[0]
    assert case.label is not None
    if changed == "time":
        os.utime(case.label, (1e9, 1e9))
        assert read_reference(case).labels == LABELS
    else:
        other = (Label(3, "other", (1, 2, 3)),)
        grid = read_reference(case).grid
        write(LabelMap(np.full(grid.shape, 3, np.uint8), grid, other), case.label)
        assert (read_reference(case).array == 3).all()
    assert len(decoded) == 7
