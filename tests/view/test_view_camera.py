from __future__ import annotations

import numpy as np
import pytest

from volseg.core.mesh import Mesh
from volseg.phantoms import make_ct_phantom
from volseg.surface import extract_surfaces
from volseg.view.camera import USUAL, axes_towards, best_direction, direction, visible_shares

CUBE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) - 0.5
CUBE_FACES = np.array(
    [
        *([0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4]),
        *([2, 3, 7], [2, 7, 6], [1, 2, 6], [1, 6, 5], [3, 0, 4], [3, 4, 7]),
    ]
)
FRONT = np.array([0.0, 1.0, 0.0])


def box(centre: tuple[float, float, float], size: tuple[float, float, float]) -> Mesh:
    return Mesh(CUBE * size + centre, CUBE_FACES)


def test_axes_are_right_handed_with_the_head_up() -> None:
    right, up, towards = axes_towards(FRONT)
    assert np.allclose(right, (-1, 0, 0))
    assert np.allclose(up, (0, 0, 1))
    assert np.allclose(towards, FRONT)
    assert direction(90, 0) == pytest.approx((-1, 0, 0), abs=1e-9)  # from the patient's left


def test_shares_of_boxes_behind_each_other() -> None:
    front, behind = box((0, 50, 0), (40, 10, 40)), box((0, -50, 0), (40, 10, 80))
    shares = visible_shares([front, behind], FRONT)
    assert shares[0] == 1
    assert shares[1] == pytest.approx(0.5, abs=0.08)
    assert visible_shares([front, behind], -FRONT) == pytest.approx((0, 1), abs=0.08)


def test_the_usual_direction_stays_where_nothing_is_hidden() -> None:
    apart = [box((-60, 0, 0), (30, 30, 30)), box((60, 0, 0), (30, 30, 30))]
    assert np.array_equal(best_direction(apart), direction(*USUAL))
    assert np.array_equal(best_direction(apart[:1]), direction(*USUAL))
    assert np.array_equal(best_direction([]), direction(*USUAL))


def test_a_body_hidden_from_the_usual_side_is_seen() -> None:
    usual = direction(*USUAL)
    small = box((0, 0, 0), (20, 20, 20))
    hiding = box(tuple(50 * usual), (60, 20, 60))
    assert visible_shares([hiding, small], usual)[1] < 0.05
    chosen = best_direction([hiding, small])
    assert visible_shares([hiding, small], chosen)[1] > 0.7
    assert np.array_equal(chosen, best_direction([hiding, small]))


def test_all_structures_of_the_phantom_are_seen() -> None:
    meshes = extract_surfaces(make_ct_phantom(seed=0).labels)
    kidney = [mesh.name for mesh in meshes].index("right_kidney")
    assert visible_shares(meshes, direction(*USUAL))[kidney] < 0.2
    assert visible_shares(meshes, best_direction(meshes)).min() > 0.3
