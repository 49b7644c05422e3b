from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.errors import InputError
from volseg.phantoms import Ellipsoid, rasterise, sphere_labelmap
from volseg.surface import Measurement, measure, measurement


def test_box_by_hand() -> None:
    grid = Grid.from_spacing((10, 10, 10), (1, 2, 3), (100, 200, 300))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[2:4, 3:6, 4:8] = 7
    (size,) = measure(LabelMap(array, grid, (Label(7, "box", (1, 2, 3)),)))
    assert (size.name, size.value, size.piece, size.pieces, size.voxels) == ("box", 7, None, 1, 24)
    voxels = size.by_voxels
    assert voxels is not None
    assert voxels.volume_ml == pytest.approx(24 * 6 / 1000)
    assert voxels.area_mm2 == pytest.approx(2 * (2 * 6 + 2 * 12 + 6 * 12))
    assert voxels.centre_mm == pytest.approx((102.5, 208, 316.5))
    assert voxels.bounds_mm == ((101.5, 205, 310.5), (103.5, 211, 322.5))
    assert voxels.longest_mm == pytest.approx(np.linalg.norm([2, 6, 12]))
    assert voxels.longest_axial_mm == pytest.approx(np.linalg.norm([2, 6]))


def test_bounds_on_an_oblique_grid_are_those_of_the_outermost_voxel_corners(oblique_grid: Grid) -> None:
    (size,) = measure(LabelMap.from_array(np.ones(oblique_grid.shape, np.uint8), oblique_grid))
    corners = oblique_grid.corners()
    assert size.by_voxels is not None
    np.testing.assert_allclose(size.by_voxels.bounds_mm, [corners.min(axis=0), corners.max(axis=0)])
    np.testing.assert_allclose(size.by_voxels.centre_mm, corners.mean(axis=0))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_ellipsoid_by_its_surface_and_its_voxels(order: tuple[int, int, int]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * [-1, 1, 1]
    affine[:3, 3] = [3, -2, 5] - affine[:3, :3] @ [25, 25, 25]
    body = Ellipsoid((3, -2, 5), (20, 12, 8))
    (size,) = measure(rasterise({"body": body}, Grid((51, 51, 51), affine)))
    assert size.by_voxels is not None
    assert size.by_surface is not None
    for extent, tolerance_mm in ((size.by_voxels, 1.0), (size.by_surface, 0.5)):
        assert extent.volume_ml == pytest.approx(body.volume_mm3 / 1000, rel=0.01)
        assert extent.centre_mm == pytest.approx((3, -2, 5), abs=0.05)
        assert extent.longest_mm == pytest.approx(40, abs=2 * tolerance_mm)
        assert extent.longest_axial_mm == pytest.approx(40, abs=2 * tolerance_mm)
        np.testing.assert_allclose(extent.bounds_mm, [(-17, -14, -3), (23, 10, 13)], atol=tolerance_mm)
    assert size.by_surface.area_mm2 == pytest.approx(body.area_mm2, rel=0.02)
    assert 1.3 < size.by_voxels.area_mm2 / body.area_mm2 < 1.6


def test_longest_axial_diameter_is_of_one_slice() -> None:
    # Leaning by 45 degrees from foot to head: long in space, short in each axial slice.
    array = np.zeros((30, 10, 30), dtype=np.uint8)
    for n in range(4, 26):
        array[n - 2 : n + 3, 3:7, n] = 1
    (size,) = measure(LabelMap.from_array(array, Grid.from_spacing(array.shape)))
    for extent in (size.by_voxels, size.by_surface):
        assert extent is not None
        assert extent.longest_mm > 30
        assert extent.longest_axial_mm == pytest.approx(np.hypot(5, 4), abs=1)


def test_pieces_are_measured_from_the_largest() -> None:
    array = np.zeros((12, 8, 8), dtype=np.uint8)
    array[1, 1, 1], array[4:9, 2:6, 2:6] = 1, 1
    array[10:12, 0:2, 0:2] = 2
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape))
    entries = measure(labels, pieces=True)
    assert [(e.value, e.piece, e.pieces, e.voxels) for e in entries] == [
        (1, None, 2, 81),
        (1, 1, 2, 80),
        (1, 2, 2, 1),
        (2, None, 1, 8),
    ]
    assert entries[2].by_voxels is not None
    assert entries[2].by_voxels.centre_mm == (1, 1, 1)
    assert entries[2].by_surface is not None
    assert entries[2].by_surface.volume_ml == pytest.approx(0.001, rel=0.01)
    assert [e.piece for e in measure(labels)] == [None, None]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 2)])
def test_area_and_volume_of_a_sphere(spacing: tuple[float, float, float]) -> None:
    grid = Grid.from_spacing((50, 50, 50), spacing)
    (size,) = measure(sphere_labelmap(grid, radius_mm=15))
    assert size.by_surface is not None
    assert size.by_surface.volume_ml == pytest.approx(4 / 3 * np.pi * 15**3 / 1000, rel=0.02)
    assert size.by_surface.area_mm2 == pytest.approx(4 * np.pi * 15**2, rel=0.06)


def test_absent_label_is_listed_with_nothing() -> None:
    labels = LabelMap(np.zeros((3, 3, 3), np.uint8), Grid.from_spacing((3, 3, 3)), (Label(1, "liver", (1, 2, 3)),))
    assert measure(labels) == [Measurement("liver", 1, None, 0, 0)]


def test_one_slice_has_voxels_but_no_surface() -> None:
    (size,) = measure(LabelMap.from_array(np.ones((4, 4, 1), np.uint8), Grid.from_spacing((4, 4, 1), (1, 1, 5))))
    assert size.by_surface is None
    assert size.by_voxels is not None
    assert size.by_voxels.volume_ml == pytest.approx(0.08)
    assert size.by_voxels.longest_axial_mm == pytest.approx(np.hypot(4, 4))


def test_of_noise_the_voxels_are_measured_and_its_surface_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(measurement, "MOST_FACES_OF_ONE", 1000)
    array = (np.random.default_rng(0).random((12, 12, 12)) < 0.5).astype(np.uint8)
    array[:4] = 0
    array[1:3, 3:6, 3:6] = 2
    noise, body = measure(LabelMap.from_array(array, Grid.from_spacing(array.shape)))
    assert noise.by_voxels is not None
    assert noise.by_surface is None
    assert body.by_surface is not None
    assert "million outer faces of voxels, as noise has; its surface is not measured" in caplog.text


def test_a_label_map_of_noise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of labels may have few faces each, and thousands of pieces."""
    monkeypatch.setattr("volseg.core.noise._FACES_OF_SHELLS", 1000)
    array = np.random.default_rng(0).integers(0, 30, (12, 12, 12)).astype(np.uint8)
    with pytest.raises(InputError, match=r"5\.\d for each of its 0\.00\d+ million voxels, as noise has"):
        measure(LabelMap.from_array(array, Grid.from_spacing(array.shape)))


def test_only_so_many_pieces_are_measured(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(measurement, "_MOST_PIECES", 3)
    array = np.zeros((12, 12, 12), np.uint8)
    array[::3, ::3, ::3] = 1
    array[6:8, 6, 6] = array[9:11, 9, 9] = 1
    found = measure(LabelMap.from_array(array, Grid.from_spacing(array.shape)), pieces=True)
    assert [entry.voxels for entry in found] == [66, 2, 2, 1]
    assert found[0].pieces == 64
    assert "label_1: has 64 pieces; the 3 largest are measured" in caplog.text
