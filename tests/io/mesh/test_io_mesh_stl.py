"""STL files, text and binary, of other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_files import BOUNDS, BOUNDS_FROM_LPS, VOLUME, stl_bytes, stl_text

from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.io.mesh.reading import read_meshes


def read(tmp_path: Path, data: bytes) -> Mesh:
    path = tmp_path / "a.stl"
    path.write_bytes(data)
    (mesh,) = read_meshes(path)
    return mesh


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["box", "", "a vertex of a facet", "solid", "Größe"]),
    ends=st.sampled_from(["\n", "\r\n", "\r", " "]),
    indent=st.sampled_from(["", "  ", "\t"]),
    number=st.sampled_from(["{:g}", "{:.6E}", "{:+.3f}"]),
    case=st.sampled_from([str, str.upper, str.title]),
    before=st.sampled_from(["", "\n  ", "\ufeff"]),
)
def test_any_text_is_the_same_box(tmp_path: Path, case: type[str], before: str, **layout: str) -> None:
    mesh = read(tmp_path, (before + case(stl_text(**layout))).encode())
    assert mesh.is_closed
    assert len(mesh.vertices) == 8
    assert mesh.volume_mm3 == pytest.approx(VOLUME)
    np.testing.assert_array_equal(mesh.bounds, BOUNDS_FROM_LPS)


@pytest.mark.parametrize("header", [b"", b"solid made by a CAD program", b"COLOR=\xff\0\0\xff", b"solid"])
@pytest.mark.parametrize("tail", [b"", b"\0\0\0", b"made by a program"])
def test_any_binary_file_is_the_same_box(tmp_path: Path, header: bytes, tail: bytes) -> None:
    mesh = read(tmp_path, stl_bytes(header, tail=tail))
    assert mesh.is_closed
    assert len(mesh.vertices) == 8
    np.testing.assert_array_equal(mesh.bounds, BOUNDS_FROM_LPS)


@pytest.mark.parametrize("data", [stl_bytes(), stl_text().encode()], ids=["binary", "text"])
def test_trimesh_agrees(tmp_path: Path, data: bytes) -> None:
    mesh = read(tmp_path, data)
    other = trimesh.load_mesh(tmp_path / "a.stl")
    assert mesh.volume_mm3 == pytest.approx(other.volume)
    np.testing.assert_array_equal(np.sort(np.abs(mesh.bounds), axis=0), np.sort(np.abs(other.bounds), axis=0))


@pytest.mark.parametrize("data", [stl_bytes(b"3D Slicer. SPACE=RAS"), stl_text(name="SPACE = ras").encode()])
def test_a_tag_says_the_space(tmp_path: Path, data: bytes) -> None:
    np.testing.assert_array_equal(read(tmp_path, data).bounds, BOUNDS)


def test_two_solids_are_both_read(tmp_path: Path) -> None:
    second = stl_text().replace("vertex 0 ", "vertex 100 ").replace("vertex 10 ", "vertex 110 ")
    assert read(tmp_path, (stl_text() + second).encode()).volume_mm3 == pytest.approx(2 * VOLUME)


def test_triangles_without_area_are_left_out(tmp_path: Path) -> None:
    flat = stl_text().replace("vertex 10 40 -30", "vertex 10 40 0")
    mesh = read(tmp_path, flat.encode())
    assert len(mesh.faces) < 12
    assert mesh.is_closed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.booleans(), data=st.data())
def test_files_cut_anywhere_are_refused(tmp_path: Path, text: bool, data: st.DataObject) -> None:
    whole = stl_text().encode() if text else stl_bytes()
    end = data.draw(st.integers(0, len(whole) - (len("endsolid box\n") if text else 1)))
    with pytest.raises(InputError, match=r"a\.stl: (holds no triangles|is damaged, cut short or not STL \(.*cut)"):
        read(tmp_path, whole[:end])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("endfacet", "endfaceT2"),
        ("facet normal", "facet"),
        ("vertex", "vertices"),
        ("vertex 0 20", "vertex 0"),
        (" 20", " x"),
    ],
)
def test_damaged_texts_are_refused(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(InputError, match=r"a\.stl: is damaged, cut short or not STL"):
        read(tmp_path, stl_text().replace(old, new, 1).encode())


@pytest.mark.parametrize(
    "data",
    [
        stl_bytes(count=13),
        stl_bytes(count=2**32 - 1),
        stl_bytes()[:84] + b"\xff" * 600,
        stl_text().replace(" 20", " nan").encode(),
        stl_text().replace(" 20", " 1e999").encode(),
    ],
)
def test_wrong_counts_and_numbers_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.stl: is damaged"):
        read(tmp_path, data)
