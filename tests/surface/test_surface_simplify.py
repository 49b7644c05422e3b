from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.errors import UsageError
from volseg.phantoms import sphere_labelmap
from volseg.surface import SurfaceSettings, extract_surfaces
from volseg.surface.simplify import simplify_mesh


@pytest.fixture(scope="module")
def sphere() -> Mesh:
    (mesh,) = extract_surfaces(sphere_labelmap(Grid.from_spacing((40, 40, 40)), radius_mm=15))
    return mesh


@pytest.mark.parametrize("keep", [0.5, 0.1])
def test_fraction_of_triangles_for_the_same_shape(sphere: Mesh, keep: float) -> None:
    simpler = simplify_mesh(sphere, keep=keep)
    assert len(simpler.faces) == pytest.approx(keep * len(sphere.faces), rel=0.02)
    assert simpler.is_closed
    assert simpler.volume_mm3 == pytest.approx(sphere.volume_mm3, rel=0.01)
    assert (simpler.name, simpler.colour) == (sphere.name, sphere.colour)


def test_meshes_are_simplified_alike_in_threads_of_their_own(sphere: Mesh) -> None:
    meshes = [sphere.with_vertices(sphere.vertices * (1, 1, 1 + 0.1 * number)) for number in range(8)]
    simplify = partial(simplify_mesh, keep=0.3)
    expected = [simplify(mesh) for mesh in meshes]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(simplify, 10 * meshes))
    for one, other in zip(10 * expected, found, strict=True):
        assert np.array_equal(one.vertices, other.vertices)
        assert np.array_equal(one.faces, other.faces)


def test_keeping_all_changes_nothing(sphere: Mesh) -> None:
    assert simplify_mesh(sphere, keep=1) is sphere


def test_small_shape_keeps_more() -> None:
    array = np.zeros((5, 5, 5), dtype=np.uint8)
    array[2, 2, 2] = 1
    (mesh,) = extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape)))
    assert simplify_mesh(mesh, keep=0.01) is mesh


def test_labels_that_keep_more_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    array = sphere_labelmap(Grid.from_spacing((40, 40, 40)), radius_mm=15).array.copy()
    array[1, 1, 1], array[38, 38, 38] = 2, 3
    extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape)), SurfaceSettings(simplify=0.1))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "more than 10% of the triangles kept" in record.message
    assert record.message.endswith("shape: label_2 (100%), label_3 (100%)")


def ball(radius_mm: float = 15, slice_mm: float = 1) -> LabelMap:
    grid = Grid.from_spacing((40, 40, int(40 / slice_mm)), (1, 1, slice_mm))
    return sphere_labelmap(grid, radius_mm=radius_mm)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("error_mm", [0.05, 0.2, 1.0])
def test_surface_stays_within_the_error_with_few_triangles(error_mm: float, smooth: bool) -> None:
    (marched,) = extract_surfaces(ball(), SurfaceSettings(smooth=False))
    (mesh,) = extract_surfaces(ball(), SurfaceSettings(smooth=smooth, max_error_mm=error_mm))
    away, back = (trimesh_distances(a, b) for a, b in ((mesh, marched), (marched, mesh)))
    assert max(away.max(), back.max()) <= error_mm * 1.01
    assert mesh.is_closed
    if error_mm >= 0.2:
        assert len(mesh.faces) < 0.5 * len(marched.faces)


def trimesh_distances(a: Mesh, b: Mesh) -> np.ndarray:
    """From random points of one surface to the other, by an independent library's exact triangle distance."""
    points, _ = trimesh.sample.sample_surface(trimesh.Trimesh(a.vertices, a.faces, process=False), 1500, seed=0)
    triangles = trimesh.Trimesh(b.vertices, b.faces, process=False).triangles
    # The nearest triangle has its centre no further away than the nearest corner is and a triangle is large.
    centres = triangles.mean(axis=1)
    size = np.linalg.norm(triangles - centres[:, None], axis=2).max()
    limit, _ = cKDTree(triangles.reshape(-1, 3)).query(points)
    near = cKDTree(centres).query_ball_point(points, limit + size + 1e-9)
    owner = np.repeat(np.arange(len(points)), [len(found) for found in near])
    closest = trimesh.triangles.closest_point(triangles[np.concatenate(near).astype(int)], points[owner])
    distances = np.full(len(points), np.inf)
    np.minimum.at(distances, owner, np.linalg.norm(closest - points[owner], axis=1))
    return distances


def test_error_goes_before_the_number_of_triangles() -> None:
    (few,) = extract_surfaces(ball(), SurfaceSettings(faces=200))
    (near,) = extract_surfaces(ball(), SurfaceSettings(faces=200, max_error_mm=0.1))
    assert len(few.faces) <= 200
    assert len(near.faces) > 400


def test_number_of_triangles_is_of_each_surface() -> None:
    array = ball().array.copy()
    array[0:3, 0:3, 0:3] = 2
    large, small = extract_surfaces(
        LabelMap.from_array(array, Grid.from_spacing(array.shape)), SurfaceSettings(faces=500)
    )
    assert len(large.faces) == pytest.approx(500, abs=2)
    assert len(small.faces) < 500


def test_a_volume_that_the_largest_error_does_not_allow_is_told(caplog: pytest.LogCaptureFixture) -> None:
    array = np.zeros((9, 9, 9), dtype=np.uint8)
    array[4, 4, 4] = 1
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape))
    extract_surfaces(labels, SurfaceSettings(max_error_mm=1))
    assert not caplog.records
    (mesh,) = extract_surfaces(labels, SurfaceSettings(max_error_mm=0.1))
    assert f"label_1: moved by 0.1 mm at most, its volume stays {100 * (mesh.volume_mm3 - 1):+.0f} % off" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"faces": 3}, "a closed surface has at least 4"),
        ({"faces": 100, "simplify": 0.5}, "leave one out"),
        ({"max_error_mm": 0}, "largest error of a surface is 0 mm; expected a number over 0"),
        ({"max_error_mm": float("nan")}, "is nan mm; expected a number over 0"),
        ({"max_error_mm": float("inf")}, "is inf mm; expected a number over 0"),
        ({"shared_walls": True, "faces": 100}, "cannot be simplified"),
        ({"shared_walls": True, "max_error_mm": 1}, "cannot be simplified or bounded"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SurfaceSettings(**settings)
