from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.errors import GeometryError
from volseg.view.doubt_map import DoubtMap, doubt_colours

GRID = Grid.from_spacing((6, 5, 4), (1, 1, 3), (-10, 20, 30))


def constant(value: float, grid: Grid = GRID) -> Volume:
    return Volume(np.full(grid.shape, value, np.float32), grid)


@pytest.mark.parametrize(
    ("most", "limit", "text"),
    [
        (0.0, 0.2, "0.2 least sure here"),
        (0.07, 0.2, "0.2 least sure here"),
        (0.31, 0.4, "0.4 least sure here"),
        (0.93, 1.0, "1 as unsure as can be"),
        (1.0, 1.0, "1 as unsure as can be"),
        (3.5, 3.5, "3.5 least sure here"),
    ],
)
def test_the_range_ends_near_the_largest_value_and_says_what_it_is(most: float, limit: float, text: str) -> None:
    found = DoubtMap.on(GRID, constant(most))
    assert found.limit == limit
    assert found.texts == ("0 sure", text)
    assert ("equally likely" in found.meaning) == (most <= 1)


def test_infinite_values_do_not_set_the_range() -> None:
    array = np.array([0.0, 0.4, np.inf, np.nan], np.float32).reshape(4, 1, 1)
    volume = Volume(array, Grid.from_spacing(array.shape))
    assert DoubtMap.on(volume.grid, volume).limit == 0.4
    nearly = Volume(np.full((2, 2, 2), 1 + 1e-6, np.float32), Grid.from_spacing((2, 2, 2)))
    assert DoubtMap.on(nearly.grid, nearly).is_share


def test_numbers_are_shares_of_the_range_and_what_is_not_finite_is_sure() -> None:
    found = DoubtMap.on(GRID, constant(0.4))
    assert found.numbers(np.array([0.0, 0.2, 0.4, np.nan], np.float32)).tolist() == [0, 128, 255, 0]


def test_colours_are_clear_where_the_model_is_sure_and_differ_from_grey() -> None:
    colours = doubt_colours()
    assert colours.shape == (256, 4)
    assert colours[:10, 3].max() == 0
    assert np.diff(colours[:, 3].astype(int)).min() >= 0
    seen = colours[colours[:, 3] > 0, :3].astype(int)
    assert np.ptp(seen, axis=1).min() > 50
    assert np.diff(seen.sum(axis=1)).min() >= 0  # lighter where it is less sure


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SLP"])
def test_a_map_on_the_scan_keeps_its_place_in_any_order(orientation: str) -> None:
    array = np.random.default_rng(1).random(GRID.shape).astype(np.float32)
    turned, grid = reorient(array, GRID, orientation)
    found = DoubtMap.on(GRID, Volume(turned, grid)).volume
    np.testing.assert_array_equal(found.array, array)
    assert found.grid.is_close(GRID)


def test_a_map_on_the_labels_is_placed_by_millimetres() -> None:
    own = GRID.crop((1, 1, 1), (5, 4, 3))
    found = DoubtMap.on(GRID, constant(0.5, own), [own]).volume
    inside = np.zeros(GRID.shape, bool)
    inside[1:5, 1:4, 1:3] = True
    np.testing.assert_array_equal(found.array, np.where(inside, np.float32(0.5), 0))


def test_a_map_of_another_scan_is_refused() -> None:
    other = Grid.from_spacing((6, 5, 4), (1, 1, 3), (-10, 20, 90))
    with pytest.raises(GeometryError, match=r"the doubt \(6x5x4 .* 90\.0\)\) lies on voxels neither of the scan"):
        DoubtMap.on(GRID, constant(0.5, other))
    with pytest.raises(GeometryError, match=r"the doubt \(6x5x4 .* 90\.0\)\) lies beside the scan"):
        DoubtMap.on(GRID, constant(0.5, other), [other])
