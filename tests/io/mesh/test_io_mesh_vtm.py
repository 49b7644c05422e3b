"""VTM files, read by VTK, pyvista and volseg; what is on disk at every moment of writing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from vtkmodules.vtkIOXML import vtkXMLMultiBlockDataReader

from volseg.core.mesh import Mesh
from volseg.errors import InputError, OutputError
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.vtm import vtm_blocks
from volseg.io.mesh.writing import write_mesh, write_mesh_files, write_meshes

SPHERE = pv.Sphere(radius=10, theta_resolution=12, phi_resolution=12)
NAMES = ["left kidney", "Leber <&\"'> größe", "脾臓", "Left Kidney"]


def ball(name: str, colour: tuple[int, int, int] = (200, 100, 50), *, x: float = 50) -> Mesh:
    """A ball at (x, -20, 30) mm, RAS+."""
    return Mesh(np.asarray(SPHERE.points) + np.array([x, -20, 30]), SPHERE.regular_faces, name, colour)


VOLUME = ball("").volume_mm3


def strings(data: object, name: str) -> list[str]:
    field = data.GetFieldData().GetAbstractArray(name)  # type: ignore[attr-defined]
    return [field.GetValue(n) for n in range(field.GetNumberOfValues())]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(("space", "signs"), [("lps", (-1, -1, 1)), ("ras", (1, 1, 1))])
def test_pyvista_reads_names_colours_place_and_winding(tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
    meshes = [ball(name, (n, 2 * n, 250), x=40.0 * n) for n, name in enumerate(NAMES)]
    blocks = pv.read(write_mesh(meshes, tmp_path / "my <&> scän.vtm", space=space))
    assert blocks.keys() == NAMES
    assert strings(blocks, "SPACE") == [space.upper()]
    assert strings(blocks, "Names") == NAMES
    for n, (mesh, block) in enumerate(zip(meshes, blocks, strict=True), 1):
        found = Mesh(np.asarray(block.points, dtype=float), block.regular_faces)
        np.testing.assert_allclose(found.bounds, np.sort(mesh.bounds * signs, axis=0), rtol=1e-6)
        assert found.is_closed
        assert found.volume_mm3 == pytest.approx(VOLUME, rel=1e-5)
        assert np.unique(block.point_data["RGB"], axis=0).tolist() == [list(mesh.colour)]
        assert set(block.point_data["Label"]) == {n}
        assert strings(block, "SPACE") == [space.upper()]


def test_vtks_own_reader_reads_a_hundred_blocks(tmp_path: Path) -> None:
    path = write_mesh([ball(f"label {n}", x=n) for n in range(100)], tmp_path / "all.vtm")
    reader = vtkXMLMultiBlockDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    blocks = reader.GetOutput()
    assert blocks.GetNumberOfBlocks() == 100
    assert [blocks.GetMetaData(n).Get(blocks.NAME()) for n in (0, 99)] == ["label 0", "label 99"]
    assert blocks.GetBlock(99).GetNumberOfPolys() == SPHERE.n_cells


@pytest.mark.parametrize("space", ["lps", "ras"])
def test_volseg_reads_it_back(tmp_path: Path, space: str) -> None:
    meshes = [ball(name, (n, 2 * n, 250), x=40.0 * n) for n, name in enumerate(NAMES)]
    found = read_meshes(write_mesh(meshes, tmp_path / "all.vtm", space=space))
    assert [(mesh.name, mesh.colour) for mesh in found] == [(mesh.name, mesh.colour) for mesh in meshes]
    for mesh, other in zip(meshes, found, strict=True):
        np.testing.assert_allclose(other.bounds, mesh.bounds, rtol=1e-6)


def test_point_data_stays(tmp_path: Path) -> None:
    mesh = ball("a")
    mesh = Mesh(mesh.vertices, mesh.faces, point_data={"uncertainty": mesh.vertices[:, 0]})
    (block,) = pv.read(write_mesh(mesh, tmp_path / "a.vtm"))
    np.testing.assert_array_equal(block.point_data["uncertainty"], mesh.vertices[:, 0])


def test_all_labels_are_in_one_file(tmp_path: Path) -> None:
    paths = write_meshes([ball("a b"), ball("A B")], tmp_path, formats=("stl", "vtm"))
    folder = paths[2].parent.name
    names = ["a_b.stl", "A_B_2.stl", f"{folder}/a_b.vtp", f"{folder}/A_B_2.vtp", "surfaces.vtm"]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == names
    assert files(tmp_path) == sorted([*names, folder])
    assert write_meshes([], tmp_path / "none", formats=("vtm",)) == []


def test_an_older_one_is_replaced_completely_and_its_neighbours_stay(tmp_path: Path) -> None:
    for name in ("a.vtm", "aa.vtm"):
        write_mesh([ball("old"), ball("older")], tmp_path / name)
    other = set(files(tmp_path)) - {name for name in files(tmp_path) if name.startswith("a.vtm")}
    mine = tmp_path / "a.vtm-notes"
    mine.mkdir()
    (mine / "old.vtp").write_text("mine")
    written = write_mesh_files(ball("new"), tmp_path / "a.vtm")
    expected = {path.relative_to(tmp_path).as_posix() for path in (*written, written[0].parent)}
    assert set(files(tmp_path)) == other | expected | {"a.vtm-notes", "a.vtm-notes/old.vtp"}
    assert pv.read(tmp_path / "a.vtm").keys() == ["new"]
    again = write_mesh_files(ball("new"), tmp_path / "a.vtm")
    assert again == written
    assert pv.read(tmp_path / "aa.vtm").keys() == ["old", "older"]


@pytest.mark.parametrize("moment", range(4))
def test_whenever_writing_ends_the_index_points_at_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Before each of the renames (two pieces, the index) and after the last; a failure, and a process that is gone."""
    target = tmp_path / "a.vtm"
    write_mesh([ball("old"), ball("older")], target)
    before = files(tmp_path)
    renames = 0
    real = Path.replace

    def replace(self: Path, to: Path) -> Path:
        nonlocal renames
        if renames == moment:
            raise OSError(28, "No space left on device")
        renames += 1
        return real(self, to)

    def write() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            if moment < 3:
                with pytest.raises(OutputError, match="No space left"):
                    write_mesh([ball("new"), ball("newer")], target)
            else:
                write_mesh([ball("new"), ball("newer")], target)

    with monkeypatch.context() as patch:
        # A process that ends does not tidy up.
        patch.setattr("volseg.io.mesh.vtm._remove_stale", lambda _: None)
        write()
    names = ["old", "older"] if moment < 3 else ["new", "newer"]
    assert [mesh.name for mesh in read_meshes(target)] == names
    renames = 0
    write()
    assert [mesh.name for mesh in read_meshes(target)] == names
    assert moment == 3 or files(tmp_path) == before
    write_mesh([ball("new"), ball("newer")], target)
    assert len(files(tmp_path)) == 4


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.vtm"
    link.symlink_to(tmp_path / "there" / "a.vtm")
    write_mesh(ball("new"), link)
    assert link.is_symlink()
    assert pv.read(tmp_path / "there" / "a.vtm").keys() == ["new"]


