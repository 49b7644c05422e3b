"""Surfaces of thick slices, against bodies that are known exactly, on straight and oblique grids of both hands."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.phantoms import Capsule, Ellipsoid, rasterise
from volseg.phantoms.shapes import Shape
from volseg.surface import SurfaceSettings, extract_surfaces
from volseg.surface.between_slices import thick_axis

STRAIGHT = np.eye(3)
TURNED = Rotation.from_euler("xyz", (20, 35, 10), degrees=True).as_matrix()
MIRRORED = TURNED @ np.diag([1, -1, 1])


def grid_around(shape: Shape, spacing: tuple[float, float, float], turn: np.ndarray, phase: float = 0.0) -> Grid:
    """Make a grid that holds a shape with room to spare, its slices moved by a share of their spacing."""
    reach = np.linalg.norm(np.ptp(shape.bounds, axis=0)) / 2
    half = np.ceil(reach / np.array(spacing)).astype(int) + 2
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = shape.bounds.mean(axis=0) - affine[:3, :3] @ (half + np.array([0.3, 0.1, phase]))
    i, j, k = (int(n) for n in 2 * half + 1)
    return Grid((i, j, k), affine)


def surface_of(shape: Shape, grid: Grid, *, smooth: bool = True, shared_walls: bool = False) -> Mesh:
    settings = SurfaceSettings(smooth=smooth, shared_walls=shared_walls)
    (mesh,) = extract_surfaces(rasterise({"body": shape}, grid), settings)
    return mesh


def errors_mm(mesh: Mesh, shape: Shape) -> np.ndarray:
    """Return distances of the vertices to the true surface."""
    return np.asarray(np.abs(shape.distance_mm(mesh.vertices)))


@pytest.mark.parametrize("shared_walls", [False, True], ids=["single", "shared walls"])
@pytest.mark.parametrize("turn", [STRAIGHT, TURNED, MIRRORED], ids=["straight", "oblique", "left-handed"])
def test_an_ellipsoid_on_5_mm_slices_has_no_stair_steps(turn: np.ndarray, shared_walls: bool) -> None:
    shape = Ellipsoid((30, -20, 10), (26, 18, 14), (20, 35, 10))
    smoothed, plain = [], []
    for phase in np.arange(5) / 5:  # where slices happen to lie, the ends of a body are better or worse known
        grid = grid_around(shape, (0.8, 0.8, 5.0), turn, phase)
        mesh = surface_of(shape, grid, shared_walls=shared_walls)
        assert mesh.is_closed
        assert mesh.area_mm2 == pytest.approx(shape.area_mm2, rel=0.02)
        # The voxels themselves are up to 0.9 % off; one label is not moved far to have as much as they.
        assert mesh.volume_mm3 == pytest.approx(shape.volume_mm3, rel=0.01)
        smoothed.append(errors_mm(mesh, shape))
        plain.append(errors_mm(surface_of(shape, grid, smooth=False), shape))
    # Shared walls start from voxels.
    assert np.mean([found.mean() for found in smoothed]) < (0.17 if shared_walls else 0.12)
    assert np.mean([np.percentile(found, 95) for found in smoothed]) < (0.4 if shared_walls else 0.3)
    assert np.mean([found.mean() for found in smoothed]) < np.mean([found.mean() for found in plain]) / 4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_may_be_the_thick_one(axis: int) -> None:
    shape = Ellipsoid((5, 6, 7), (12, 12, 12))
    spacing = [0.8, 0.8, 0.8]
    spacing[axis] = 4.0
    grid = grid_around(shape, (spacing[0], spacing[1], spacing[2]), TURNED)
    assert thick_axis(grid) == axis
    mesh = surface_of(shape, grid)
    assert errors_mm(mesh, shape).mean() < 0.12
    np.testing.assert_allclose(mesh.bounds, shape.bounds, atol=0.5)


@pytest.mark.parametrize(("spacing", "expected"), [((1, 1, 1.4), None), ((1, 1, 1.6), 2), ((3, 1, 2.5), None)])
def test_what_is_thick(spacing: tuple[float, float, float], expected: int | None) -> None:
    assert thick_axis(Grid.from_spacing((4, 4, 4), spacing)) == expected


def overlap(mesh: Mesh, shape: Shape) -> float:
    """Dice of a mesh and a true shape: of points spread evenly about both, those inside."""
    import pyvista as pv

    low, high = shape.bounds[0] - 2, shape.bounds[1] + 2
    points = np.stack(np.meshgrid(*(np.arange(a, b, 0.7) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
    points = points.reshape(-1, 3)
    surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)
    inside = np.asarray(pv.PolyData(points).compute_implicit_distance(surface)["implicit_distance"]) < 0
    truth = shape.distance_mm(points) < 0
    return float(2 * (inside & truth).sum() / (inside.sum() + truth.sum()))


@pytest.mark.parametrize("shared_walls", [False, True], ids=["single", "shared walls"])
@pytest.mark.parametrize("phase", [0.0, 0.4])
def test_a_tube_that_runs_obliquely_stays_a_tube(phase: float, shared_walls: bool) -> None:
    reach = 30 * np.array([np.sin(np.radians(70)), 0, np.cos(np.radians(70))])
    shape = Capsule(tuple(-reach), tuple(reach), 3)
    grid = grid_around(shape, (0.8, 0.8, 5.0), STRAIGHT, phase)
    mesh = surface_of(shape, grid, shared_walls=shared_walls)
    assert mesh.is_closed
    assert mesh.area_mm2 == pytest.approx(shape.area_mm2, rel=0.05)
    assert overlap(mesh, shape) > 0.9
    assert overlap(surface_of(shape, grid, smooth=False), shape) < 0.8
    # Along its slices, it does not run on where no pixel is.
    pixels = grid.to_world(np.argwhere(rasterise({"body": shape}, grid).array))
    assert np.all(mesh.bounds[0, :2] > pixels.min(axis=0)[:2] - 1.6)
    assert np.all(mesh.bounds[1, :2] < pixels.max(axis=0)[:2] + 1.6)


def test_a_fork_is_not_laid_over_itself() -> None:
    """Two legs that join: nothing may be moved sideways, or the legs would leave their places."""
    array = np.zeros((40, 20, 8), dtype=np.uint8)
    array[4:10, 6:14, :5] = 1
    array[30:36, 6:14, 2:5] = 1
    array[4:36, 6:14, 5:7] = 1
    grid = Grid.from_spacing(array.shape, (1, 1, 4))
    (mesh,) = extract_surfaces(LabelMap.from_array(array, grid))
    assert mesh.is_closed
    np.testing.assert_allclose(mesh.bounds[:, :2], [[3.5, 5.5], [35.5, 13.5]], atol=0.7)
    leg = mesh.vertices[(mesh.vertices[:, 2] > 1) & (mesh.vertices[:, 2] < 5)]
    assert leg[:, 0].max() < 11


def test_bodies_of_one_slice_and_of_one_voxel_keep_about_their_volume() -> None:
    array = np.zeros((30, 30, 5), dtype=np.uint8)
    array[3:15, 4:14, 2] = 1
    array[20, 20, 2] = 2
    array[25, 3, 0] = 3
    grid = Grid(array.shape, np.diag([-0.9, 0.9, 4.0, 1.0]))
    for mesh, value in zip(extract_surfaces(LabelMap.from_array(array, grid)), (1, 2, 3), strict=True):
        assert mesh.is_closed
        where = np.argwhere(array == value)
        # A body one pixel wide would have to be moved too far for all of its volume.
        rel = 0.01 if value == 1 else 0.15
        assert mesh.volume_mm3 == pytest.approx(len(where) * grid.voxel_volume_mm3, rel=rel)
        np.testing.assert_allclose(mesh.bounds.mean(axis=0), grid.to_world(where).mean(axis=0), atol=0.15)
