from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.phantoms import Torus, rasterise, sphere_labelmap
from volseg.surface import SurfaceSettings, extract_isosurface, extract_surfaces
from volseg.surface.intersections import count_self_intersections

# A tetrahedron, seen from outside.
CORNERS = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4.0]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def two_tetrahedra(shift: tuple[float, float, float]) -> Mesh:
    return Mesh(np.concatenate([CORNERS, CORNERS + shift]), np.concatenate([FACES, FACES + 4]))


def brute_force(mesh: Mesh) -> int:
    """Every pair of triangles without a common vertex, by the signed volumes of tetrahedra."""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> float:
        return float(np.sign(np.linalg.det([b - a, c - a, d - a])))

    def pierces(p: np.ndarray, q: np.ndarray, triangle: np.ndarray) -> bool:
        a, b, c = triangle
        turns = {side(p, q, a, b), side(p, q, b, c), side(p, q, c, a)}
        return side(a, b, c, p) * side(a, b, c, q) < 0 and len(turns) == 1 and 0 not in turns

    count, corners = 0, mesh.vertices[mesh.faces]
    for i in range(len(corners)):
        for j in range(i):
            if not set(mesh.faces[i]) & set(mesh.faces[j]):
                edges = [(corners[m][n], corners[m][n - 1], corners[o]) for m, o in ((i, j), (j, i)) for n in range(3)]
                count += any(pierces(*edge) for edge in edges)
    return count


@pytest.mark.parametrize("shift", [(5, 0, 0), (0.5, 0.25, 0.3), (1, -1, 0.5), (-0.2, 3, 0.1)])
def test_triangles_that_run_through_each_other_are_counted(shift: tuple[float, float, float]) -> None:
    mesh = two_tetrahedra(shift)
    assert count_self_intersections(mesh) == brute_force(mesh)
    assert (count_self_intersections(mesh) > 0) == (shift[0] < 5)


# Always the same examples: where triangles touch to the last digit, rounding decides whether they count.
@settings(derandomize=True)
@given(vertices=arrays(np.float64, (9, 3), elements={"min_value": -5, "max_value": 5}))
def test_any_triangles_are_counted_as_pair_by_pair(vertices: np.ndarray) -> None:
    mesh = Mesh(np.round(vertices, 2) + 1000, np.arange(9).reshape(3, 3))
    assert count_self_intersections(mesh) == brute_force(mesh)


def test_grades_of_a_ball() -> None:
    labels = sphere_labelmap(Grid.from_spacing((30, 30, 30)), radius_mm=12)
    (mesh,) = extract_surfaces(labels, SurfaceSettings(report=True))
    grades = mesh.quality
    assert grades is not None
    assert (grades.closed, grades.pieces, grades.euler_number, grades.self_intersections) == (True, 1, 2, 0)
    assert grades.triangles == len(mesh.faces)
    assert grades.expected_mm3 == np.count_nonzero(labels.array)
    assert grades.volume_mm3 == pytest.approx(grades.expected_mm3, rel=2e-3)
    assert grades.area_mm2 == pytest.approx(4 * np.pi * 12**2, rel=0.02)
    # Half a voxel is the height of a stair.
    assert 0.02 < grades.mean_distance_mm < grades.largest_distance_mm < 0.5


def test_handles_and_pieces_are_counted() -> None:
    labels = rasterise({"ring": Torus((0, 0, 0), 9, 3)}, centred_grid(30))
    (ring,) = extract_surfaces(labels, SurfaceSettings(report=True))
    assert ring.quality is not None
    assert (ring.quality.euler_number, ring.quality.pieces) == (0, 1)
    array = labels.array.copy()
    array[0:2, 0:2, 0:2] = 1
    (both,) = extract_surfaces(LabelMap.from_array(array, labels.grid), SurfaceSettings(report=True))
    assert both.quality is not None
    assert (both.quality.euler_number, both.quality.pieces) == (2, 2)


def centred_grid(count: int) -> Grid:
    affine = np.eye(4)
    affine[:3, 3] = -(count - 1) / 2
    return Grid((count, count, count), affine)


def test_unsmoothed_surface_has_not_moved() -> None:
    labels = sphere_labelmap(Grid.from_spacing((20, 20, 20)), radius_mm=7)
    (mesh,) = extract_surfaces(labels, SurfaceSettings(smooth=False, report=True))
    assert mesh.quality is not None
    assert mesh.quality.largest_distance_mm < 1e-6


def test_unsmoothed_surface_of_a_scan_with_values_at_the_threshold_has_not_moved() -> None:
    # Values that equal the threshold make triangles without area.
    values = np.random.default_rng(0).integers(0, 4, (20, 20, 20)).astype(np.float32)
    volume = Volume(values, Grid.from_spacing(values.shape, (1, 1, 3)))
    mesh = extract_isosurface(volume, 2, SurfaceSettings(smooth=False, report=True))
    assert mesh.quality is not None
    assert mesh.quality.largest_distance_mm < 1e-4


def test_a_surface_that_touches_itself_is_closed_but_not_manifold() -> None:
    array = np.zeros((6, 6, 4), dtype=np.uint8)
    array[1:3, 1:3, 1:3] = array[3:5, 3:5, 1:3] = 1
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape))
    (mesh,) = extract_surfaces(labels, SurfaceSettings(shared_walls=True, smooth=False, report=True))
    assert mesh.quality is not None
    assert (mesh.quality.closed, mesh.quality.manifold) == (True, False)


def test_surfaces_with_shared_walls_are_graded() -> None:
    array = np.zeros((16, 12, 12), dtype=np.uint8)
    array[2:8, 2:10, 2:10], array[8:14, 2:10, 2:10] = 1, 2
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape))
    for mesh in extract_surfaces(labels, SurfaceSettings(shared_walls=True, report=True)):
        assert mesh.quality is not None
        assert mesh.quality.closed
        assert mesh.quality.expected_mm3 == 6 * 8 * 8
        assert 0 < mesh.quality.largest_distance_mm < 1.5


def test_no_grades_unless_asked() -> None:
    (mesh,) = extract_surfaces(sphere_labelmap(Grid.from_spacing((20, 20, 20)), radius_mm=7))
    assert mesh.quality is None
