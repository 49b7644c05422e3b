from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.view import grey_block
from volseg.view.grey_block import GreyBlock, slice_corners
from volseg.view.greyscale import CT_WINDOWS
from volseg.view.shown_voxels import Shown


def ct(grid: Grid, hu: np.ndarray | int = 0) -> Volume:
    return Volume(np.broadcast_to(np.asarray(hu, np.int16), grid.shape).copy(), grid, modality="CT", unit="HU")


def test_slices_of_an_oblique_scan_lie_where_its_voxels_lie(oblique_grid: Grid) -> None:
    scan = ct(oblique_grid)
    scan.array[13, 4, 7] = 1000
    scan.array[0, 0, 0] = -1000
    block = GreyBlock.of(scan, Shown.all_of(oblique_grid))
    at = oblique_grid.to_world((13, 4, 7))
    place = np.rint(block.grid.to_voxel(at)).astype(int)
    for axis in range(3):
        picture = block.cut(axis, int(place[axis]), CT_WINDOWS["soft tissue"])
        row, column = np.unravel_index(picture.grey.argmax(), picture.grey.shape)
        down, right = picture.corners[3] - picture.corners[0], picture.corners[1] - picture.corners[0]
        height, width = picture.grey.shape
        seen = picture.corners[0] + (row + 0.5) / height * down + (column + 0.5) / width * right
        assert np.allclose(seen, at)


def test_a_turned_scan_has_the_same_slices(oblique_grid: Grid) -> None:
    hu = np.random.default_rng(1).integers(-200, 300, oblique_grid.shape)
    scan = ct(oblique_grid, hu)
    array, grid = reorient(scan.array, oblique_grid, "SLP")
    blocks = [GreyBlock.of(volume, Shown.all_of(volume.grid)) for volume in (scan, ct(grid, array))]
    first, second = (block.cut(2, 3, (-160.0, 240.0)) for block in blocks)
    assert np.array_equal(first.grey, second.grey)
    assert np.allclose(first.corners, second.corners)


@pytest.mark.parametrize(("window", "tolerance"), [("soft tissue", 2), ("bone", 4), ("lung", 5)])
def test_8_bits_are_enough_for_each_window(window: str, tolerance: int) -> None:
    hu = np.arange(-1024, 1976, dtype=np.int16).reshape(60, 50, 1)
    block = GreyBlock.of(ct(Grid.from_spacing(hu.shape), hu), Shown.all_of(Grid.from_spacing(hu.shape)))
    low, high = block.windows[window]
    exact = np.clip((hu[..., 0] - low) / (high - low), 0, 1) * 255
    assert np.abs(block.cut(2, 0, (low, high)).grey - exact).max() <= tolerance


def test_a_large_scan_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grey_block, "_MOST_VOXELS", 2000)
    grid = Grid.from_spacing((40, 40, 5), (1, 1, 4))
    block = GreyBlock.of(ct(grid, 100), Shown.all_of(grid))
    assert block.numbers.shape == (20, 20, 5)
    assert block.grid.spacing == pytest.approx((2, 2, 4))
    assert np.allclose(slice_corners(block.grid, 2, 0), slice_corners(grid, 2, 0))


def test_a_volume_is_clear_where_it_is_dark() -> None:
    grid = Grid.from_spacing((4, 4, 4))
    scan = ct(grid, np.linspace(-1000, 1000, 64).reshape(4, 4, 4))
    block = GreyBlock.of(scan, Shown.all_of(grid))
    colours = block.volume_colours(CT_WINDOWS["bone"])
    assert colours.shape == (256, 4)
    assert (colours[block.levels < -200, 3] == 0).all()
    assert (np.diff(colours[:, 3]) >= 0).all()
    assert colours.min() >= 0
    assert 0 < colours[-1, 3] <= 1
