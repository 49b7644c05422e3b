from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError

GRID = Grid.from_spacing((2, 3, 4), (1, 1, 5))


@pytest.mark.parametrize("dtype", ["i2", ">i2", "u1", "f4", "f8", "?"])
def test_real_numbers_are_kept_as_they_are(dtype: str) -> None:
    array = np.ones((2, 3, 4), dtype=dtype)
    assert Volume(array, GRID).array is array


@pytest.mark.parametrize("dtype", ["c8", "O", "U3", "M8[s]"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(InputError, match=r"voxel type is .*; expected real numbers"):
        Volume(np.empty((2, 3, 4), dtype=dtype), GRID)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 1), (4, 3, 2)])
def test_the_array_must_fit_the_grid(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"array shape \(.*\) does not fit the grid's \(2, 3, 4\)"):
        Volume(np.zeros(shape), GRID)


def test_with_array_changes_nothing_else() -> None:
    scan = Volume(np.zeros((2, 3, 4)), GRID, name="t1", modality="MR", unit="HU", source=("uid",))
    other = scan.with_array(np.ones((2, 3, 4), dtype=np.int16))
    assert (other.name, other.modality, other.unit, other.source) == ("t1", "MR", "HU", ("uid",))
    assert other.grid is GRID
    assert other.array.dtype == np.int16
    assert scan.array.max() == 0
    with pytest.raises(InputError, match="does not fit"):
        scan.with_array(np.zeros((1, 1, 1)))


def test_a_volume_is_frozen_and_travels_between_processes() -> None:
    scan = Volume(np.arange(24).reshape(2, 3, 4), GRID, name="t1")
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        scan.name = "t2"  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(scan))  # noqa: S301
    assert np.array_equal(again.array, scan.array)
    assert again.grid.is_close(GRID)
