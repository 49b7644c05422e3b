from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.phantoms import sphere_labelmap
from volseg.surface import SurfaceSettings, extract_surfaces
from volseg.surface.smooth import smooth_mesh


def staircase_sphere(radius_mm: float, spacing: tuple[float, float, float]) -> Mesh:
    shape = tuple(int(2 * radius_mm / s) + 5 for s in spacing)
    (mesh,) = extract_surfaces(
        sphere_labelmap(Grid.from_spacing((shape[0], shape[1], shape[2]), spacing), radius_mm=radius_mm),
        SurfaceSettings(smooth=False),
    )
    return mesh


@pytest.mark.parametrize(("radius_mm", "spacing"), [(12, (1, 1, 1)), (8, (0.7, 0.7, 3)), (3, (1, 1, 1))])
def test_staircase_goes_and_volume_stays(radius_mm: float, spacing: tuple[float, float, float]) -> None:
    before = staircase_sphere(radius_mm, spacing)
    after = smooth_mesh(before)
    assert after.is_closed
    assert after.volume_mm3 == pytest.approx(before.volume_mm3, rel=2e-3)
    assert after.area_mm2 < 0.95 * before.area_mm2
    np.testing.assert_array_equal(after.faces, before.faces)


def test_smoothing_is_the_same_on_any_grid(oblique_grid: Grid) -> None:
    mask = np.random.default_rng(0).random((6, 6, 6)) > 0.7
    thin = Grid(mask.shape, oblique_grid.affine @ np.diag([1, 1, 0.35, 1]))  # 0.8, 0.9 and 1.05 mm
    cube, oblique = (
        extract_surfaces(LabelMap.from_array(mask.astype(np.uint8), grid))[0]
        for grid in (Grid.from_spacing(mask.shape), thin)
    )
    np.testing.assert_allclose(thin.to_voxel(oblique.vertices), cube.vertices, atol=1e-3)


def test_asked_volume_is_reached() -> None:
    after = smooth_mesh(staircase_sphere(8, (1, 1, 1)), volume_mm3=2500)
    assert after.volume_mm3 == pytest.approx(2500, rel=2e-3)


def test_speck_beside_a_large_piece_does_not_collapse() -> None:
    array = np.zeros((30, 20, 20), dtype=np.uint8)
    array[2:16, 3:17, 3:17] = 1
    array[25, 10, 10] = 1
    (mesh,) = extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape)))
    speck = mesh.vertices[mesh.vertices[:, 0] > 20]
    assert len(speck) == 6
    np.testing.assert_allclose(np.ptp(speck, axis=0), 1, atol=0.1)
    np.testing.assert_allclose(speck.mean(axis=0), [25, 10, 10], atol=0.05)


def test_hole_inside_stays_a_hole() -> None:
    array = np.ones((16, 16, 16), dtype=np.uint8)
    array[8, 8, 8] = 0
    array[3:6, 3:6, 3:6] = 0
    (mesh,) = extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape)))
    assert mesh.volume_mm3 == pytest.approx(np.count_nonzero(array), rel=2e-3)
    distance = np.linalg.norm(mesh.vertices - 8, axis=1)
    assert np.count_nonzero(distance < 1) == 6
