from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from volseg.core.mesh import Mesh
from volseg.errors import InputError

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
# Two triangles a side, counter-clockwise seen from outside; corner n is (n >> 2, n >> 1 & 1, n & 1).
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
FACES = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]])
OFFSETS = [(0, 0, 0), (1e5, -2e5, 3e5)]


def box(size: tuple[float, float, float] = (2, 3, 5), offset: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    return Mesh(CORNERS * size + offset, FACES)


@pytest.mark.parametrize("offset", OFFSETS)
def test_area_volume_and_bounds_of_a_box(offset: tuple[float, float, float]) -> None:
    mesh = box(offset=offset)
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(30, rel=1e-9)
    assert mesh.area_mm2 == pytest.approx(2 * (6 + 10 + 15), rel=1e-9)
    assert np.allclose(mesh.bounds, [offset, np.add(offset, (2, 3, 5))])


def test_inside_out_is_closed_and_has_negative_volume() -> None:
    mesh = Mesh(box().vertices, FACES[:, ::-1])
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(-30)


def test_mirrored_vertices_turn_the_mesh_inside_out() -> None:
    mesh = box()
    assert mesh.with_vertices(mesh.vertices * (-1, 1, 1)).volume_mm3 == pytest.approx(-30)
    assert mesh.with_vertices(mesh.vertices * (-1, -1, 1)).volume_mm3 == pytest.approx(30)


def test_a_hole_or_one_face_turned_round_is_not_closed() -> None:
    assert not Mesh(CORNERS, FACES[1:]).is_closed
    turned = FACES.copy()
    turned[0] = turned[0, ::-1]
    assert not Mesh(CORNERS, turned).is_closed


def test_two_boxes_are_closed_together() -> None:
    both = Mesh(np.concatenate([CORNERS, CORNERS + 10]), np.concatenate([FACES, FACES + 8]))
    assert both.is_closed
    assert both.volume_mm3 == pytest.approx(2)


def test_an_empty_mesh_bounds_nothing() -> None:
    mesh = Mesh(np.empty((0, 3)), np.empty((0, 3)))
    assert not mesh.is_closed
    assert mesh.volume_mm3 == 0
    assert mesh.area_mm2 == 0


def test_with_vertices_keeps_everything_else() -> None:
    mesh = Mesh(CORNERS, FACES, name="bone", colour=(1, 2, 3), point_data={"height": CORNERS[:, 2]})
    moved = mesh.with_vertices(CORNERS + 1)
    assert (moved.name, moved.colour) == ("bone", (1, 2, 3))
    assert np.array_equal(moved.point_data["height"], CORNERS[:, 2])
    assert np.array_equal(mesh.vertices, CORNERS)


@pytest.mark.parametrize(
    ("vertices", "faces", "data", "message"),
    [
        (CORNERS[:, :2], FACES, {}, r"mesh 'bone': vertices have shape \(8, 2\); expected finite \(V, 3\)"),
        (np.where(CORNERS == 1, np.nan, CORNERS), FACES, {}, "expected finite"),
        (CORNERS, SIDES, {}, r"faces have shape \(6, 4\); expected \(F, 3\)"),
        (CORNERS, FACES + 1, {}, r"faces name vertices outside 0\.\.7"),
        (CORNERS, FACES - 1, {}, r"faces name vertices outside 0\.\.7"),
        (CORNERS, FACES, {"height": np.zeros(7)}, r"point data \['height'\] does not have one value for each vertex"),
    ],
)
def test_impossible_meshes_are_refused(
    vertices: np.ndarray, faces: np.ndarray, data: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Mesh(vertices, faces, name="bone", point_data=data)


def test_section_of_a_tetrahedron_is_a_triangle() -> None:
    corners = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4.0]])
    mesh = Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    section = mesh.section(mesh.vertices[:, 2], 1.0)
    assert section.shape == (3, 2, 3)
    assert {tuple(point) for point in section.reshape(-1, 3)} == {(0, 0, 1), (3, 0, 1), (0, 3, 1)}
    assert mesh.section(mesh.vertices[:, 2], 5.0).shape == (0, 2, 3)


@pytest.mark.parametrize("at_once", [1, 5, 11, 12])
def test_sums_over_faces_are_the_same_in_parts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large mesh takes many times its memory where all of it is computed at once."""
    mesh = box(offset=(7, 8, 9))
    expected = mesh.volume_mm3, mesh.area_mm2, mesh.area_vectors, mesh.signed_volumes
    monkeypatch.setattr("volseg.core.mesh._AT_ONCE", at_once)
    found = mesh.volume_mm3, mesh.area_mm2, mesh.area_vectors, mesh.signed_volumes
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert mesh.signed_volumes.sum() == pytest.approx(30, rel=1e-9)


def test_computing_takes_little_beside_the_mesh() -> None:
    mesh = Mesh(np.tile(CORNERS, (400_000, 1)), np.tile(FACES, (400_000, 1)))
    size = mesh.vertices.nbytes + mesh.faces.nbytes
    tracemalloc.start()
    assert mesh.volume_mm3 == pytest.approx(4e5)
    assert mesh.area_mm2 == pytest.approx(24e5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2
