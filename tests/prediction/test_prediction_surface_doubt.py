"""How far a surface may lie from where it is drawn."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.prediction.surface_doubt import surface_sd
from volseg.surface import extract_surfaces

RADIUS = 14.0


def fading_ball(grid: Grid, width_mm: float) -> tuple[Mesh, np.ndarray]:
    """A ball whose surface is drawn from a logistic distribution, wider towards the feet by half."""
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    distance = np.linalg.norm(places, axis=-1)
    width = width_mm * (1.25 - 0.25 * places[..., 2] / RADIUS)
    probability = 1 / (1 + np.exp((distance - RADIUS) / width))
    (mesh,) = extract_surfaces(LabelMap.from_array((probability > 0.5).astype(np.uint8), grid))
    return mesh, probability.astype(np.float16)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0)])
@pytest.mark.parametrize("width", [0.7, 1.2])
def test_a_surface_of_known_spread_has_its_standard_deviation(
    spacing: tuple[float, float, float], width: float
) -> None:
    shape = tuple(round(44 / mm) for mm in spacing)
    mesh, probability = fading_ball(Grid.from_spacing(shape, spacing, (-22, -22, -22)), width)
    found = surface_sd(mesh, probability, Grid.from_spacing(shape, spacing, (-22, -22, -22)))
    expected = pi / sqrt(3) * width * (1.25 - 0.25 * mesh.vertices[:, 2] / RADIUS)
    assert found.shape == expected.shape
    assert np.median(found / expected) == pytest.approx(1, abs=0.12)
    assert np.corrcoef(found, expected)[0, 1] > 0.7


@pytest.mark.parametrize("thickness", [1.0, 3.0, 5.0])
def test_no_place_is_surer_than_its_voxel(thickness: float) -> None:
    grid = Grid.from_spacing((44, 44, round(44 / thickness)), (1, 1, thickness), (-22, -22, -22))
    mesh, probability = fading_ball(grid, 0.05)
    found = surface_sd(mesh, probability, grid)
    up = np.abs(mesh.vertices[:, 2]) / np.linalg.norm(mesh.vertices, axis=1)
    assert found.min() > 0.99 / sqrt(12)
    assert found[up > 0.95].min() > 0.5 * thickness / sqrt(12)


def test_slabs_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid.from_spacing((44, 44, 44), (1, 1, 1), (-22, -22, -22))
    mesh, probability = fading_ball(grid, 0.9)
    expected = surface_sd(mesh, probability, grid)
    monkeypatch.setattr("volseg.prediction.surface_doubt._SLAB", 5)
    np.testing.assert_allclose(surface_sd(mesh, probability, grid), expected, rtol=1e-5)


def test_the_frame_of_the_grid_does_not_matter() -> None:
    grid = Grid.from_spacing((44, 44, 44), (1, 1, 1), (-22, -22, -22))
    mesh, probability = fading_ball(grid, 0.9)
    turned = np.array([[0, -1, 0, 5], [1, 0, 0, 7], [0, 0, 1, -3], [0, 0, 0, 1]], dtype=float)
    moved = Mesh(mesh.vertices @ turned[:3, :3].T + turned[:3, 3], mesh.faces)
    expected = surface_sd(mesh, probability, grid)
    found = surface_sd(moved, probability, Grid(grid.shape, turned @ grid.affine))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_surface_at_the_border_or_without_vertices() -> None:
    grid = Grid.from_spacing((6, 6, 2))
    mesh = Mesh([(0, 0, 0), (5, 0, 0), (0, 5, 1)], [(0, 1, 2)])
    found = surface_sd(mesh, np.full(grid.shape, 0.5, np.float16), grid)  # flat: as unsure as is told
    np.testing.assert_allclose(found, pi / sqrt(3) * 0.25 / 0.01)
    assert surface_sd(Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)), np.zeros(grid.shape), grid).shape == (0,)
