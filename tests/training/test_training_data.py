"""Cached cases and the sampler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from volseg.config import Config, load_config
from volseg.io import read_labels
from volseg.io.datasets import Dataset, read_dataset
from volseg.training.data import SliceSampler, cache_case
from volseg.training.plan import find_facts, make_plan


def planned(dataset: Dataset, *overrides: str) -> Config:
    return make_plan(load_config(overrides=overrides), dataset, [find_facts(case) for case in dataset.cases])


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_cache_holds_every_slice_and_class(dataset_folder: Path, tmp_path: Path, plane: str) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, f"preparation.plane={plane}", "preparation.spacing_mm=[1, 1]")
    if plane != "axial":
        config = planned(dataset, f"preparation.plane={plane}")
    case = dataset.cases[0]
    cached = cache_case(case, tmp_path / "cache", config=config, labels=dataset.labels)
    reference = read_labels(case.label)  # type: ignore[arg-type]
    # Values 2 and 7 are classes 1 and 2; no voxel is lost, whatever the plane.
    assert np.count_nonzero(cached.classes == 1) == np.count_nonzero(reference.array == 2)
    assert np.count_nonzero(cached.classes == 2) == np.count_nonzero(reference.array == 7)
    assert cached.image.shape == (1, *cached.classes.shape)
    assert abs(float(cached.image.mean())) < 0.1
    again = cache_case(case, tmp_path / "cache", config=config, labels=dataset.labels)
    np.testing.assert_array_equal(again.image, cached.image)


def test_resampled_classes_keep_their_area(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, "preparation.spacing_mm=[0.5, 0.5]")
    cached = cache_case(dataset.cases[0], tmp_path / "cache", config=config, labels=dataset.labels)
    reference = read_labels(dataset.cases[0].label)  # type: ignore[arg-type]
    assert cached.classes.shape == (8, 48, 40)
    for number, value in ((1, 2), (2, 7)):
        area = np.count_nonzero(cached.classes == number) * 0.25
        assert area == pytest.approx(np.count_nonzero(reference.array == value), rel=0.05)


def test_sampler_draws_labels_as_often_as_asked(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, "training.foreground_fraction=1.0", "training.batch_size=32", "preparation.neighbours=2")
    cases = [cache_case(case, tmp_path / "cache", config=config, labels=dataset.labels) for case in dataset.cases]
    sampler = SliceSampler(cases, config)
    images, classes = sampler.draw(np.random.default_rng(0))
    height, width = config.training.slice_size or (0, 0)
    assert images.shape == (32, 5, height, width)
    assert images.dtype == np.float32
    assert classes.shape == (32, height, width)
    assert classes.reshape(32, -1).any(axis=1).all()
    assert sampler.slices_per_epoch == sum(len(case.foreground) for case in cases) == 48


def test_crops_hold_the_label_when_asked(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, "training.foreground_fraction=1.0", "training.slice_size=[8, 8]", "network.levels=1")
    cases = [cache_case(case, tmp_path / "cache", config=config, labels=dataset.labels) for case in dataset.cases]
    _, classes = SliceSampler(cases, config).draw(np.random.default_rng(0))
    assert classes.shape[1:] == (8, 8)
    assert (classes.reshape(len(classes), -1) > 0).any(axis=1).mean() == 1.0
