"""Cached cases and the sampler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from volseg.config import Config, Plane, load_config
from volseg.io import read_labels
from volseg.io.datasets import Dataset, read_dataset
from volseg.slices import PLANES, stack_slices
from volseg.training.data import CachedCase, SliceSampler, cache_case
from volseg.training.plan import find_facts, make_plan

ALL_PLANES = "preparation.planes=[axial, coronal, sagittal]"


def planned(dataset: Dataset, *overrides: str) -> Config:
    return make_plan(load_config(overrides=overrides), dataset, [find_facts(case) for case in dataset.cases])


def cached_cases(dataset: Dataset, config: Config, folder: Path, plane: Plane) -> list[CachedCase]:
    return [cache_case(case, folder, config=config, labels=dataset.labels)[plane] for case in dataset.cases]


def test_cache_holds_every_slice_and_class_of_every_plane(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, ALL_PLANES)
    case = dataset.cases[0]
    cached = cache_case(case, tmp_path / "cache", config=config, labels=dataset.labels)
    assert tuple(cached) == PLANES
    reference = read_labels(case.label)  # type: ignore[arg-type]
    for plane, cut in cached.items():
        # Values 2 and 7 are classes 1 and 2; no voxel is lost, whatever the plane.
        np.testing.assert_array_equal(np.array([0, 2, 7])[cut.classes], stack_slices(reference.array, plane))
        assert cut.image.shape == (1, *cut.classes.shape)
        assert abs(float(cut.image.mean())) < 0.1
        assert [bool(s.any()) for s in cut.classes] == [n in cut.foreground for n in range(len(cut.classes))]


def test_the_cache_is_taken_as_it_is_and_completed_where_a_plane_is_missing(
    dataset_folder: Path, tmp_path: Path
) -> None:
    dataset, cache = read_dataset(dataset_folder), tmp_path / "cache"
    config, case = planned(dataset, ALL_PLANES), dataset.cases[0]
    first = cache_case(case, cache, config=config, labels=dataset.labels)
    written = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert sorted(written) == sorted(
        f"{case.name}.{plane}.{kind}.npy" for plane in PLANES for kind in ("image", "classes")
    )
    again = cache_case(case, cache, config=config, labels=dataset.labels)
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == written
    (cache / f"{case.name}.coronal.classes.npy").unlink()
    completed = cache_case(case, cache, config=config, labels=dataset.labels)
    for plane in PLANES:
        for other in (again, completed):
            np.testing.assert_array_equal(other[plane].image, first[plane].image)
            np.testing.assert_array_equal(other[plane].classes, first[plane].classes)


def test_resampled_classes_keep_their_area(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, "preparation.spacing_mm=[0.5, 0.5, 3]")
    cached = cache_case(dataset.cases[0], tmp_path / "cache", config=config, labels=dataset.labels)["axial"]
    reference = read_labels(dataset.cases[0].label)  # type: ignore[arg-type]
    assert cached.classes.shape == (8, 48, 40)
    for number, value in ((1, 2), (2, 7)):
        area = np.count_nonzero(cached.classes == number) * 0.25
        assert area == pytest.approx(np.count_nonzero(reference.array == value), rel=0.05)


@pytest.mark.parametrize("plane", PLANES)
def test_sampler_draws_labels_as_often_as_asked(dataset_folder: Path, tmp_path: Path, plane: Plane) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(
        dataset,
        ALL_PLANES,
        "training.foreground_fraction=1.0",
        "training.batch_size=32",
        "training.slice_size=[24, 20, 16]",
        "network.levels=2",
        "preparation.neighbours=2",
    )
    cases = cached_cases(dataset, config, tmp_path / "cache", plane)
    sampler = SliceSampler(cases, config, plane)
    images, classes = sampler.draw(np.random.default_rng(0))
    height, width = {"axial": (24, 20), "coronal": (24, 16), "sagittal": (20, 16)}[plane]
    assert images.shape == (32, 5, height, width)
    assert images.dtype == np.float32
    assert classes.shape == (32, height, width)
    assert classes.reshape(32, -1).any(axis=1).all()
    assert sampler.slices_per_epoch == sum(len(case.foreground) for case in cases)
    if plane == "axial":  # the bar is in every slice
        assert sampler.slices_per_epoch == 6 * 8


def test_crops_hold_the_label_when_asked(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, "training.foreground_fraction=1.0", "training.slice_size=[8, 8, 8]", "network.levels=1")
    cases = cached_cases(dataset, config, tmp_path / "cache", "axial")
    _, classes = SliceSampler(cases, config, "axial").draw(np.random.default_rng(0))
    assert classes.shape[1:] == (8, 8)
    assert (classes.reshape(len(classes), -1) > 0).any(axis=1).mean() == 1.0
