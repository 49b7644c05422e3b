"""OBJ files, read by VTK, by trimesh and by volseg."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from mesh_files import BOUNDS_FROM_LPS, CORNERS, TRIANGLES, VOLUME, obj_text
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOGeometry import vtkOBJReader

from volseg.core.mesh import Mesh
from volseg.errors import InputError, OutputError
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.writing import write_mesh, write_mesh_files, write_meshes

BALL = trimesh.creation.icosphere(subdivisions=1, radius=10)


def ball(name: str, colour: tuple[int, int, int] = (200, 100, 50), *, x: float = 50) -> Mesh:
    """A ball at (x, -20, 30) mm, RAS+."""
    return Mesh(np.asarray(BALL.vertices) + np.array([x, -20, 30]), np.asarray(BALL.faces), name, colour)


@pytest.mark.parametrize(("space", "signs"), [("lps", (-1, -1, 1)), ("ras", (1, 1, 1))])
def test_vtk_reads_place_winding_and_space(tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
    meshes = [ball("left kidney"), ball("spleen", x=100)]
    path = write_mesh(meshes, tmp_path / "all.obj", space=space)
    assert path.read_text(encoding="utf-8").splitlines()[0] == f"# SPACE={space.upper()}"
    reader = vtkOBJReader()
    reader.SetFileName(str(path))
    reader.Update()
    assert reader.GetComment().startswith(f"SPACE={space.upper()}\n")  # what 3D Slicer looks at
    surface = reader.GetOutput()
    points = vtk_to_numpy(surface.GetPoints().GetData()).astype(float)
    found = Mesh(points, vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3))
    low, high = np.array([40, -30, 20]), np.array([110, -10, 40])
    np.testing.assert_allclose(found.bounds, np.sort(np.stack([low, high]) * signs, axis=0), atol=0.6)
    parts = surface.GetCellData().GetArray("GroupIds")
    assert np.unique(vtk_to_numpy(parts), return_counts=True)[1].tolist() == [len(BALL.faces)] * 2
    assert found.is_closed
    assert found.volume_mm3 == pytest.approx(2 * BALL.volume, rel=1e-5)


def test_trimesh_reads_names_colours_and_volumes(tmp_path: Path) -> None:
    meshes = [ball("Leber <&\"'> größe", (255, 0, 7)), ball("脾臓", (1, 2, 3), x=80)]
    scene = trimesh.load_scene(write_mesh(meshes, tmp_path / "all.obj", space="ras"))
    assert set(scene.geometry) == {"Leber_größe", "脾臓"}
    for mesh, name in zip(meshes, ("Leber_größe", "脾臓"), strict=True):
        found = scene.geometry[name]
        np.testing.assert_allclose(found.bounds, mesh.bounds, rtol=1e-6)
        assert found.is_watertight
        assert found.volume == pytest.approx(BALL.volume, rel=1e-6)
        assert tuple(found.visual.material.diffuse[:3]) == mesh.colour


@pytest.mark.parametrize("space", ["lps", "ras"])
def test_volseg_reads_it_back(tmp_path: Path, space: str) -> None:
    names = [f"label {n}" for n in range(98)] + ["Liver", "LIVER"]
    meshes = [ball(name, (n, 255 - n, 7), x=30.0 * n) for n, name in enumerate(names)]
    found = read_meshes(write_mesh(meshes, tmp_path / "all.obj", space=space))
    assert [mesh.name for mesh in found] == [f"label_{n}" for n in range(98)] + ["Liver", "LIVER_2"]
    assert [mesh.colour for mesh in found] == [mesh.colour for mesh in meshes]
    for mesh, other in zip(meshes, found, strict=True):
        np.testing.assert_allclose(other.bounds, mesh.bounds, rtol=1e-6)
        assert other.volume_mm3 == pytest.approx(BALL.volume, rel=1e-5)


def test_material_files_have_no_spaces_and_are_not_shared_by_accident(tmp_path: Path) -> None:
    files = [write_mesh_files(ball("a"), tmp_path / f"{stem}.obj") for stem in ("my scan", "my_scan", "my  scan")]
    materials = [mtl.name for mtl, _ in files]
    assert len(set(materials)) == 3
    assert materials[1] == "my_scan.mtl"
    for mtl, obj in files:
        assert " " not in mtl.name
        assert f"\nmtllib {mtl.name}\n" in obj.read_text(encoding="utf-8")
    write_mesh_files(ball("b"), tmp_path / "my scan.obj")
    assert len(list(tmp_path.iterdir())) == 6
    assert [mesh.name for mesh in read_meshes(tmp_path / "my scan.obj")] == ["b"]


def test_one_file_a_label(tmp_path: Path) -> None:
    paths = write_meshes([ball("left kidney"), ball("Left Kidney")], tmp_path, formats=("obj",))
    names = ["left_kidney.mtl", "left_kidney.obj", "Left_Kidney_2.mtl", "Left_Kidney_2.obj"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mesh(ball("a"), tmp_path / "a.obj")

    def fail(*_: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("volseg.io.mesh.obj.text_rows", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_mesh(ball("b"), path)
    assert "\no a\n" in path.read_text(encoding="utf-8")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mtl", "a.obj"]


def test_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_mesh(ball("a"), tmp_path / "file" / "a.obj")


FOREIGN = """# made elsewhere
mtllib my colours.mtl
v 0 0 0 1 1 1
v 4 0 0
v 4 4 0
v 0 4 0
usemtl red
f 1/1/1 2/1/1 \\
  3//2 4
