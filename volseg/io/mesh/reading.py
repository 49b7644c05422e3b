"""Reading surface meshes from files of every format in `volseg.io.mesh.formats`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from volseg.core.grid import RAS_TO_LPS
from volseg.core.labelmap import Colour
from volseg.core.mesh import Mesh
from volseg.core.voxels import FARTHEST_MM
from volseg.errors import DAMAGE, InputError
from volseg.files.plain_text import plain
from volseg.files.regular import read_bytes
from volseg.io.mesh.content import MOST_SURFACES, Integers, MeshContent
from volseg.io.mesh.formats import MESH_FORMATS, MESH_SUFFIXES, Parser

_SPACE = re.compile(r"SPACE\s*=\s*(RAS|LPS)", re.IGNORECASE)
_MOST_BYTES = 1 << 34
_DAMAGE: tuple[type[Exception], ...] = (*DAMAGE, InputError)
_SHADE = np.array([1 << 16, 1 << 8, 1])
# Surfaces may be in other units than mm: this is the farthest point of a scan in micrometres.
_FARTHEST_VERTEX = 1000 * FARTHEST_MM
_MOST_COLOURS = 256


def read_meshes(path: str | Path, *, colour: Colour = Mesh.colour) -> list[Mesh]:
    """Read the surfaces in one mesh file.

    Parameters
    ----------
    path : path
        Its suffix is one of `volseg.io.mesh.formats.MESH_FORMATS`. STL and PLY are text or binary. GLB is in metres,
        3MF in its own unit, every other format in mm. Polygons become triangles.
    colour : (red, green, blue), 0 to 255
        Colour of surfaces if the file has no colours, or several on one surface.

    Returns
    -------
    list of Mesh
        World mm RAS+. The file's own tag ``SPACE=RAS`` or ``SPACE=LPS`` (STL header, comment, VTP field data, 3MF
        metadata) gives its coordinate system; without a tag it is LPS, as in 3D Slicer. GLB has Y up. A file with
        several surfaces gives several meshes: by name if the format has names, by colour in PLY. Without names a
        surface has the name of its file.

    Raises
    ------
    InputError
        The file is missing, not a regular file, damaged, without triangles, or of another type.
    """
    path = Path(path)
    row = MESH_FORMATS.get(path.suffix.lower().removeprefix("."))
    if row is None:
        raise InputError(f"{path}: is not a mesh that volseg reads; expected {', '.join(MESH_SUFFIXES)}")
    meshes: list[Mesh] = []
    if row.blocks is None:
        meshes = _read_file(path, row.parse, colour)
    else:
        for name, file in row.blocks(path):
            meshes += [replace(mesh, name=plain(name)) for mesh in _read_file(file, row.parse, colour)]
    if not meshes:
        raise InputError(f"{path}: holds no triangles; expected a surface")
    return meshes


def _read_file(path: Path, parse: Parser, colour: Colour) -> list[Mesh]:
    """Read the surfaces in the file itself; an empty list if it has no triangles."""
    data = read_bytes(path, most=_MOST_BYTES)
    try:
        # Numbers out of range are damage too.
        with np.errstate(invalid="raise", over="raise"):
            return _split(parse(data, path), path.stem, colour)
    except _DAMAGE as error:
        reason = f"without {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        kind = path.suffix[1:].upper()
        raise InputError(f"{path}: is damaged, cut short or not {kind} ({reason})") from error


def _split(content: MeshContent, name: str, colour: Colour) -> list[Mesh]:
    """Make a mesh of each part; without parts, of each colour, unless the colours are a gradient."""
    if not len(content.faces):
        return []
    space = _SPACE.search(content.tag)
    if space is None or space[1].upper() == "LPS":
        content = replace(content, vertices=content.vertices @ RAS_TO_LPS[:3, :3])
    if not (farthest := np.abs(content.vertices[content.faces]).max()) < _FARTHEST_VERTEX:
        raise ValueError(f"it has a vertex at {farthest:g} mm; expected finite ones within {_FARTHEST_VERTEX:g}")
    shades = None if content.colours is None else content.colours.astype(np.int64) @ _SHADE
    meshes = []
    for triangles in _groups(content, shades):
        used, corners = np.unique(content.faces[triangles], return_inverse=True)
        own_name = _name_of(content, triangles) or name
        shade = _common(shades, triangles)
        own_colour = colour if shade is None else (shade >> 16, shade >> 8 & 255, shade & 255)
        meshes.append(Mesh(content.vertices[used], corners.reshape(-1, 3), plain(own_name), own_colour))
    return meshes


def _name_of(content: MeshContent, triangles: Integers) -> str:
    """Return the name of the part of the triangles; empty without a part."""
    part = _common(content.parts, triangles)
    if part is None or not 0 <= part < len(content.names):
        return ""
    return content.names[part]


def _common(values: Integers | None, triangles: Integers) -> int | None:
    """Return the value that all of these triangles share."""
    if values is None or (values[triangles] != values[triangles[0]]).any():
        return None
    return int(values[triangles[0]])


def _groups(content: MeshContent, shades: Integers | None) -> list[Integers]:
    """Return the numbers of the triangles of each mesh; all are in one mesh if two meshes would share a vertex."""
    keys = shades if content.parts is None else content.parts
    everything = np.arange(len(content.faces))
    if keys is None:
        return [everything]
    owner = np.empty(len(content.vertices), dtype=np.int64)
    owner[content.faces] = keys[:, None]
    if (owner[content.faces] != keys[:, None]).any():
        return [everything]
    order = np.argsort(keys, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
    if content.parts is None and len(groups) > _MOST_COLOURS:
        return [everything]
    if len(groups) > MOST_SURFACES:
        raise ValueError(f"it holds {len(groups)} surfaces; expected at most {MOST_SURFACES}")
    return groups
