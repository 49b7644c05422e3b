from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.phantoms import (
    Capsule,
    Ellipsoid,
    Shape,
    Torus,
    make_ct_phantom,
    make_mr_phantom,
    rasterise,
    sphere_labelmap,
)

SHAPES: dict[str, Shape] = {
    "sphere": Ellipsoid((1, 2, 3), (9, 9, 9)),
    "ellipsoid": Ellipsoid((0, -2, 1), (12, 7, 4), (20, 30, 40)),
    "capsule": Capsule((-6, 0, -5), (4, 3, 7), 5),
    "torus": Torus((0, 1, 0), 10, 4),
}
FINE = Grid.from_spacing((100, 100, 100), (0.3, 0.3, 0.3), (-14.85, -14.85, -14.85))


@pytest.mark.parametrize("name", SHAPES)
def test_stated_volume_is_that_of_the_voxels(name: str) -> None:
    array = rasterise({name: SHAPES[name]}, FINE).array
    assert np.count_nonzero(array) * FINE.voxel_volume_mm3 == pytest.approx(SHAPES[name].volume_mm3, rel=0.005)


@pytest.mark.parametrize("name", SHAPES)
def test_stated_area_is_the_volume_of_a_thin_shell_over_its_thickness(name: str) -> None:
    points = FINE.to_world(np.moveaxis(np.indices(FINE.shape), 0, -1))
    shell = np.abs(SHAPES[name].distance_mm(points)) < 0.4
    assert np.count_nonzero(shell) * FINE.voxel_volume_mm3 / 0.8 == pytest.approx(SHAPES[name].area_mm2, rel=0.02)


@pytest.mark.parametrize("name", SHAPES)
def test_bounds_hold_the_shape_and_are_tight(name: str) -> None:
    inside = FINE.to_world(np.argwhere(rasterise({name: SHAPES[name]}, FINE).array))
    found = np.stack([inside.min(axis=0), inside.max(axis=0)])
    assert np.abs(found - SHAPES[name].bounds).max() < 0.5
    assert (found[0] >= SHAPES[name].bounds[0]).all()
    assert (found[1] <= SHAPES[name].bounds[1]).all()


def test_area_of_a_sphere_is_the_school_formula() -> None:
    assert SHAPES["sphere"].area_mm2 == pytest.approx(4 * np.pi * 81)
    assert SHAPES["sphere"].distance_mm((1, 2, 3)) == pytest.approx(-9)


def test_sphere_stands_in_the_right_place_on_an_oblique_left_handed_grid(oblique_grid: Grid) -> None:
    centre = oblique_grid.to_world((9, 11, 5))
    labels = sphere_labelmap(oblique_grid, radius_mm=6, centre_mm=tuple(centre))
    points = oblique_grid.to_world(np.argwhere(labels.array))
    assert np.abs(points.mean(axis=0) - centre).max() < 0.3
    assert len(points) * oblique_grid.voxel_volume_mm3 == pytest.approx(4 / 3 * np.pi * 216, rel=0.08)
    assert np.linalg.norm(points - centre, axis=1).max() <= 6 + 1e-9


def test_where_shapes_overlap_the_later_one_wins() -> None:
    labels = rasterise({"large": Ellipsoid((0, 0, 0), (8, 8, 8)), "small": Ellipsoid((0, 0, 0), (3, 3, 3))}, FINE)
    assert labels.array[50, 50, 50] == 2
    assert [label.name for label in labels.labels] == ["large", "small"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ct_phantom_has_hounsfield_units_and_organs_of_the_stated_volumes(seed: int) -> None:
    phantom = make_ct_phantom(seed=seed)
    assert phantom.volume.array.dtype == np.int16
    assert (phantom.volume.modality, phantom.volume.unit) == ("CT", "HU")
    for label in phantom.labels.labels:
        mask = phantom.labels.mask(label)
        volume_mm3 = np.count_nonzero(mask) * phantom.labels.grid.voxel_volume_mm3
        assert volume_mm3 == pytest.approx(phantom.shapes[label.name].volume_mm3, rel=0.06)
    liver, spine = (phantom.labels.array == value for value in (1, 5))
    assert 90 < phantom.volume.array[liver].mean() < 125
    assert 180 < phantom.volume.array[spine].mean() < 225
    assert phantom.volume.array[0, 0].mean() == pytest.approx(-1000, abs=30)


def test_organs_do_not_overlap() -> None:
    grid = Grid.from_spacing((72, 72, 48), (4, 4, 4), (-142, -142, -94))
    for seed in range(20):
        shapes = make_ct_phantom(seed=seed, grid=Grid.from_spacing((2, 2, 2), (96, 96, 96), (-48, -48, -48))).shapes
        masks = [rasterise({name: shape}, grid).array for name, shape in shapes.items()]
        assert np.sum(masks, axis=0).max() == 1, seed


def test_same_seed_same_scan_another_seed_another() -> None:
    grid = Grid.from_spacing((24, 24, 8), (12, 12, 18), (-138, -138, -63))
    first, again, other = (make_ct_phantom(seed=seed, grid=grid) for seed in (3, 3, 4))
    assert np.array_equal(first.volume.array, again.volume.array)
    assert not np.array_equal(first.labels.array, other.labels.array)
    assert first.shapes == make_ct_phantom(seed=3, grid=grid.crop((0, 0, 0), (24, 24, 8))).shapes


def test_thick_slices_have_partial_volume() -> None:
    quiet = make_ct_phantom(seed=0, noise_hu=0).volume.array
    assert np.count_nonzero((quiet > -900) & (quiet < -200)) > 500


def test_mr_phantom_shows_the_same_anatomy_with_a_bias() -> None:
    grid = Grid.from_spacing((48, 48, 12), (6, 6, 12), (-141, -141, -66))
    mr, ct = make_mr_phantom(seed=5, grid=grid), make_ct_phantom(seed=5, grid=grid)
    assert np.array_equal(mr.labels.array, ct.labels.array)
    assert mr.volume.modality == "MR"
    assert mr.volume.unit is None
    fat = (ct.volume.array > -150) & (ct.volume.array < -60)
    values = mr.volume.array[fat]
    assert np.percentile(values, 90) / np.percentile(values, 10) > 1.1
