from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mesh_files import glb_bytes, glb_parts

from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.files.plain_text import plain
from volseg.io.mesh.formats import MESH_SUFFIXES
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.writing import write_mesh, write_meshes

TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [4, 0, 0], [0, 5, 0], [0, 0, 6.0]]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
)
CENTRE = (-5.0, -20.0, 30.0)
FILES = [("a.stl", True), ("a.stl", False), ("a.ply", True), ("a.ply", False), ("a.vtp", True), ("A.STL", True)]


def save(path: Path, *, binary: bool = True, tag: str | None = None) -> Path:
    # The other sign of x and y: the file speaks LPS.
    sphere = pv.Sphere(radius=10, center=(5, 20, 30))
    if tag and path.suffix == ".vtp":
        sphere.field_data["SPACE"] = [tag]
    plain = path.with_suffix(path.suffix.lower())
    sphere.save(plain, binary=binary)
    plain.rename(path)
    if tag and path.suffix == ".stl":
        data = path.read_bytes()
        path.write_bytes(f"volseg SPACE={tag}".encode().ljust(80) + data[80:])
    if tag and path.suffix == ".ply":
        path.write_bytes(path.read_bytes().replace(b"comment ", f"comment SPACE={tag}\ncomment ".encode(), 1))
    return path


@pytest.mark.parametrize(("name", "binary"), FILES)
def test_meshes_without_a_tag_are_lps(name: str, binary: bool, tmp_path: Path) -> None:
    (mesh,) = read_meshes(save(tmp_path / name, binary=binary), colour=(1, 2, 3))
    assert np.allclose(mesh.bounds.mean(axis=0), CENTRE, atol=0.1)
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(4 / 3 * np.pi * 1000, rel=0.02)
    assert (mesh.name, mesh.colour) == (name[:1], (1, 2, 3))


@pytest.mark.parametrize("name", ["a.stl", "a.ply", "a.vtp"])
@pytest.mark.parametrize(("tag", "sign"), [("LPS", 1), ("RAS", -1)])
def test_tag_in_the_file_says_the_space(name: str, tag: str, sign: int, tmp_path: Path) -> None:
    (mesh,) = read_meshes(save(tmp_path / name, tag=tag))
    assert np.allclose(mesh.bounds.mean(axis=0), np.array(CENTRE) * (sign, sign, 1), atol=0.1)
    assert mesh.volume_mm3 > 0


@pytest.mark.parametrize(("name", "binary"), FILES)
def test_files_cut_short_are_refused(
    name: str, binary: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / name, binary=binary)
    data = path.read_bytes()
    for length in (0, 60, len(data) // 2):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="is damaged, cut short or not"):
            read_meshes(path)
    assert capfd.readouterr().err == ""


TEXTS = st.lists(st.text(st.characters(exclude_categories=()), min_size=1, max_size=300), min_size=1, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(names=TEXTS)
@example(names=["a\0b", "\ud800", "\x1b[2J", "a\nb", "\ufffe", "<&\"'>", "脾臓" * 150, "x" * 1000])
def test_names_of_any_characters_are_written_and_read(tmp_path: Path, names: list[str]) -> None:
    """As plain text on one line, in the files and as their names."""
    meshes = [TETRAHEDRON.with_vertices(TETRAHEDRON.vertices + 9 * n) for n, _ in enumerate(names)]
    meshes = [replace(mesh, name=name) for mesh, name in zip(meshes, names, strict=True)]
    for suffix in ("vtp", "vtm", "glb", "3mf"):
        found = read_meshes(write_mesh(meshes, tmp_path / f"all.{suffix}"))
        assert [mesh.name for mesh in found] == [plain(name) or "all" for name in names]
    for suffix in ("stl", "ply", "obj"):
        assert read_meshes(write_mesh(meshes, tmp_path / f"all.{suffix}"))
    paths = write_meshes(meshes, tmp_path / "each", formats=("stl", "vtm"))
    assert len(set(paths)) == 2 * len(names) + 1
    for path in paths:
        assert path.is_file()
        assert plain(path.name) == path.name
        assert len(path.name.encode()) < 255


def test_names_in_files_of_others_become_plain(tmp_path: Path) -> None:
    document, binary = glb_parts()
    document["nodes"][0]["name"] = "\ud800\x1b[31mred\n"
    (tmp_path / "a.glb").write_bytes(glb_bytes(document, binary))
    assert [mesh.name for mesh in read_meshes(tmp_path / "a.glb")] == ["??[31mred "]


def test_colour_gradients_stay_one_mesh(tmp_path: Path) -> None:
    sphere = pv.Sphere(theta_resolution=40, phi_resolution=40)
    sphere["RGB"] = np.random.default_rng(0).integers(0, 255, (sphere.n_points, 3), dtype=np.uint8)
    sphere.save(tmp_path / "a.ply", texture="RGB")
    (mesh,) = read_meshes(tmp_path / "a.ply", colour=(1, 2, 3))
    assert mesh.colour == (1, 2, 3)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"expected {', '.join(MESH_SUFFIXES)}")):
        read_meshes(tmp_path / "a.step")
