from __future__ import annotations

import numpy as np
import pytest

from volseg.geometry import Grid
from volseg.labelmap import Label, LabelMap
from volseg.phantoms import sphere_labelmap
from volseg.surface import Measurement, measure


def test_box_by_hand() -> None:
    grid = Grid.from_spacing((10, 10, 10), (1, 2, 3), (100, 200, 300))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[2:4, 3:6, 4:8] = 7
    (size,) = measure(LabelMap(array, grid, (Label(7, "box", (1, 2, 3)),)))
    assert (size.name, size.value, size.voxels) == ("box", 7, 24)
    assert size.volume_ml == pytest.approx(24 * 6 / 1000)
    assert size.centroid_mm == pytest.approx((102.5, 208, 316.5))
    assert size.bounds_mm == ((101.5, 205, 310.5), (103.5, 211, 322.5))


def test_bounds_on_an_oblique_grid_are_those_of_the_outermost_voxel_corners(oblique_grid: Grid) -> None:
    (size,) = measure(LabelMap.from_array(np.ones(oblique_grid.shape, np.uint8), oblique_grid))
    corners = oblique_grid.corners()
    np.testing.assert_allclose(size.bounds_mm, [corners.min(axis=0), corners.max(axis=0)])
    np.testing.assert_allclose(size.centroid_mm, corners.mean(axis=0))


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 2)])
def test_area_and_volume_of_a_sphere(spacing: tuple[float, float, float]) -> None:
    grid = Grid.from_spacing((50, 50, 50), spacing)
    (size,) = measure(sphere_labelmap(grid, radius_mm=15))
    assert size.volume_ml == pytest.approx(4 / 3 * np.pi * 15**3 / 1000, rel=0.02)
    assert size.area_mm2 == pytest.approx(4 * np.pi * 15**2, rel=0.06)


def test_absent_label_is_listed_with_nothing() -> None:
    labels = LabelMap(np.zeros((3, 3, 3), np.uint8), Grid.from_spacing((3, 3, 3)), (Label(1, "liver", (1, 2, 3)),))
    assert measure(labels) == [Measurement("liver", 1, 0, 0.0)]
    assert measure(labels)[0].centroid_mm is None


def test_one_slice_can_be_measured() -> None:
    (size,) = measure(LabelMap.from_array(np.ones((4, 4, 1), np.uint8), Grid.from_spacing((4, 4, 1), (1, 1, 5))))
    assert size.volume_ml == pytest.approx(0.08)
    assert size.area_mm2 is not None
    assert size.area_mm2 > 2 * 16 * 0.8
