"""Wavefront OBJ: one object for each surface, colours in a material file (MTL) beside it; in millimetres.

The first line is the comment ``# SPACE=LPS`` or ``# SPACE=RAS``, at the place that 3D Slicer reads. The format has no
counts, so a second comment has them; they show that a file of volseg was cut short.
"""

from __future__ import annotations

import hashlib
import logging
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from volseg.core.grid import Float
from volseg.core.labelmap import Colour
from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.files.atomic import atomic_path, write_text
from volseg.files.names import distinct_names, portable_name
from volseg.files.regular import file_beside, read_bytes
from volseg.io.mesh.content import MOST_SURFACES, Integers, MeshContent, Part, join_parts
from volseg.io.mesh.text import text_rows

_LOG = logging.getLogger(__name__)

_MOST_LIBRARIES, _LONGEST_LIBRARY = 16, 1 << 22
_COUNTS = re.compile(r"volseg: mm, (\d+) vertices, (\d+) triangles")


def write_obj(meshes: Sequence[Mesh], target: Path, space: str) -> list[Path]:
    """Write the material file, then the OBJ.

    Parameters
    ----------
    meshes : sequence of Mesh
        In the coordinate system of the file, mm. Objects get portable, distinct names, as many readers end a name at
        its first space.
    target : Path
        The ``.obj``; the ``.mtl`` is written beside it, with a name without spaces.
    space : str
        Name of that system.

    Returns
    -------
    list of Path
        The material file and the OBJ.
    """
    names = distinct_names(mesh.name for mesh in meshes)
    materials = material_path(target)
    texts = []
    vertices = triangles = 0
    for name, mesh in zip(names, meshes, strict=True):
        texts.append(_material(name, mesh.colour))
        vertices += len(mesh.vertices)
        triangles += len(mesh.faces)
    write_text(materials, "".join(texts))
    header = f"# SPACE={space}\n# volseg: mm, {vertices} vertices, {triangles} triangles\nmtllib {materials.name}\n"
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(header)
        start = 1
        for name, mesh in zip(names, meshes, strict=True):
            # Objects for Blender, groups for ParaView.
            stream.write(f"o {name}\ng {name}\nusemtl {name}\ns 1\n")
            if mesh.quality:
                stream.write(f"# quality: {mesh.quality}\n")
            stream.writelines(text_rows("v %.9g %.9g %.9g\n", mesh.vertices))
            stream.writelines(text_rows("f %d %d %d\n", mesh.faces + start))
            start += len(mesh.vertices)
    return [materials, target]


def material_path(target: Path) -> Path:
    """Return the path of the material file of an OBJ file: ``<stem>.mtl`` beside it.

    Its name has a digest if the stem had to change, so that two files never share it by accident.

    Parameters
    ----------
    target : Path
        The ``.obj``.
    """
    stem = target.stem
    name = portable_name(stem)
    digest = f"-{hashlib.sha256(stem.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}" if name != stem else ""
    return target.with_name(f"{name}{digest}.mtl")


def _material(name: str, colour: Colour) -> str:
    red, green, blue = (value / 255 for value in colour)
    return f"newmtl {name}\nKa 0 0 0\nKd {red:.6f} {green:.6f} {blue:.6f}\nKs 0 0 0\nd 1\nillum 1\n\n"


@dataclass
class _Lines:
    """Content of the lines of an OBJ file; triangles by name of object (or group) and material."""

    vertices: array[float] = field(default_factory=lambda: array("d"))
    triangles: dict[tuple[str, str], array[int]] = field(default_factory=dict)
    libraries: dict[str, None] = field(default_factory=dict)


