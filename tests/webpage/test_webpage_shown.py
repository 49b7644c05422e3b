from __future__ import annotations

import numpy as np

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.view.greyscale import grey_levels
from volseg.view.shown_voxels import Shown
from volseg.webpage.shown import choose_shown


def noise(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Volume:
    values = np.random.default_rng(1).integers(0, 1000, shape, dtype=np.int16)
    return Volume(values, Grid.from_spacing(shape, spacing, (5, 6, 7)), modality="MR")


def test_a_scan_that_does_not_fit_is_cropped_and_then_halved() -> None:
    volume = noise((120, 120, 30), (1, 1, 4))
    array = np.zeros(volume.grid.shape, np.uint8)
    array[40:60, 50:70, 10:20] = 1
    labels = LabelMap.from_array(array, volume.grid)
    levels = grey_levels(volume)

    def choose(room: int) -> Shown:
        return choose_shown(volume.grid, [(volume, levels)], [labels], room)

    assert choose(10**7).grid.shape == volume.grid.shape
    cropped = choose(200_000)
    assert cropped.is_cropped
    assert cropped.factors == (1, 1, 1)
    assert cropped.grid.shape == (60, 60, 20)
    halved = choose(40_000)
    assert halved.factors == (2, 2, 1)
    assert halved.values_of(labels).any()
    assert choose(1).grid.shape >= (1, 1, 1)


def test_without_a_scan_labels_stay_whole_however_little_room_there_is() -> None:
    grid = Grid.from_spacing((40, 40, 40))
    labels = LabelMap.from_array(np.ones(grid.shape, np.uint8), grid)
    assert choose_shown(grid, [], [labels], -1).grid.shape == grid.shape