def test_unwritable_and_empty_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_mesh(ball("a"), tmp_path / "file" / "a.vtm")
    with pytest.raises(InputError, match="a mesh has no faces"):
        write_mesh([ball("a"), Mesh(np.zeros((0, 3)), np.zeros((0, 3)))], tmp_path / "a.vtm")
    assert files(tmp_path) == ["file"]


def test_nested_blocks_of_others_are_read(tmp_path: Path) -> None:
    inner = pv.MultiBlock({"one": SPHERE, "two": SPHERE})
    pv.MultiBlock({"inner": inner}).save(tmp_path / "a.vtm")
    assert [name for name, _ in vtm_blocks(tmp_path / "a.vtm")] == ["one", "two"]
    assert [mesh.name for mesh in read_meshes(tmp_path / "a.vtm")] == ["one", "two"]


def test_empty_blocks_are_left_out(tmp_path: Path) -> None:
    empty = {"none": None, "nothing": pv.PolyData(), "points": pv.PolyData(SPHERE.points)}
    pv.MultiBlock({**empty, "ball": SPHERE, "line": pv.Line()}).save(tmp_path / "a.vtm")
    assert [mesh.name for mesh in read_meshes(tmp_path / "a.vtm")] == ["ball"]
    pv.MultiBlock(empty).save(tmp_path / "b.vtm")
    with pytest.raises(InputError, match=r"b\.vtm: holds no triangles"):
        read_meshes(tmp_path / "b.vtm")


def test_blocks_elsewhere_or_given_twice_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for place in (folder, tmp_path):
        SPHERE.save(place / "a.vtp")
    for names, message in (
        (["../a.vtp"], r"names the file '\.\./a\.vtp'; expected one in its own folder"),
        ([str(tmp_path / "a.vtp")], "expected one in its own folder"),
        (["C:/a.vtp"], "expected one in its own folder"),
        (["a.vtp", "a.vtp"], "each once"),
        (["x.vtp"], r"x\.vtp: no such file"),
        (["."], "is a folder"),
        (["b.vtm"], "expected .vtp files"),
    ):
        blocks = "".join(f'<DataSet file="{name}"/>' for name in names)
        (folder / "b.vtm").write_text(f"<VTKFile><vtkMultiBlockDataSet>{blocks}</vtkMultiBlockDataSet></VTKFile>")
        with pytest.raises(InputError, match=rf"b\.vtm: .*{message}"):
            read_meshes(folder / "b.vtm")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    pieces = write_mesh_files([ball("a"), ball("b")], tmp_path / "a.vtm")
    path = pieces[-1]
    whole = path.read_text(encoding="utf-8")
    for part, message in (
        ("", "is damaged or not a VTM file"),
        (whole[: len(whole) // 2], "is damaged or not a VTM file"),
        ("<VTKFile/>", "holds no triangles"),
        ('<?xml version="1.0" encoding="none"?><VTKFile/>', "is damaged or not a VTM file"),
        (whole.replace("/b.vtp", "/c.vtp"), "names a file that cannot be read .*c.vtp: no such file"),
        (whole.replace(f"{pieces[0].parent.name}/b.vtp", "a.vtm"), "has the block 'a.vtm'; expected .vtp files"),
        (whole + " " * (1 << 22), "expected at most 4194304"),
    ):
        path.write_text(part, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_meshes(path)
    path.write_text(whole, encoding="utf-8")
    pieces[0].write_bytes(pieces[0].read_bytes()[:500])
    with pytest.raises(InputError, match=r"a\.vtp: is damaged, cut short or not VTP"):
        read_meshes(path)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.vtm: no such file"):
        read_meshes(path)
