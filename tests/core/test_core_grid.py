from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes
from scipy.spatial.transform import Rotation

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.errors import GeometryError

quick = settings(deadline=None, max_examples=60)
IDENTITY = np.eye(4)


def triples(low: float, high: float) -> st.SearchStrategy[tuple[float, float, float]]:
    return st.tuples(*[st.floats(low, high)] * 3)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique, of either handedness, with voxels from a micrometre to two centimetres, sometimes sheared."""
    affine = np.eye(4)
    signs = draw(st.tuples(*[st.sampled_from((-1, 1))] * 3))
    shear = np.eye(3)
    shear[1, 2] = draw(st.sampled_from((0.0, 0.0, 0.4)))
    rotation = Rotation.from_euler("xyz", draw(triples(-180, 180)), degrees=True).as_matrix()
    affine[:3, :3] = rotation @ shear @ np.diag(np.multiply(draw(triples(1e-3, 20)), signs))
    affine[:3, 3] = draw(triples(-1000, 1000))
    return Grid(draw(st.tuples(*[st.integers(1, 40)] * 3)), affine)


def signed_permutations() -> list[np.ndarray]:
    return [np.eye(3)[list(p)] * signs for p in permutations(range(3)) for signs in product((-1, 1), repeat=3)]


def by_pickle(grid: Grid) -> Grid:
    return pickle.loads(pickle.dumps(grid))  # noqa: S301


def turned(matrix: np.ndarray, shape: tuple[int, int, int] = (3, 4, 5)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    return Grid(shape, affine)


@quick
@given(grids(), st.lists(triples(-50, 50), min_size=1, max_size=5))
def test_to_voxel_is_the_inverse_of_to_world(grid: Grid, points: list[tuple[float, float, float]]) -> None:
    assert np.allclose(grid.to_voxel(grid.to_world(points)), points, atol=1e-8)


def test_to_world_is_the_affine_by_hand() -> None:
    affine = [[0, -2, 0, 10], [0.5, 0, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]
    grid = Grid((4, 5, 6), np.array(affine))
    assert grid.to_world((1, 2, 3)).tolist() == [6, 20.5, 42]
    assert grid.to_voxel((6, 20.5, 42)).tolist() == [1, 2, 3]
    assert grid.origin == (10, 20, 30)
    assert grid.spacing == (0.5, 2, 4)
    assert grid.orientation == "ALS"
    assert grid.handedness == 1
    assert grid.voxel_volume_mm3 == pytest.approx(4)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (0, 3), (2, 5, 3), (2, 1, 4, 3)])
def test_points_keep_their_shape(shape: tuple[int, ...], oblique_grid: Grid) -> None:
    points = np.random.default_rng(0).normal(size=shape)
    assert oblique_grid.to_world(points).shape == shape
    assert oblique_grid.to_voxel(points).shape == shape
    assert np.allclose(oblique_grid.to_voxel(oblique_grid.to_world(points)), points)


def test_corners_lie_half_a_voxel_outside_the_centres() -> None:
    grid = Grid.from_spacing((2, 3, 4), (1, 2, 5), (100, 0, -10))
    corners = grid.corners()
    assert corners.shape == (8, 3)
    assert corners.min(axis=0).tolist() == [99.5, -1, -12.5]
    assert corners.max(axis=0).tolist() == [101.5, 5, 7.5]


@quick
@given(grids())
def test_the_corners_enclose_all_voxels(grid: Grid) -> None:
    corners = grid.corners()  # ordered as product((low, high), repeat=3)
    edges = corners[[4, 2, 1]] - corners[0]
    assert abs(np.linalg.det(edges)) == pytest.approx(np.prod(grid.shape) * grid.voxel_volume_mm3)
    assert np.allclose(corners.mean(axis=0), grid.to_world((np.array(grid.shape) - 1) / 2))


@quick
@given(grids(), st.tuples(*[st.integers(-5, 20)] * 3), st.tuples(*[st.integers(1, 20)] * 3))
def test_crop_keeps_world_positions(grid: Grid, start: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    stop = np.add(start, size)
    part = grid.crop(start, (int(stop[0]), int(stop[1]), int(stop[2])))
    assert part.shape == size
    ijk = np.array([(0, 0, 0), (1, 2, 3), size])
    assert np.allclose(part.to_world(ijk), grid.to_world(ijk + start), atol=1e-6)
    assert np.array_equal(part.affine[:3, :3], grid.affine[:3, :3])


def test_pad_is_undone_by_crop(oblique_grid: Grid) -> None:
    padded = oblique_grid.pad(3)
    assert padded.shape == (26, 30, 16)
    assert np.allclose(padded.to_world((3, 3, 3)), oblique_grid.origin)
    i, j, k = oblique_grid.shape
    assert padded.crop((3, 3, 3), (i + 3, j + 3, k + 3)).is_close(oblique_grid, tolerance_mm=1e-9)


def test_crop_to_nothing_is_refused(oblique_grid: Grid) -> None:
    with pytest.raises(GeometryError, match=r"grid shape is \(0, 1, 1\); expected three numbers of at least 1"):
        oblique_grid.crop((5, 0, 0), (5, 1, 1))


@pytest.mark.parametrize("matrix", signed_permutations())
@pytest.mark.parametrize("degrees", [0, 20])
def test_orientation_and_handedness_are_nibabels(matrix: np.ndarray, degrees: float) -> None:
    tilt = Rotation.from_euler("xyz", (degrees, -degrees / 2, degrees / 3), degrees=True).as_matrix()
    grid = turned(tilt @ matrix @ np.diag((0.5, 2, 7)))
    assert grid.orientation == "".join(aff2axcodes(grid.affine))
    assert grid.handedness == round(np.linalg.det(matrix))
    assert grid.spacing == pytest.approx((0.5, 2, 7))
    assert np.allclose(grid.direction, tilt @ matrix)
    assert not grid.is_sheared


@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize("degrees", [45, 135, -45])
def test_at_45_degrees_the_last_digit_of_the_affine_decides_nothing(axis: str, degrees: float) -> None:
    tie = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    rng = np.random.default_rng(0)
    choices = {turned(tie + rng.normal(scale=1e-12, size=(3, 3))).world_axes for _ in range(20)}
    assert len(choices) == 1


def test_tilted_gantry_is_legal_and_reported() -> None:
    angle = np.radians(15)
    grid = turned(np.array([[1, 0, 0], [0, 1, 3 * np.sin(angle)], [0, 0, 3 * np.cos(angle)]]))
    assert grid.is_sheared
    assert grid.spacing == pytest.approx((1, 1, 3))
    assert grid.voxel_volume_mm3 == pytest.approx(3 * np.cos(angle))
    assert grid.orientation == "RAS"


def test_rounding_in_a_header_is_not_shear() -> None:
    assert not turned(np.array([[1, 5e-5, 0], [0, 1, 0], [0, 0, 1]])).is_sheared
    assert turned(np.array([[1, 2e-4, 0], [0, 1, 0], [0, 0, 1]])).is_sheared


def test_distance_is_that_of_the_worst_corner_in_mm() -> None:
    grid = Grid.from_spacing((10, 10, 10), (2, 2, 2), (1, 1, 1))  # corners at 0 and 20
    assert grid.distance_mm(Grid.from_spacing((10, 10, 10), (2, 2, 2), (1, 1.3, 1.4))) == pytest.approx(0.5)
    assert grid.distance_mm(Grid.from_spacing((10, 10, 10), (2.1, 2, 2), (1.05, 1, 1))) == pytest.approx(1)
    rotation = np.eye(4)
    rotation[:3, :3] = Rotation.from_euler("z", 1, degrees=True).as_matrix()
    radius = 20 * np.sqrt(2)
    assert grid.distance_mm(Grid(grid.shape, rotation @ grid.affine)) == pytest.approx(
        2 * radius * np.sin(np.radians(0.5))
    )


def test_is_close_takes_a_tolerance_in_mm_and_the_same_shape() -> None:
    grid = Grid.from_spacing((10, 10, 10))
    shifted = Grid.from_spacing((10, 10, 10), origin=(0.06, 0, 0))
    assert grid.is_close(grid)
    assert not grid.is_close(shifted)
    assert grid.is_close(shifted, tolerance_mm=0.061)
    assert not grid.is_close(shifted, tolerance_mm=0.059)
    assert not grid.is_close(Grid.from_spacing((10, 10, 11)), tolerance_mm=100)


@pytest.mark.parametrize("spacing", [0.02, 0.3, 1.0, 7.0])
def test_grids_are_the_same_within_a_twentieth_of_the_smallest_spacing(spacing: float) -> None:
    grid = Grid.from_spacing((20, 20, 20), (2 * spacing, spacing, 3 * spacing))
    for part, same in ((0.01, True), (0.049, True), (0.051, False), (0.5, False)):
        assert grid.is_close(Grid.from_spacing(grid.shape, grid.spacing, (0, 0, part * spacing))) is same


@quick
@given(grids(), st.integers(0, 2**32 - 1), st.floats(-4, 0))
def test_the_same_grid_is_the_same_both_ways_and_at_any_scale(grid: Grid, seed: int, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    affine = grid.affine.copy()
    affine[:3] += 10**exponent * min(grid.spacing) * rng.normal(size=(3, 4)) / [*grid.shape, 1]
    other = Grid(grid.shape, affine)
    assert grid.is_close(other) == other.is_close(grid)
    assert grid.tolerance_mm(other) == other.tolerance_mm(grid)
    assert grid.is_close(other) == (grid.distance_mm(other) <= grid.tolerance_mm(other))
    # No voxel is ever taken for its neighbour, and invisible differences do not make grids differ.
    assert 0.05 * min(grid.spacing) * 0.5 < grid.tolerance_mm(other) <= 0.25 * min(grid.spacing)
    in_metres, other_in_metres = (Grid(g.shape, np.diag([1e3, 1e3, 1e3, 1]) @ g.affine) for g in (grid, other))
    if grid.tolerance_mm(other) == pytest.approx(0.05 * min(*grid.spacing, *other.spacing)):
        assert in_metres.tolerance_mm(other_in_metres) == pytest.approx(1e3 * grid.tolerance_mm(other))


@quick
@given(grids())
def test_what_headers_round_is_the_same_grid(grid: Grid) -> None:
    assert grid.is_close(Grid(grid.shape, grid.affine.astype(np.float32)))
    direction, spacing = grid.direction.round(6), np.round(grid.spacing, 6)
    if min(grid.spacing) > 1e-2:  # smaller voxels may be rounded away
        text = grid.affine.copy()
        text[:3, :3], text[:3, 3] = direction * spacing, grid.affine[:3, 3].round(6)
        assert grid.is_close(Grid(grid.shape, text))


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((2, 3), IDENTITY, r"grid shape is \(2, 3\); expected three"),
        ((2, 3, 4, 5), IDENTITY, r"grid shape is \(2, 3, 4, 5\); expected three"),
        ((2, 0, 4), IDENTITY, "at least 1"),
        ((2, 3, 4), np.eye(3), "expected a finite 4x4 matrix"),
        ((2, 3, 4), np.diag((1, np.nan, 1, 1)), "expected a finite 4x4 matrix"),
        ((2, 3, 4), np.diag((1, np.inf, 1, 1)), "expected a finite 4x4 matrix"),
        ((2, 3, 4), np.diag((1, 1, 1, 2)), r"last row of the affine is \[0.0, 0.0, 0.0, 2.0\]"),
        ((2, 3, 4), np.diag((1, 0, 1, 1)), "is singular; expected three independent axes"),
        ((2, 3, 4), np.array([[1, 1, 0, 0], [2, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "is singular"),
        ((2, 3, 4), np.array([[1, 1, 0, 0], [0, 1e-8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "is singular"),
    ],
)
def test_impossible_grids_are_refused(shape: tuple[int, ...], affine: np.ndarray, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Grid(shape, affine)  # type: ignore[arg-type]


@pytest.mark.parametrize("size_mm", [1e-3, 1e-6, 1e3])
def test_voxels_of_any_size_are_legal(size_mm: float, oblique_grid: Grid) -> None:
    affine = oblique_grid.affine.copy()
    affine[:3, :3] *= size_mm
    grid = Grid(oblique_grid.shape, affine)
    assert grid.spacing == pytest.approx(tuple(s * size_mm for s in oblique_grid.spacing))
    assert grid.orientation == oblique_grid.orientation
    assert grid.handedness == oblique_grid.handedness == -1
    assert np.allclose(grid.to_voxel(grid.to_world((19, 23, 9))), (19, 23, 9), atol=1e-4)


@pytest.mark.parametrize("again", [by_pickle, copy.copy, copy.deepcopy])
def test_copies_are_the_same_and_read_only(again: Callable[[Grid], Grid], oblique_grid: Grid) -> None:
    other = again(oblique_grid)
    assert other.shape == oblique_grid.shape
    assert np.array_equal(other.affine, oblique_grid.affine)
    with pytest.raises(ValueError, match="read-only"):
        other.affine[0, 0] = 5


def test_a_grid_never_changes() -> None:
    affine = np.eye(4)
    grid = Grid((2, 3, 4), affine)
    affine[0, 3] = 99
    assert grid.origin == (0, 0, 0)
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 99
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'shape'"):
        grid.shape = (1, 1, 1)  # type: ignore[misc]


def test_the_shape_becomes_plain_integers() -> None:
    grid = Grid(np.array([2, 3, 4], dtype=np.int16), np.eye(4))  # type: ignore[arg-type]
    assert grid.shape == (2, 3, 4)
    assert all(type(n) is int for n in grid.shape)


def test_describe_says_what_a_reader_of_a_message_needs(oblique_grid: Grid) -> None:
    assert oblique_grid.describe() == "20x24x10 voxels, 0.8x0.9x3 mm, LAS, origin (12.0, -30.0, 55.0)"


def test_lps_and_ras_are_each_others_inverse() -> None:
    assert np.array_equal(RAS_TO_LPS @ RAS_TO_LPS, np.eye(4))
    assert (RAS_TO_LPS @ (1, 2, 3, 1)).tolist() == [-1, -2, 3, 1]
    assert not RAS_TO_LPS.flags.writeable
