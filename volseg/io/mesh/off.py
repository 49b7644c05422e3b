"""OFF, the Object File Format: text of vertices and polygons, for geometry programs; in millimetres.

Format: http://www.geomview.org/docs/html/OFF.html. The comment ``# volseg SPACE=LPS`` or ``SPACE=RAS`` in the header
names the coordinate system. Colours of vertices (``COFF``) and of faces are read; normals and texture coordinates are
left out.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.mesh import Mesh
from volseg.io.mesh.content import Integers, MeshContent, to_bytes, triangulate
from volseg.io.mesh.text import text_rows

# The letters before OFF list the data of a vertex: texture (ST), colour (C), normal (N), four or n coordinates.
_HEADER = re.compile(r"(?P<texture>ST)?(?P<colour>C)?(?P<normal>N)?(?P<other>4?n?)OFF\b(?P<rest>.*)")
_WRITTEN = "volseg SPACE="


def write_off(meshes: Sequence[Mesh], stream: BinaryIO, space: str) -> None:
    """Write an OFF file with the triangles of all meshes as one surface.

    Parameters
    ----------
    meshes : sequence of Mesh
        In the coordinate system of the file, mm.
    stream : binary file
    space : str
        Name of that system, for the comment.
    """
    mesh = Mesh.joined(meshes)
    comments = [f"# {_WRITTEN}{space}, mm\n"]
    for number, part in enumerate(meshes, 1):
        if part.quality:
            comments.append(f"# quality {number}: {part.quality}\n")
    stream.write(f"OFF\n{''.join(comments)}{len(mesh.vertices)} {len(mesh.faces)} 0\n".encode("ascii"))
    for text in text_rows("%.9g %.9g %.9g\n", mesh.vertices):
        stream.write(text.encode("ascii"))
    for text in text_rows("3 %d %d %d\n", mesh.faces):
        stream.write(text.encode("ascii"))


def parse_off(data: bytes) -> MeshContent:
    """Parse the surface, its colours and the comments of the header of an OFF file.

    Parameters
    ----------
    data : bytes
        Bytes of the file; polygons become fans of triangles.

    Raises
    ------
    ValueError, or another of `volseg.errors.DAMAGE`
        The file is not OFF, is of a kind that is not read, is damaged or cut short.
    """
    text = data.decode("utf-8-sig", errors="replace")
    lines, tag = _split_lines(text)
    if _WRITTEN in tag and not text.endswith("\n"):
        raise ValueError("the last line is cut short")
    header = _parse_header(lines[0] if lines else "")
    counts, *rows = [header["rest"], *lines[1:]] if header["rest"].strip() else lines[1:]
    vertices, faces, *_ = map(int, counts.split())
    if min(vertices, faces) < 0 or vertices + faces != len(rows):
        raise ValueError(f"it has {len(rows)} lines for {vertices} vertices and {faces} faces")
    points, colours = _parse_vertices(rows[:vertices], header)
    triangles, owner, of_faces = _parse_faces(rows[vertices:])
    if colours is not None:
        colours = colours[triangles[:, 0]]
    elif of_faces is not None:
        colours = of_faces[owner]
    return MeshContent(points, triangles, tag, colours)


def _split_lines(text: str) -> tuple[list[str], str]:
    """Return the lines that are not empty, without comments, and the comments before the first vertex."""
    lines: list[str] = []
    comments: list[str] = []
    for line in text.splitlines():
        content, _, comment = line.partition("#")
        if comment and len(lines) <= 2:
            comments.append(comment)
        if content := content.strip():
            lines.append(content)
    return lines, "\n".join(comments)


def _parse_header(line: str) -> re.Match[str]:
    header = _HEADER.fullmatch(line)
    if header is None:
        raise ValueError("it does not start with OFF")
    if header["other"] or "BINARY" in header["rest"]:
        raise ValueError(f"it starts with {line[:80]!r}; expected OFF or COFF, as text")
    return header


def _parse_vertices(rows: list[str], header: re.Match[str]) -> tuple[Float, NDArray[np.uint8] | None]:
    """Return positions, and colours if the header declares them."""
    if not rows:
        return np.zeros((0, 3)), None
    table = np.loadtxt(rows, dtype=np.float64, comments=None, ndmin=2)
    start = 6 if header["normal"] else 3
    stop = table.shape[1] - (2 if header["texture"] else 0)
    if stop - start not in ((3, 4) if header["colour"] else (0,)):
        raise ValueError(f"a vertex has {table.shape[1]} numbers, but its header is {header[0][:80]!r}")
    colours = to_bytes(table[:, start:stop], table.dtype) if header["colour"] else None
    return table[:, :3], colours


def _parse_faces(rows: list[str]) -> tuple[Integers, Integers, NDArray[np.uint8] | None]:
    """Return triangles, the number of the face of each, and the colours of the faces if all have one."""
    corners, sizes, shades = array("q"), array("q"), array("d")
    for row in rows:
        first, *words = row.split()
        size = int(first)
        if not 1 <= size <= len(words):
            raise ValueError(f"a face has {len(words)} corners of {first[:80]}")
        corners.extend(map(int, words[:size]))
        sizes.append(size)
        if len(words) - size in (3, 4):  # a single number is an index into an external table of colours
            shades.extend(map(float, words[size : size + 3]))
    faces, owner = triangulate(np.array(corners, dtype=np.int64), np.array(sizes, dtype=np.int64))
    colours = np.array(shades).reshape(-1, 3)
    return faces, owner, to_bytes(colours, colours.dtype) if rows and len(colours) == len(rows) else None