o top
usemtl none
v 0 0 9
f -1 -4\t-3
"""


def test_what_others_write_is_read(tmp_path: Path) -> None:
    """A polygon, textures, indices from the end, a continued line, shared vertices, a name with a space, no tag."""
    (tmp_path / "my colours.mtl").write_text("newmtl red\r\nKd 1 0 0\r\nmap_Kd red.png\r\n")
    (tmp_path / "a.obj").write_text(FOREIGN)
    first, second = read_meshes(tmp_path / "a.obj")
    assert (first.name, first.colour, second.name) == ("a", (255, 0, 0), "top")
    assert first.area_mm2 == pytest.approx(16)
    np.testing.assert_array_equal(first.bounds, [[-4, -4, 0], [0, 0, 0]])
    np.testing.assert_array_equal(second.vertices[second.faces[0]], [[0, 0, 9], [-4, 0, 0], [-4, -4, 0]])


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda text: text.replace("\n", "\r"), "utf-8"),
        (lambda text: text.replace("\n", "\r\n"), "utf-8-sig"),
        (lambda text: text, "utf-16"),
        (lambda text: "\n".join(f"\t{line.replace(' ', '  ')} # said" for line in text.splitlines()), "utf-8"),
    ],
)
def test_other_ends_of_lines_encodings_and_comments(
    tmp_path: Path, change: Callable[[str], str], encoding: str
) -> None:
    path = tmp_path / "a.obj"
    path.write_bytes(change(obj_text()).encode(encoding))
    (mesh,) = read_meshes(path)
    assert mesh.is_closed
    np.testing.assert_array_equal(mesh.bounds, BOUNDS_FROM_LPS)


def test_indices_from_the_end_are_of_the_vertices_so_far(tmp_path: Path) -> None:
    def box(shift: float) -> str:
        lines = ["v {:g} {:g} {:g}".format(*corner) for corner in CORNERS + np.array([shift, 0, 0])]
        return "\n".join([*lines, *("f {} {} {}".format(*(corner - 8 for corner in face)) for face in TRIANGLES), ""])

    path = tmp_path / "a.obj"
    path.write_text(f"o a\n{box(0)}o b\n{box(100)}")
    meshes = read_meshes(path)
    assert [mesh.name for mesh in meshes] == ["a", "b"]
    assert [mesh.volume_mm3 for mesh in meshes] == pytest.approx([VOLUME, VOLUME])


@pytest.mark.parametrize(
    "library",
    ["/dev/zero", "../a.mtl", "sub/../../a.mtl", "C:\\a.mtl", "..\\a.mtl", "pipe", "folder", "big.mtl", "", "a\0b"],
)
def test_no_other_file_is_opened_for_colours(tmp_path: Path, library: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    (folder / "folder").mkdir(parents=True)
    for name in (tmp_path / "a.mtl", folder / "C:\\a.mtl", folder / "..\\a.mtl"):
        name.write_text("newmtl red\nKd 1 0 0\n")
    (folder / "big.mtl").write_text("#" * (1 << 22) + "\nnewmtl red\nKd 1 0 0\n")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    path = folder / "a.obj"
    path.write_text(f"mtllib {library}\nusemtl red\n{obj_text()}")
    (mesh,) = read_meshes(path, colour=(1, 2, 3))
    assert mesh.colour == (1, 2, 3)
    assert "shown without its own colours" in caplog.text


def test_many_material_files_and_groups_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.obj"
    path.write_text("".join(f"mtllib {n}.mtl\n" for n in range(100)) + obj_text())
    read_meshes(path)
    assert len(caplog.records) == 16
    path.write_text(obj_text() + "".join(f"o {n}\nf 1 2 3\n" for n in range(5000)))
    with pytest.raises(InputError, match="holds 5001 groups; expected at most 4096"):
        read_meshes(path)


def test_missing_colours_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_mesh([ball("a"), ball("b", x=99)], tmp_path / "a.obj")
    (tmp_path / "a.mtl").unlink()
    with caplog.at_level(logging.WARNING):
        meshes = read_meshes(path, colour=(1, 2, 3))
    assert "without its own colours, as a.mtl cannot be read" in caplog.text
    assert [(mesh.name, mesh.colour) for mesh in meshes] == [("a", (1, 2, 3)), ("b", (1, 2, 3))]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = write_mesh(ball("a"), tmp_path / "a.obj")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"a\.obj: (is damaged|holds no triangles)"):
        read_meshes(path)


@pytest.mark.parametrize(
    ("face", "part"),
    [
        ("f 1 2", "2 corners"),
        ("f 1 2 0", "refers to vertex 0"),
        ("f 1 2 9", "vertex 9 of 3"),
        ("f 1 2 -9", "refers to vertex -9"),
        ("f 1 2 x", "invalid literal"),
        ("f 1 2 99999999999999999999999", "damaged"),
        ("v 1 2", "damaged"),
        ("v nan 0 0\nf 1 2 4", "finite"),
        ("", "no triangles"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, face: str, part: str) -> None:
    path = tmp_path / "a.obj"
    path.write_text(f"v 0 0 0\nv 1 0 0\nv 1 1 0\n{face}\n")
    with pytest.raises(InputError, match=part):
        read_meshes(path)


def test_damaged_colours_and_binary_rubbish_are_refused(tmp_path: Path) -> None:
    path = write_mesh(ball("a"), tmp_path / "a.obj")
    (tmp_path / "a.mtl").write_text("newmtl a\nKd 1 nan 0\n")
    with pytest.raises(InputError, match=r"a\.obj: is damaged"):
        read_meshes(path)
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match=r"a\.obj: (is damaged|holds no triangles)"):
        read_meshes(path)
