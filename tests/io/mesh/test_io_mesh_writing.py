from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from volseg.core.mesh import Mesh
from volseg.errors import InputError, OutputError, UsageError
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.writing import parse_formats, write_mesh, write_meshes

# Corner at (10, 20, 30); legs of 4, 5 and 6 mm to the right, front and head.
TETRAHEDRON = Mesh(
    np.array([[10, 20, 30], [14, 20, 30], [10, 25, 30], [10, 20, 36.0]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
    "left kidney",
    (200, 100, 50),
)
ELSEWHERE = Mesh(TETRAHEDRON.vertices + 100, TETRAHEDRON.faces, "spleen", (10, 20, 30))


def read_with_vtk(path: Path) -> Mesh:
    """Read with VTK's own reader, without undoing the file's coordinate system."""
    surface = pv.read(path)
    if isinstance(surface, pv.MultiBlock):
        surface = surface.combine().extract_surface(algorithm=None)
    surface = surface.triangulate()
    return Mesh(np.asarray(surface.points, dtype=float), surface.regular_faces)


def read_glb(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    assert data[:4] == b"glTF"
    assert int.from_bytes(data[8:12], "little") == len(data)
    length = int.from_bytes(data[12:16], "little")
    assert data[16:20] == b"JSON"
    assert length % 4 == 0
    binary = data[20 + length :]
    assert binary[4:8] == b"BIN\0"
    assert int.from_bytes(binary[:4], "little") == len(binary) - 8
    return json.loads(data[20 : 20 + length]), binary[8:]


def test_tetrahedron_is_outward() -> None:
    assert TETRAHEDRON.is_closed
    assert TETRAHEDRON.volume_mm3 == pytest.approx(20)


@pytest.mark.parametrize(("space", "signs"), [("lps", (-1, -1, 1)), ("ras", (1, 1, 1))])
@pytest.mark.parametrize("suffix", ["stl", "ply", "vtp"])
def test_vtk_reads_what_was_written_in_the_space_that_the_file_names(
    tmp_path: Path, suffix: str, space: str, signs: tuple[int, int, int]
) -> None:
    path = write_mesh(TETRAHEDRON, tmp_path / f"mesh.{suffix}", space=space)
    found = read_with_vtk(path)
    assert found.is_closed
    assert found.volume_mm3 == pytest.approx(20)
    np.testing.assert_allclose(found.bounds, np.sort(TETRAHEDRON.bounds * signs, axis=0))
    if suffix == "vtp":
        assert list(pv.read(path).field_data["SPACE"]) == [space.upper()]
    else:
        header = path.read_bytes()[: 80 if suffix == "stl" else 200]
        assert re.findall(rb"SPACE=(\w+)", header) == [space.upper().encode()]
        assert not header.startswith(b"solid")


def test_default_space_is_lps(tmp_path: Path) -> None:
    assert b"SPACE=LPS" in write_mesh(TETRAHEDRON, tmp_path / "mesh.stl").read_bytes()


def test_stl_has_unit_normals_outwards(tmp_path: Path) -> None:
    data = write_mesh(TETRAHEDRON, tmp_path / "mesh.stl", space="ras").read_bytes()
    assert len(data) == 84 + 4 * 50
    records = np.frombuffer(data[84:], dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    outwards = records["corners"].mean(axis=1) - TETRAHEDRON.vertices.mean(axis=0)
    assert (np.einsum("ij,ij->i", records["normal"], outwards) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(records["normal"], axis=1), 1, rtol=1e-6)


def test_glb_is_in_metres_with_y_up(tmp_path: Path) -> None:
    found = read_with_vtk(write_mesh(TETRAHEDRON, tmp_path / "mesh.glb", space="ras"))
    assert found.volume_mm3 == pytest.approx(20e-9)
    # Right, head, back: 10..14, 30..36, -25..-20 mm.
    np.testing.assert_allclose(found.bounds, [[0.010, 0.030, -0.025], [0.014, 0.036, -0.020]], atol=1e-8)


def test_glb_has_a_named_coloured_object_for_each_mesh(tmp_path: Path) -> None:
    document, binary = read_glb(write_mesh([TETRAHEDRON, ELSEWHERE], tmp_path / "mesh.glb"))
    assert [node["name"] for node in document["nodes"]] == ["left kidney", "spleen"]
    factors = [m["pbrMetallicRoughness"]["baseColorFactor"] for m in document["materials"]]
    # sRGB 200, 100, 50 in linear light, by the standard's formula.
    np.testing.assert_allclose(factors[0], [0.5776, 0.1274, 0.0319, 1], atol=1e-4)
    assert document["buffers"][0]["byteLength"] == len(binary)
    for n, mesh in enumerate((TETRAHEDRON, ELSEWHERE)):
        (primitive,) = document["meshes"][document["nodes"][n]["mesh"]]["primitives"]
        accessor = document["accessors"][primitive["attributes"]["POSITION"]]
        view = document["bufferViews"][accessor["bufferView"]]
        points = np.frombuffer(binary, "<f4", 3 * accessor["count"], view["byteOffset"]).reshape(-1, 3)
        np.testing.assert_allclose(1000 * points, mesh.vertices[:, [0, 2, 1]] * [1, 1, -1], rtol=1e-6)
        np.testing.assert_array_equal(accessor["min"], points.min(axis=0))
        assert primitive["material"] == n


@pytest.mark.parametrize("suffix", ["stl", "ply", "vtp", "glb"])
def test_several_meshes_in_one_file(tmp_path: Path, suffix: str) -> None:
    path = write_mesh([TETRAHEDRON, ELSEWHERE], tmp_path / f"mesh.{suffix}", space="ras")
    found = read_with_vtk(path)
    assert len(found.faces) == 8
    assert found.is_closed
    assert found.volume_mm3 == pytest.approx(40e-9 if suffix == "glb" else 40)


@pytest.mark.parametrize("suffix", ["ply", "vtp"])
def test_colours_are_per_vertex(tmp_path: Path, suffix: str) -> None:
    surface = pv.read(write_mesh([TETRAHEDRON, ELSEWHERE], tmp_path / f"mesh.{suffix}"))
    np.testing.assert_array_equal(surface.point_data["RGB"], [[200, 100, 50]] * 4 + [[10, 20, 30]] * 4)


def test_vtp_keeps_point_data_and_which_vertex_is_whose(tmp_path: Path) -> None:
    first, second = (
        Mesh(m.vertices, m.faces, m.name, point_data={"uncertainty": np.arange(4.0) + n})
        for n, m in enumerate((TETRAHEDRON, ELSEWHERE))
    )
    surface = pv.read(write_mesh([first, second], tmp_path / "mesh.vtp"))
    np.testing.assert_array_equal(surface.point_data["uncertainty"], [0, 1, 2, 3, 1, 2, 3, 4])
    np.testing.assert_array_equal(surface.point_data["Label"], [1] * 4 + [2] * 4)
    assert list(surface.field_data["Names"]) == ["left kidney", "spleen"]


def test_vtp_names_may_be_of_any_script(tmp_path: Path) -> None:
    meshes = [replace(TETRAHEDRON, name=name) for name in ("Leber <&\"'> größe", "脾臓")]
    field = pv.read(write_mesh(meshes, tmp_path / "mesh.vtp")).GetFieldData().GetAbstractArray("Names")
    assert [field.GetValue(n) for n in range(2)] == [mesh.name for mesh in meshes]
    assert [mesh.name for mesh in read_meshes(tmp_path / "mesh.vtp")] == [mesh.name for mesh in meshes]


def test_one_file_a_label_with_portable_distinct_names(tmp_path: Path) -> None:
    names = ["left kidney", "left/kidney", "LEFT KIDNEY", "spleen"]
    meshes = [Mesh(TETRAHEDRON.vertices, TETRAHEDRON.faces, name) for name in names]
    paths = write_meshes(meshes, tmp_path / "new" / "folder", formats=("stl", "glb"))
    assert [path.name for path in paths[::2]] == [
        "left_kidney.stl",
        "left_kidney_2.stl",
        "LEFT_KIDNEY_3.stl",
        "spleen.stl",
    ]
    assert [path.suffix for path in paths] == [".stl", ".glb"] * 4
    assert all(path.stat().st_size for path in paths)


def test_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mesh.stl"
    path.write_text("old")
    write_mesh(TETRAHEDRON, path)
    assert len(path.read_bytes()) == 84 + 4 * 50


@pytest.mark.parametrize("suffix", ["step", "", "stl,glb"])
def test_unknown_format_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError, match="is unknown; choose from stl, ply, glb, vtp"):
        write_mesh(TETRAHEDRON, tmp_path / f"mesh.{suffix}")


def test_unknown_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="space 'RSA' is unknown; choose from lps, ras"):
        write_mesh(TETRAHEDRON, tmp_path / "mesh.stl", space="RSA")


@pytest.mark.parametrize("meshes", [[], [Mesh(np.zeros((0, 3)), np.zeros((0, 3)))]])
def test_nothing_to_write_is_refused(tmp_path: Path, meshes: list[Mesh]) -> None:
    with pytest.raises(InputError, match="expected surfaces"):
        write_mesh(meshes, tmp_path / "mesh.stl")


def test_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_mesh(TETRAHEDRON, tmp_path / "file" / "mesh.vtp")


def test_formats_are_parsed() -> None:
    assert parse_formats("STL, .glb,stl") == ("stl", "glb")
    with pytest.raises(UsageError, match="mesh format '' is unknown"):
        parse_formats("")


@pytest.mark.parametrize("at_once", [1, 3, 4])
def test_stl_is_the_same_written_in_parts(tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    meshes = [TETRAHEDRON, ELSEWHERE]
    expected = write_mesh(meshes, tmp_path / "a.stl").read_bytes()
    assert len(expected) == 84 + 8 * 50
    monkeypatch.setattr("volseg.io.mesh.stl._AT_ONCE", at_once)
    assert write_mesh(meshes, tmp_path / "b.stl").read_bytes() == expected
