"""Distances between surfaces of known shape."""

from __future__ import annotations

import numpy as np
import pytest

from volseg.core.mesh import Mesh
from volseg.surface.distance import distances, lie_within

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
FACES = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]])


def cube(size: float, corner: float = 0) -> Mesh:
    return Mesh(CORNERS * size + corner, FACES)


def test_a_cube_in_a_cube() -> None:
    inner, outer = cube(10, 1), cube(12)
    np.testing.assert_allclose(distances(inner, outer), 1)
    away = distances(outer, inner)
    # The first points are the vertices; the middles of the sides are as far as the sides, the corners further.
    np.testing.assert_allclose(away[:8], np.sqrt(3))
    assert away.min() == pytest.approx(1)
    assert lie_within(1.74, inner, outer)
    assert not lie_within(1.73, inner, outer)


def test_far_from_the_origin_distances_have_as_many_digits() -> None:
    near, far = (distances(cube(10, 1 + start), cube(12, start)) for start in (0, 4000))
    np.testing.assert_allclose(far, near, atol=1e-9)


def test_triangles_without_area_are_no_obstacle() -> None:
    outer = cube(12)
    flat = Mesh(outer.vertices, np.concatenate([[[0, 0, 1], [3, 3, 3]], outer.faces]))
    np.testing.assert_allclose(distances(cube(10, 1), flat), 1)
    assert distances(flat, outer).max() == pytest.approx(0)
