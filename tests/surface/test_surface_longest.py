from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from volseg.core.grid import Float, Grid
from volseg.core.labelmap import LabelMap
from volseg.surface import measure
from volseg.surface.longest import longest_distance, longest_within


def on_sphere(rng: np.random.Generator, count: int) -> Float:
    points = rng.normal(size=(count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def lattice_ball(rng: np.random.Generator, count: int) -> Float:
    """Corners of voxels: many distances are equal, many points lie in one plane."""
    radius = 2 + count // 100
    points = np.mgrid[tuple([slice(-radius, radius + 1)] * 3)].reshape(3, -1).T
    return np.asarray(points[(points**2).sum(axis=1) <= radius**2], dtype=float)


def coin(rng: np.random.Generator, count: int) -> Float:
    """Two circles, on which every point has one that is as far away as any."""
    angles = np.linspace(0, 2 * np.pi, count)
    return np.stack([np.cos(angles), np.sin(angles), rng.choice([-0.1, 0.1], count)], axis=1)


def linked_arcs(rng: np.random.Generator, count: int) -> Float:
    """Two arcs, each about the middle of the other: all distances between them are alike."""
    angle = rng.uniform(-0.5, 0.5, count)
    first = np.stack([np.cos(angle) - 0.5, np.sin(angle), 0 * angle], axis=1)
    return np.concatenate([first, -first[:, [0, 2, 1]]])


BODIES = {
    "ball": on_sphere,
    "full ball": lambda rng, n: on_sphere(rng, n) * rng.random((n, 1)),
    "ellipsoid": lambda rng, n: on_sphere(rng, n) * [3, 2, 1],
    "needle": lambda rng, n: on_sphere(rng, n) * [50, 1e-3, 1e-3],
    "leaf": lambda rng, n: on_sphere(rng, n) * [5, 4, 1e-4],
    "in a plane": lambda rng, n: on_sphere(rng, n) * [5, 4, 0],
    "on a line": lambda rng, n: on_sphere(rng, n) * [5, 0, 0],
    "on one spot": lambda rng, n: np.zeros((n, 3)),
    "box": lambda rng, n: rng.integers(0, 2, (n, 3)) * [3, 2, 1.0],
    "some twice": lambda rng, n: np.resize(on_sphere(rng, 1 + n // 3), (n, 3)),
    "rounded box": lambda rng, n: 3 * np.sign(on_sphere(rng, n)) + on_sphere(rng, n),
    "lattice ball": lattice_ball,
    "coin": coin,
    "linked arcs": linked_arcs,
}


@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("body", BODIES)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 900),
    size_mm=st.sampled_from((1e-3, 1.0, 80.0)),
    shift_mm=st.sampled_from((0.0, 1000.0)),
)
def test_is_that_of_all_pairs(body: str, seed: int, count: int, size_mm: float, shift_mm: float) -> None:
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix() if seed % 2 else np.eye(3)
    points = size_mm * BODIES[body](rng, count) @ turn + shift_mm
    expected = cdist(points, points).max()
    assert longest_distance(points) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert longest_distance(points, at_least=expected / 2) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert longest_distance(points, at_least=2 * expected + 1) == 2 * expected + 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 40), max_size=8))
def test_of_several_sets_it_is_that_of_the_longest(seed: int, counts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    sets = [rng.normal(size=(n, 3)) * rng.uniform(0.1, 2) + 100 * rng.random(3) for n in counts]
    expected = max((cdist(s, s).max() for s in sets if len(s)), default=0.0)
    assert longest_within(iter(sets)) == pytest.approx(expected, rel=1e-12)


def test_without_points_there_is_no_distance() -> None:
    assert longest_distance(np.empty((0, 3))) == 0
    assert longest_within([np.empty((0, 3))]) == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    density=st.sampled_from((0.02, 0.3, 1.0)),
    order=st.permutations(range(3)),
)
def test_of_voxels_it_is_that_of_all_their_corners(
    seed: int, shape: tuple[int, int, int], density: float, order: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = (
        Rotation.from_rotvec(0.4 * rng.random(3)).as_matrix() @ np.diag([0.4, -1.5, 5])[:, np.argsort(order)]
    )
    grid = Grid(shape, affine)
    mask = rng.random(shape) < density
    mask[tuple(n // 2 for n in shape)] = True
    (size,) = measure(LabelMap.from_array(mask, grid))
    assert size.by_voxels is not None
    around = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)])
    corners = grid.to_world(np.argwhere(mask)[:, None] + around).reshape(-1, 3)
    assert size.by_voxels.longest_mm == pytest.approx(cdist(corners, corners).max(), rel=1e-12)
    np.testing.assert_allclose(size.by_voxels.bounds_mm, [corners.min(axis=0), corners.max(axis=0)])
    axis = grid.world_axes[0].index(2)
    around[:, axis] = 0
    flat = [grid.to_world(ijk[None] + around) for ijk in np.argwhere(mask)]
    slices = np.argwhere(mask)[:, axis]
    longest = max(
        cdist(*[np.concatenate([p for p, n in zip(flat, slices, strict=True) if n == k])] * 2).max() for k in slices
    )
    assert size.by_voxels.longest_axial_mm == pytest.approx(longest, rel=1e-12)
