"""Scans are decoded once, and are read again only where they could not be kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from volseg.core.volume import Volume
from volseg.datasets import Case, read_dataset, read_images
from volseg.errors import UsageError
from volseg.training import kept_scans
from volseg.training.kept_scans import KeptScans
from volseg.training.loop import iterate_training, train


@pytest.fixture
def case(dataset_folder: Path) -> Case:
    return read_dataset(dataset_folder).cases[0]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cases that are decoded."""
    names: list[str] = []

    def read(case: Case) -> list[Volume]:
        names.append(case.name)
        return read_images(case)

    monkeypatch.setattr(kept_scans, "read_images", read)
    return names


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_scan_is_decoded_once_and_comes_back_as_it_was(case: Case, decoded: list[str], tmp_path: Path) -> None:
    scans = KeptScans(tmp_path / "scans")
    (first,) = scans.read_and_keep(case)
    (again,) = scans.read(case)
    assert decoded == [case.name]
    np.testing.assert_array_equal(again.array, first.array)
    assert (again.array.dtype, again.array.strides) == (first.array.dtype, first.array.strides)
    assert (again.grid, again.name, again.modality) == (first.grid, first.name, first.modality)
    assert files(tmp_path / "scans") == [f"{case.name}.0.npy"]
    assert scans.size == first.array.nbytes
    del again
    scans.remove(case)
    scans.remove(case)
    assert files(tmp_path / "scans") == []
    assert scans.size == 0
    scans.read(case)
    assert decoded == [case.name] * 2


def test_a_scan_that_has_changed_is_decoded_again(case: Case, decoded: list[str], tmp_path: Path) -> None:
    scans = KeptScans(tmp_path / "scans")
    scans.read_and_keep(case)
    os.utime(case.images[0], (1e9, 1e9))
    scans.read(case)
    assert decoded == [case.name] * 2


def test_without_room_nothing_is_kept(
    case: Case, decoded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, size = shutil.disk_usage(tmp_path), read_images(case)[0].array.nbytes
    monkeypatch.setattr("volseg.training.kept_scans.shutil.disk_usage", lambda _: usage._replace(free=2 * size - 1))
    scans = KeptScans(tmp_path / "scans")
    scans.read_and_keep(case)
    scans.read(case)
    assert decoded == [case.name] * 2
    assert files(tmp_path / "scans") == []


def test_voxels_with_gaps_are_not_kept(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy without the gaps would be sampled in another order, and be normalised a little differently."""
    (volume,) = read_images(case)
    channels = np.stack([volume.array] * 2, axis=-1)

    def interleaved(*_: Any) -> list[Volume]:
        return [volume.with_array(channels[..., 0])]

    monkeypatch.setattr(kept_scans, "read_images", interleaved)
    scans = KeptScans(tmp_path / "scans")
    scans.read_and_keep(case)
    assert scans.size == 0


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "old.0.npy").touch()
    KeptScans(tmp_path / "scans")
    assert not (tmp_path / "scans").exists()


def test_a_run_that_ends_while_it_is_prepared_leaves_no_scans(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    events = iterate_training(dataset_folder, run)
    next(events)
    assert files(run / "cache" / "scans") != []
    events.close()
    assert not (run / "cache" / "scans").exists()
    (run / "plan.yaml").write_text("training: {epochs: 3}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is another plan"):
        train(dataset_folder, run)
    assert not (run / "cache" / "scans").exists()
