from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

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
