"""PLY files of any layout that the format allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_files import BOUNDS, BOUNDS_FROM_LPS, CORNERS, QUADS, TRIANGLES, VOLUME, ply_bytes

from volseg.errors import InputError
from volseg.io.mesh.ply import parse_ply
from volseg.io.mesh.reading import read_meshes

FORMS = ["ascii", "binary_little_endian", "binary_big_endian"]
RED = {name: ("uchar", [value] * 12) for name, value in (("red", 200), ("green", 10), ("blue", 30))}

properties = st.dictionaries(
    st.sampled_from(["nx", "quality", "flags", "texcoord", "s"]),
    st.sampled_from(["list", "float", "uchar", "ushort", "double"]),
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(FORMS),
    # Each side of the box as a quadrangle or as two triangles.
    sides=st.lists(st.booleans(), min_size=6, max_size=6),
    elements=st.permutations(["vertex", "face", "camera", "edge"]),
    of_vertices=properties,
    of_faces=properties,
    lists=st.tuples(st.sampled_from(["uchar", "char", "ushort", "int"]), st.sampled_from(["uchar", "short", "uint"])),
    position=st.sampled_from(["float", "double"]),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    colours=st.sampled_from(["", "vertex", "face"]),
)
def test_any_layout_is_the_same_box(tmp_path: Path, **layout: object) -> None:
    sides, colours, form = layout.pop("sides"), layout.pop("colours"), layout.pop("form")
    faces = [face for n in range(6) for face in ([QUADS[n]] if sides[n] else TRIANGLES[2 * n : 2 * n + 2])]
    for key in ("of_vertices", "of_faces"):
        # A list goes with the corners of a face.
        kinds = {
            name: "short" if kind == "list" and key == "of_vertices" else kind for name, kind in layout[key].items()
        }
        layout[key] = {name: (kind, range(12)) for name, kind in kinds.items()}
        layout[key] |= RED if colours and colours in {"of_vertices": "vertex", "of_faces": "face"}[key] else {}
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(form, faces=faces, **layout))
    (mesh,) = read_meshes(path, colour=(1, 2, 3))
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(VOLUME)
    np.testing.assert_array_equal(mesh.bounds, BOUNDS_FROM_LPS)
    assert mesh.colour == ((200, 10, 30) if colours else (1, 2, 3))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("faces", [TRIANGLES, QUADS])
def test_trimesh_agrees(tmp_path: Path, form: str, faces: list[list[int]]) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(form, faces=faces, of_faces={"texcoord": ("list", ())}))
    other = trimesh.load_mesh(path, process=False)
    (mesh,) = read_meshes(path)
    np.testing.assert_array_equal(mesh.bounds * [-1, -1, 1], other.bounds[[[1, 1, 0], [0, 0, 1]], range(3)])
    assert mesh.volume_mm3 == pytest.approx(other.volume)


@pytest.mark.parametrize("form", FORMS)
def test_a_tag_in_a_comment_says_the_space(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(form, comments=["made by hand", "element face 7", "space = ras"]))
    (mesh,) = read_meshes(path)
    np.testing.assert_array_equal(mesh.bounds, BOUNDS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "share", "expected"),
    [("uchar", 255, 200), ("float", 1, 200), ("float", 255, 200), ("ushort", 65535, 200), ("double", 1, 200)],
)
def test_colours_of_any_type(tmp_path: Path, form: str, kind: str, share: float, expected: int) -> None:
    values = {"red": 200 / 255, "green": 10 / 255, "blue": 0, "alpha": 1}
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(form, of_vertices={n: (kind, [round(v * share, 6)] * 8) for n, v in values.items()}))
    (mesh,) = read_meshes(path)
    assert mesh.colour == (expected, 10, 0)


@pytest.mark.parametrize("which", ["of_vertices", "of_faces"])
def test_a_surface_of_several_colours_is_not_torn_apart(tmp_path: Path, which: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(**{which: RED | {"red": ("uchar", [0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9])}}))
    (mesh,) = read_meshes(path, colour=(1, 2, 3))
    assert mesh.is_closed
    assert mesh.colour == (1, 2, 3)


def test_strips_are_triangles() -> None:
    """As Stanford's scans have them: one list of strips, each ended by -1."""
    strips = [corner for a, b, c, d in QUADS for corner in (a, b, d, c, -1)]
    data = ply_bytes(elements=["vertex"]).replace(
        b"end_header", b"element tristrips 1\nproperty list int int vertex_indices\nend_header"
    )
    content = parse_ply(data + f"{len(strips)} {' '.join(map(str, strips))}\n".encode())
    assert len(content.faces) == 12
    a, b, c = (CORNERS[content.faces[:, n]] for n in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(VOLUME)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(FORMS), mixed=st.booleans(), data=st.data())
def test_files_cut_anywhere_are_refused(tmp_path: Path, form: str, mixed: bool, data: st.DataObject) -> None:
    whole = ply_bytes(form, faces=[*QUADS[:3], *TRIANGLES[6:]] if mixed else TRIANGLES)
    # In a text file the last number may be cut without a sign of it.
    end = data.draw(st.integers(0, len(whole) - (8 if form == "ascii" else 1)))
    path = tmp_path / "a.ply"
    path.write_bytes(whole[:end])
    with pytest.raises(InputError, match=r"a\.ply: is damaged, cut short or not PLY \(.+\)"):
        read_meshes(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ply", "plx", "does not start with a PLY header"),
        ("end_header", "end_headers", "does not start with a PLY header"),
        ("face 12", "face 13", "20 lines for 21 rows"),
        ("face 12", "face -1", "20 lines for 7 rows"),
        ("vertex 8", "vertex 9", "20 lines for 21 rows"),
        ("vertex 8\n", "vertex 9\nelement face -1\n", "-1 of face"),
        ("0 20 -30\n", "0 20 -30 7\n", "more numbers than its header declares"),
        ("float x", "float w", "without 'x'"),
        ("float x", "thing x", "without 'thing'"),
        ("list uchar int vertex_indices", "int vertex_indices", "more numbers than its header declares"),
        ("3 0 1 3", "-3 0 1 3", "ends within"),
        ("3 0 1 3", "3 0 1 8", r"outside 0\.\.7"),
        ("3 0 1 3", "3 0 1 -1", r"outside 0\.\.7"),
        ("3 0 1 3", "3 0 1 nan", "invalid"),
        ("3 0 1 3", "1e300 0 1 3", "ends within"),
        ("3 0 1 3", "3 0 1 x", "."),
        ("0 20 -30", "0 nan -30", "finite"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes().replace(old.encode(), new.encode(), 1))
    with pytest.raises(InputError, match=rf"a\.ply: is damaged, cut short or not PLY \(.*{message}"):
        read_meshes(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("face 12", "face 13", "cut short|requires a buffer"),
        ("face 12", "face 99999999999999999", "requires a buffer"),
        ("vertex 8", "vertex 99999999999999999", "cut short"),
        ("list uchar int vertex_indices", "int vertex_indices", "no lists of corners"),
    ],
)
def test_damaged_binary_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes("binary_little_endian").replace(old.encode(), new.encode(), 1))
    with pytest.raises(InputError, match=rf"a\.ply: is damaged, cut short or not PLY \(.*({message})"):
        read_meshes(path)


@pytest.mark.parametrize("elements", [["vertex"], ["face"], ["camera"], []])
def test_files_without_triangles_are_refused(tmp_path: Path, elements: list[str]) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(elements=elements))
    with pytest.raises(InputError, match=r"a\.ply: (holds no triangles|is damaged)"):
        read_meshes(path)
