"""Prepared cases."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import write_dataset

from volseg.config import Config, load_config
from volseg.core.planes import PLANES, Plane
from volseg.core.slices import stack_slices
from volseg.datasets import Dataset, read_dataset
from volseg.errors import OutputError
from volseg.io import read, read_labels, write
from volseg.prediction.inference import plane_weights
from volseg.training.data import CachedCase, cache_case, check_space, label_volumes, ranges_of
from volseg.training.facts import find_facts
from volseg.training.plan import make_plan

ALL_PLANES = "preparation.planes=[axial, coronal, sagittal]"


def planned(dataset: Dataset, *overrides: str) -> Config:
    return make_plan(load_config(overrides=overrides), dataset, [find_facts(case) for case in dataset.cases])


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
        assert list(cut.slices) == [1, 2]
        for number, held in cut.slices.items():
            assert [bool((s == number).any()) for s in cut.classes] == [n in held for n in range(len(cut.classes))]


def test_volumes_of_labels_are_kept_and_their_ranges_found(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config, found = planned(dataset), []
    for case in dataset.cases[:3]:
        cache_case(case, tmp_path / "cache", config=config, labels=dataset.labels)
        found.append(label_volumes(case, tmp_path / "cache"))
        reference = read_labels(case.label)  # type: ignore[arg-type]
        voxels = {label.name: np.count_nonzero(reference.array == label.value) for label in dataset.labels}
        assert found[-1] == pytest.approx({name: count * 0.003 for name, count in voxels.items()})
    bars = [volumes["bar"] for volumes in found]
    ranges = ranges_of([*found, {"ball": found[0]["ball"], "bar": 0.0}])
    assert ranges["bar"] == (min(bars), max(bars))  # of cases that have it
    assert min(bars) < max(bars)
    assert ranges_of([{"bar": 0.0}]) == {}


def test_the_cache_is_taken_as_it_is_and_made_anew_where_it_was_cut_off(dataset_folder: Path, tmp_path: Path) -> None:
    dataset, cache = read_dataset(dataset_folder), tmp_path / "cache"
    config, case = planned(dataset, ALL_PLANES), dataset.cases[0]
    first = cache_case(case, cache, config=config, labels=dataset.labels)
    written = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    arrays = {f"{case.name}.{plane}.{kind}.npy" for plane in PLANES for kind in ("image", "classes")}
    assert written.keys() == arrays | {f"{case.name}.done", f"{case.name}.volumes.json"}
    again = cache_case(case, cache, config=config, labels=dataset.labels)
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == written
    os.utime(case.label or "", (1e9, 1e9))  # corrected since, by an older file
    cache_case(case, cache, config=config, labels=dataset.labels)
    assert all(path.stat().st_mtime_ns > written[path.name] for path in cache.iterdir())
    (cache / f"{case.name}.done").unlink()
    (cache / f"{case.name}.coronal.classes.npy").unlink()
    completed = cache_case(case, cache, config=config, labels=dataset.labels)
    assert {path.name for path in cache.iterdir()} == written.keys()
    for plane in PLANES:
        for other in (again, completed):
            np.testing.assert_array_equal(other[plane].image, first[plane].image)
            np.testing.assert_array_equal(other[plane].classes, first[plane].classes)


@pytest.mark.parametrize(
    ("spacing", "planes"),
    [((1.0, 1.0, 1.2), PLANES), ((1.0, 1.0, 3.0), ("axial",)), ((1.0, 4.0, 1.0), ("coronal",))],
    ids=str,
)
def test_only_the_planes_along_which_a_scan_would_be_predicted_are_prepared(
    tmp_path: Path, spacing: tuple[float, float, float], planes: tuple[Plane, ...]
) -> None:
    dataset, cache = read_dataset(write_dataset(tmp_path / "set", cases=1, spacing=spacing)), tmp_path / "cache"
    config = planned(dataset, ALL_PLANES, "preparation.spacing_mm=[1, 1, 1]")
    (case,) = dataset.cases
    weights = plane_weights(config.preparation, read_labels(case.label).grid)  # type: ignore[arg-type]
    for _ in range(2):  # made, and then taken
        cached = cache_case(case, cache, config=config, labels=dataset.labels)
        assert tuple(cached) == tuple(weights) == planes
    assert len(list(cache.glob("*.npy"))) == 2 * len(planes)


def test_room_for_all_cases_is_looked_for_by_the_size_of_the_first(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, cache = read_dataset(dataset_folder), tmp_path / "cache"
    config = planned(dataset)
    cache_case(dataset.cases[0], cache, config=config, labels=dataset.labels)
    size = sum(path.stat().st_size for path in cache.iterdir())
    assert size > 24 * 20 * 8 * 3  # an image in 2 bytes a voxel, classes in 1
    usage = shutil.disk_usage(cache)

    def check_with(free: int) -> None:
        monkeypatch.setattr("volseg.training.data.shutil.disk_usage", lambda _path: usage._replace(free=free))
        check_space(cache, dataset.cases)

    check_with(free=5 * size)
    with pytest.raises(
        OutputError, match=r"cache: the prepared slices will take about 0\.0 GB, and 0\.0 GB are free; "
    ):
        check_with(free=5 * size - 1)
    cache_case(dataset.cases[1], cache, config=config, labels=dataset.labels)
    check_with(free=4 * size)  # existing files need no more room


def test_resampled_classes_keep_their_area(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, "preparation.spacing_mm=[0.5, 0.5, 3]")
    cached = cache_case(dataset.cases[0], tmp_path / "cache", config=config, labels=dataset.labels)["axial"]
    reference = read_labels(dataset.cases[0].label)  # type: ignore[arg-type]
    assert cached.classes.shape == (8, 48, 40)
    for number, value in ((1, 2), (2, 7)):
        area = np.count_nonzero(cached.classes == number) * 0.25
        assert area == pytest.approx(np.count_nonzero(reference.array == value), rel=0.05)


def test_a_padded_case_is_prepared_as_the_case_before_it_was_padded(tmp_path: Path) -> None:
    dataset = read_dataset(write_dataset(tmp_path / "set", cases=1))
    (case,) = dataset.cases
    config = planned(dataset, ALL_PLANES, "preparation.crop=true", "preparation.spacing_mm=[1, 1, 3]")
    before = cache_case(case, tmp_path / "before", config=config, labels=dataset.labels)["axial"]
    image, labels = read(case.images[0]), read_labels(case.label)  # type: ignore[arg-type]
    width = ((6, 0), (5, 7), (3, 1))
    start = [-first for first, _ in width]
    stop = [size + last for size, (_, last) in zip(image.grid.shape, width, strict=True)]
    grid = image.grid.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    array, classes = np.pad(image.array, width, constant_values=-1024), np.pad(labels.array, width)
    classes[2, 8, 3] = 7  # outside of what is not empty
    write(replace(image, array=array, grid=grid), case.images[0])
    write(replace(labels, array=classes, grid=grid), case.label)  # type: ignore[arg-type]
    after = cache_case(case, tmp_path / "after", config=config, labels=dataset.labels)["axial"]
    assert after.classes.shape == (8, 24 + 4, 20)  # four in front of the content for the label
    np.testing.assert_array_equal(after.classes[:, 4:], before.classes)
    assert after.classes[0, 0, 3] == 2
    inside = after.image[0, :, 4:].astype(float)
    assert np.corrcoef(inside.ravel(), before.image.astype(float).ravel())[0, 1] > 0.999


def test_a_case_without_labels_has_no_slices_that_hold_any() -> None:
    case = CachedCase.of(np.zeros((1, 3, 8, 8), dtype=np.float16), np.zeros((3, 8, 8), dtype=np.uint8))
    assert case.slices == {}
    assert len(case.foreground) == 0
