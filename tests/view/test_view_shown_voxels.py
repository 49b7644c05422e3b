from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.view.greyscale import grey_levels
from volseg.view.shown_voxels import Shown


def noise(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Volume:
    values = np.random.default_rng(1).integers(0, 1000, shape, dtype=np.int16)
    return Volume(values, Grid.from_spacing(shape, spacing, (5, 6, 7)), modality="MR")


def test_the_levels_hold_the_values_of_a_ct_to_a_few_hu() -> None:
    values = np.arange(-1024, 3072, dtype=np.int16).reshape(64, 64, 1)
    volume = Volume(values, Grid.from_spacing(values.shape), modality="CT")
    levels = grey_levels(volume)
    assert len(levels) == 256
    assert (np.diff(levels) > 0).all()
    shown = levels[Shown.all_of(volume.grid).levels_of(volume, levels)]
    error = np.abs(shown - values)
    soft = (values >= -160) & (values <= 240)
    assert error[soft].max() <= 2
    assert error.max() <= 20


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan])
def test_constant_scans_have_levels(value: float) -> None:
    volume = Volume(np.full((4, 4, 4), value), Grid.from_spacing((4, 4, 4)))
    levels = grey_levels(volume)
    assert (np.diff(levels) > 0).all()
    Shown.all_of(volume.grid).levels_of(volume, levels)


def test_thick_slices_are_halved_in_plane_and_stay_in_place() -> None:
    volume = noise((9, 8, 4), (1, 1, 5))
    half = Shown.all_of(volume.grid).halved()
    assert half.grid.shape == (4, 4, 4)
    assert half.grid.spacing == pytest.approx((2, 2, 5))
    assert half.grid.to_world((0, 0, 0)) == pytest.approx((5.5, 6.5, 7))
    levels = np.arange(256.0) * 4
    mean = volume.array[2:4, 4:6, 1].mean()
    assert levels[half.levels_of(volume, levels)[1, 2, 1]] == pytest.approx(mean, abs=2)


def test_labels_on_another_grid_come_onto_the_scans_voxels(oblique_grid: Grid) -> None:
    array = np.zeros(oblique_grid.shape, np.uint8)
    array[4:9, 10:20, 2:8] = 3
    turned, grid = reorient(array[2:, :-1], oblique_grid.crop((2, 0, 0), _less_one(array.shape)), "SLP")
    shown = Shown.all_of(oblique_grid)
    expected = reorient(array, oblique_grid)[0].copy()
    assert np.array_equal(shown.values_of(LabelMap.from_array(turned, grid)), expected)


def _less_one(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[0], shape[1] - 1, shape[2]
