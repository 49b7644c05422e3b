from __future__ import annotations

import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest

from volseg.core.voxels import to_label_values
from volseg.errors import InputError
from volseg.io import read, read_labels


def save(path: Path, array: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


def test_nothing_around_labels_is_background(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = np.full((8, 8, 6), np.nan, np.float32)
    array[2:5, 2:5, 2:4], array[5:7] = 1, 2
    labels = read_labels(save(tmp_path / "a.nii", array))
    assert [int((labels.array == value).sum()) for value in (1, 2)] == [18, 96]
    assert "taken as background (0)" in caplog.text


def test_nothing_in_a_scan_is_its_lowest_value(tmp_path: Path) -> None:
    array = np.linspace(-1000, 500, 60, dtype=np.float32).reshape(5, 4, 3)
    array[0, 0, 0] = np.nan
    volume = read(save(tmp_path / "a.nii", array))
    assert volume.array[0, 0, 0] == volume.array.min() == np.nanmin(array)


def test_fractions_that_cannot_tell_labels_apart_are_refused(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6))
    array[:2], array[2:] = 16777217, 16777216
    with pytest.raises(InputError, match="as a fraction, which is exact only below 16777216; store labels as integers"):
        read_labels(save(tmp_path / "a.nii", array))
    whole = array.astype(np.int32)
    assert {label.value for label in read_labels(save(tmp_path / "b.nii", whole)).labels} == {16777216, 16777217}


@pytest.mark.parametrize("order", ["C", "F"])
def test_labels_stored_as_fractions_take_no_copies_of_them(order: str) -> None:
    array = np.zeros((128, 64, 128), np.float32, order=order)
    array[2:50, 3:40, 5:60] = 7.0004
    array[0, 0, 0] = -0.0004
    tracemalloc.start()
    labels = to_label_values(array, Path("a.nii"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, np.rint(array))
    assert peak < array.nbytes / 2


@pytest.mark.parametrize(("value", "message"), [(0.5, "has the value 0.5"), (-1, "has the label -1")])
def test_a_single_value_that_is_no_label_is_found(value: float, message: str) -> None:
    array = np.zeros((5, 4, 3), np.float32)
    array[4, 3, 2] = value
    with pytest.raises(InputError, match=message):
        to_label_values(array, Path("a.nii"))
