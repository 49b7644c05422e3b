"""What every mesh format must do; each row of the table is run through it."""

from __future__ import annotations

import re
import tracemalloc
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from full_disk import at_most
from mesh_files import package_3mf

from volseg.core.grid import Grid
from volseg.core.mesh import Mesh
from volseg.errors import InputError, OutputError
from volseg.files.names import portable_name
from volseg.io.mesh.formats import MESH_FORMATS, SPACES, MeshFormat
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.writing import write_mesh, write_mesh_files, write_meshes
from volseg.phantoms.shapes import sphere_labelmap
from volseg.surface import extract_surfaces

every_format = pytest.mark.parametrize("row", MESH_FORMATS.values(), ids=MESH_FORMATS)

# False sizes in a file of each format: the replaced bytes, and the new ones. 3MF has no counts, so it names a vertex.
LIES = {
    "stl": (rb"(?s)(?<=^.{80}).{4}", b"\xff\xff\xff\x7f"),
    "ply": (rb"element vertex \d+", b"element vertex 2000000000"),
    "glb": (rb'"count": \d\d\d', b'"count": 9e9'),
    "vtp": (rb'NumberOfPoints="\d+"', b'NumberOfPoints="2000000000"'),
    "obj": (rb"\d+ vertices", b"2000000000 vertices"),
    "vtm": (rb'NumberOfPoints="\d+"', b'NumberOfPoints="2000000000"'),
    "off": (rb"(?m)^\d+ \d+ 0$", b"2000000000 2000000000 0"),
    "3mf": (rb'v3="\d+"', b'v3="2000000000"'),
}
MOST_BYTES = 64 << 20


def bodies(*names: str) -> list[Mesh]:
    """Balls of a radius of 6 mm, far from the origin and each other, each with a colour of its own."""
    (ball,) = marched()
    return [
        replace(ball, name=name, vertices=ball.vertices + 40 * n, colour=(10, 200, n)) for n, name in enumerate(names)
    ]


@cache
def marched() -> list[Mesh]:
    return extract_surfaces(sphere_labelmap(Grid.from_spacing((20, 20, 20), origin=(30, 40, 50)), radius_mm=6))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("space", SPACES)
@every_format
def test_surfaces_come_back_in_world_mm(row: MeshFormat, space: str, tmp_path: Path) -> None:
    written = bodies("ball", "other")
    meshes = read_meshes(write_mesh(written, tmp_path / f"all{row.suffix}", space=space), colour=(1, 2, 3))
    if not row.named and not row.coloured:
        written = [replace(Mesh.joined(written), colour=(1, 2, 3))]
    for mesh, other in zip(meshes, written, strict=True):
        np.testing.assert_allclose(mesh.bounds, other.bounds, atol=1e-4)
        assert mesh.volume_mm3 == pytest.approx(other.volume_mm3, rel=1e-4)
        assert mesh.is_closed
        assert mesh.colour == other.colour
        assert mesh.name == (other.name if row.named else "all")


@every_format
def test_the_file_says_its_space_unless_the_format_has_one_only(row: MeshFormat, tmp_path: Path) -> None:
    lps, ras = (write_mesh(bodies("ball"), tmp_path / f"{space}{row.suffix}", space=space) for space in SPACES)
    assert (lps.read_bytes() == ras.read_bytes()) == bool(row.frame)


@every_format
def test_files_cut_short_are_refused(row: MeshFormat, tmp_path: Path) -> None:
    path = write_mesh(bodies("ball"), tmp_path / f"a{row.suffix}")
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 2, 40).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_meshes(path)


@every_format
def test_counts_that_lie_are_refused_before_memory_is_taken(row: MeshFormat, tmp_path: Path) -> None:
    pattern, lie = LIES[row.name]
    path = write_mesh(bodies("ball"), tmp_path / f"a{row.suffix}")
    holder = row.blocks(path)[0][1] if row.blocks else path
    data = holder.read_bytes()
    if zipfile.is_zipfile(holder):
        data = zipfile.ZipFile(holder).read("3D/3dmodel.model")
    lying, count = re.subn(pattern, lie, data, count=1)
    assert count == 1
    holder.write_bytes(package_3mf(lying) if zipfile.is_zipfile(holder) else lying)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=re.escape(str(holder))):
            read_meshes(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


@every_format
def test_a_file_is_replaced_whole_or_not_at_all(row: MeshFormat, tmp_path: Path) -> None:
    path = tmp_path / f"a{row.suffix}"
    written = write_mesh_files(bodies("old"), path)
    assert written[-1] == path
    before = files(tmp_path)
    assert set(before) == {str(file.relative_to(tmp_path)) for file in written}
    with at_most(1000), pytest.raises(OutputError, match="cannot be written"):
        write_mesh(bodies("old", "new"), path)
    (mesh,) = read_meshes(path)
    assert mesh.bounds == pytest.approx(bodies("old")[0].bounds, abs=1e-4)
    assert set(files(tmp_path)) == set(before)
    written = write_mesh_files(bodies("old", "new"), path)
    assert {str(file.relative_to(tmp_path)) for file in written} == set(files(tmp_path))
    assert Mesh.joined(read_meshes(path)).volume_mm3 == pytest.approx(2 * mesh.volume_mm3, rel=1e-4)


@every_format
def test_umlauts_in_names(row: MeshFormat, tmp_path: Path) -> None:
    name = "Größe <&> Übersicht"
    (mesh,) = read_meshes(write_mesh(bodies(name), tmp_path / "Öl und Äpfel" / f"Süß & fein{row.suffix}"))
    assert mesh.name in ({name, portable_name(name)} if row.named else {"Süß & fein"})
    paths = write_meshes(bodies(name), tmp_path / "each", formats=(row.name,))
    assert paths[-1].name == ("surfaces" if row.together else portable_name(name)) + row.suffix
    assert len(read_meshes(paths[-1])) == 1