def parse_obj(data: bytes, path: Path) -> MeshContent:
    """Parse surfaces, their names and colours, and the first comments of an OBJ file.

    Parameters
    ----------
    data : bytes
        Faces with more than three corners become fans of triangles; lines, curves and textures are left out.
    path : Path
        Path of the file; its material files are beside it.

    Raises
    ------
    ValueError, or another of `volseg.errors.DAMAGE`
        The file or its material file is damaged or, if volseg wrote it, cut short.
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ")
    tag = "\n".join(_first_comments(text))
    lines = _parse_lines(text)
    vertices = np.array(lines.vertices, dtype=np.float64).reshape(-1, 3)
    if _COUNTS.search(tag) and not text.endswith("\n"):
        raise ValueError("the last line is cut short")
    _check_counts(tag, len(vertices), lines.triangles.values())
    if len(lines.triangles) > MOST_SURFACES:
        raise ValueError(f"it holds {len(lines.triangles)} groups; expected at most {MOST_SURFACES}")
    colours = _read_colours(lines.libraries, path)
    parts = []
    for (name, material), rows in lines.triangles.items():
        parts.append(_part(vertices, np.array(rows, dtype=np.int64).reshape(-1, 3), name, colours.get(material)))
    return join_parts(parts, tag)


def _part(vertices: Float, rows: Integers, name: str, colour: Colour | None) -> Part:
    used, corners = np.unique(rows, return_inverse=True)
    return Part(vertices[used], corners.reshape(-1, 3), name, colour)


def _first_comments(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            return
        yield line


def _parse_lines(text: str) -> _Lines:
    found = _Lines()
    name = material = ""
    for line in text.split("\n"):
        keyword, _, rest = line.strip().replace("\t", " ").partition(" ")
        if keyword == "v":
            x, y, z, *_ = rest.split()
            found.vertices.extend((float(x), float(y), float(z)))
        elif keyword == "f":
            corners = [_corner(word, len(found.vertices) // 3) for word in rest.partition("#")[0].split()]
            found.triangles.setdefault((name, material), array("q")).extend(_fan(corners))
        elif keyword in ("o", "g"):
            name = rest.strip()
        elif keyword == "usemtl":
            material = rest.strip()
        elif keyword == "mtllib":
            found.libraries[rest.strip()] = None
    return found


def _corner(word: str, count: int) -> int:
    """Index from 0 of ``7``, ``7/1/2`` or, counted back from the last vertex, ``-1``."""
    number = int(word.partition("/")[0])
    index = number - 1 if number > 0 else count + number
    if number == 0 or index < 0:
        raise ValueError(f"a face refers to vertex {number}, of {count} so far")
    return index


def _fan(corners: list[int]) -> list[int]:
    if len(corners) < 3:
        raise ValueError(f"a face has {len(corners)} corners; expected 3 or more")
    triangles = []
    for second, third in pairwise(corners[1:]):
        triangles += [corners[0], second, third]
    return triangles


def _check_counts(tag: str, vertices: int, parts: Collection[array[int]]) -> None:
    """Refuse counts that differ from the comment of volseg, and corners without a vertex."""
    triangles = sum(map(len, parts)) // 3
    said = _COUNTS.search(tag)
    if said and (int(said[1]), int(said[2])) != (vertices, triangles):
        raise ValueError(f"holds {vertices} vertices and {triangles} triangles of {said[1]} and {said[2]}")
    highest = int(max(map(np.max, parts), default=-1)) + 1
    if highest > vertices:
        raise ValueError(f"a face refers to vertex {highest} of {vertices}")


def _read_colours(libraries: Iterable[str], path: Path) -> dict[str, Colour]:
    """Read the colours in material files; files that are neither beside nor below the OBJ are not opened."""
    colours: dict[str, Colour] = {}
    for library in islice(libraries, _MOST_LIBRARIES):
        try:
            content = read_bytes(file_beside(path, library), most=_LONGEST_LIBRARY)
        except InputError as error:
            _LOG.warning("%s: shown without its own colours, as %s cannot be read (%s)", path, library[:80], error)
            continue
        material = ""
        for line in content.decode("utf-8", errors="replace").splitlines():
            match line.split():
                case ["newmtl", *words]:
                    material = " ".join(words)
                case ["Kd", red, green, blue]:
                    colours[material] = (_byte(red), _byte(green), _byte(blue))
    return colours


def _byte(share: str) -> int:
    return min(max(round(255 * float(share)), 0), 255)
