"""OFF files of other programs: header on one line or two, comments, polygons, colours; and what they may not say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from mesh_files import BOUNDS_FROM_LPS, CORNERS, QUADS, TRIANGLES, VOLUME

from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.writing import write_mesh

COLOUR = "200 100 50 255"


def off_text(
    head: str = "OFF\n8 {faces} 0",
    faces: list[list[int]] = TRIANGLES,
    *,
    of_vertex: str = "",
    of_face: str = "",
    ends: str = "\n",
) -> str:
    """Return an OFF file of a box, with additional text behind each vertex and each face."""
    lines = head.format(faces=len(faces)).split("\n")
    lines += [f"{x:g} {y:g} {z:g} {of_vertex}" for x, y, z in CORNERS]
    lines += [f"{len(face)} {' '.join(map(str, face))} {of_face}" for face in faces]
    return ends.join([*lines, ""])


def read(tmp_path: Path, text: str) -> Mesh:
    path = tmp_path / "box.off"
    path.write_bytes(text.encode())
    (mesh,) = read_meshes(path, colour=(1, 2, 3))
    return mesh


def assert_box(mesh: Mesh) -> None:
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(VOLUME)
    np.testing.assert_allclose(mesh.bounds, BOUNDS_FROM_LPS)


@pytest.mark.parametrize(
    "text",
    [
        off_text(),
        off_text(faces=QUADS),
        off_text(faces=[*QUADS[:3], *TRIANGLES[6:]], ends="\r\n"),
        off_text("OFF 8 {faces} 18"),
        off_text("OFF\n8 {faces}"),
        off_text("\ufeffOFF # made elsewhere\n\n# a comment\n8 {faces} 0  # counts\n"),
        off_text().rstrip("\n"),
        off_text("NOFF\n8 {faces} 0", of_vertex="0 0 1"),
        off_text("STOFF\n8 {faces} 0", of_vertex="0.5 0.5"),
        off_text(of_face="3"),
    ],
)
def test_files_of_other_programs(tmp_path: Path, text: str) -> None:
    mesh = read(tmp_path, text)
    assert_box(mesh)
    assert (mesh.name, mesh.colour) == ("box", (1, 2, 3))


@pytest.mark.parametrize(
    "text",
    [
        off_text("COFF\n8 {faces} 0", of_vertex=COLOUR),
        off_text("COFF\n8 {faces} 0", of_vertex="200 100 50"),
        off_text("STCNOFF\n8 {faces} 0", of_vertex=f"0 0 1 {COLOUR} 0.5 0.5"),
        off_text("COFF\n8 {faces} 0", of_vertex="0.7843 0.3922 0.1961 1"),
        off_text(of_face="200 100 50"),
        off_text(faces=QUADS, of_face="0.7843 0.3922 0.1961 1.0"),
    ],
)
def test_colours_of_vertices_and_faces(tmp_path: Path, text: str) -> None:
    mesh = read(tmp_path, text)
    assert_box(mesh)
    assert mesh.colour == (200, 100, 50)


def test_a_comment_in_the_header_says_the_space(tmp_path: Path) -> None:
    ras = read(tmp_path, off_text("OFF\n# SPACE=RAS\n8 {faces} 0"))
    np.testing.assert_allclose(ras.bounds, BOUNDS_FROM_LPS[::-1] * [-1, -1, 1] + [[0, 0, -30], [0, 0, 30]])
    assert_box(read(tmp_path, off_text() + "# SPACE=RAS\n"))


def test_trimesh_reads_what_is_written(tmp_path: Path) -> None:
    mesh = Mesh(CORNERS, np.array(TRIANGLES), "box")
    path = write_mesh(mesh, tmp_path / "a.off", space="ras")
    assert path.read_text().startswith("OFF\n# volseg SPACE=RAS, mm\n8 12 0\n")
    found = trimesh.load_mesh(path)
    assert found.volume == pytest.approx(VOLUME)
    np.testing.assert_allclose(found.bounds, mesh.bounds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not start with OFF"),
        ("ply\n", "does not start with OFF"),
        ("OFF490 518 0\n", "does not start with OFF"),
        ("OFF", "."),
        ("OFF BINARY\n8 12 0\n", "expected OFF or COFF, as text"),
        (off_text("4OFF\n8 {faces} 0", of_vertex="1"), "expected OFF or COFF"),
        (off_text("OFF\n-8 28 0"), "for -8 vertices and 28 faces"),
        (off_text("OFF\n8 4000000000 0"), "20 lines for 8 vertices and 4000000000 faces"),
        (off_text("OFF\n9 11 0"), "."),
        (off_text(of_vertex="1"), "a vertex has 4 numbers, but its header is 'OFF'"),
        (off_text("COFF\n8 {faces} 0"), "a vertex has 3 numbers, but its header is 'COFF'"),
        (off_text().replace("3 0 1 3", "4000000000 0 1 3"), "3 corners of 4000000000"),
        (off_text().replace("3 0 1 3", "-3 0 1 3"), "3 corners of -3"),
        (off_text().replace("3 0 1 3", "3 0 1"), "2 corners of 3"),
        (off_text().replace("3 0 1 3", "3 0 1 8"), r"outside 0\.\.7"),
        (off_text().replace("3 0 1 3", "3 0 1 -1"), r"outside 0\.\.7"),
        (off_text().replace("3 0 1 3", f"3 0 1 {'9' * 30}"), "."),
        (off_text().replace("0 20 -30", "nan 20 -30"), "."),
        (off_text().replace("0 20 -30", "1e99 20 -30"), "a vertex at"),
        (off_text().replace("0 20 -30", "0 20"), "."),
        (off_text("OFF\n# volseg SPACE=RAS\n8 {faces} 0").rstrip("\n"), "the last line is cut short"),
    ],
)
def test_what_is_not_sound_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"box\.off: is damaged, cut short or not OFF \(.*{message}"):
        read(tmp_path, text)
