"""Reading surface meshes: STL, PLY, OBJ, VTP, VTM, GLB and 3MF."""

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
from volseg.io.mesh.glb_reading import parse_glb
from volseg.io.mesh.obj import parse_obj
from volseg.io.mesh.ply import parse_ply
from volseg.io.mesh.stl import parse_stl
from volseg.io.mesh.threemf_reading import parse_3mf
from volseg.io.mesh.vtm import vtm_blocks
from volseg.io.mesh.vtp_reading import parse_vtp

_PARSERS = {
    ".stl": parse_stl,
    ".ply": parse_ply,
    ".vtp": parse_vtp,
    ".glb": parse_glb,
    ".3mf": parse_3mf,
}
MESH_SUFFIXES = (".stl", ".ply", ".vtp", ".obj", ".vtm", ".glb", ".3mf")

_SPACE = re.compile(r"SPACE\s*=\s*(RAS|LPS)", re.IGNORECASE)
_MOST_BYTES = 1 << 34
_DAMAGE: tuple[type[Exception], ...] = (*DAMAGE, InputError)
_SHADE = np.array([1 << 16, 1 << 8, 1])
# Surfaces may be in other units than millimetres: a scan's farthest point, in micrometres.
_FARTHEST_VERTEX = 1000 * FARTHEST_MM
_MOST_COLOURS = 256


def read_meshes(path: str | Path, *, colour: Colour = Mesh.colour) -> list[Mesh]:
    """Read the surfaces in one mesh file.

    Parameters
    ----------
    path : path
        ``.stl`` or ``.ply`` (text or binary), ``.obj``, ``.vtp`` or ``.vtm`` in mm, ``.glb`` in metres, or ``.3mf`` in
        its own unit. Polygons become triangles.
    colour : (red, green, blue), 0 to 255
        For surfaces whose file has no colours, or several on one surface.

    Returns
    -------
    list of Mesh
        World mm RAS+. The file's own tag ``SPACE=RAS`` or ``SPACE=LPS`` (STL header, comment of PLY or OBJ, VTP field
        data, 3MF metadata) says how it is stored; without one it is taken for LPS, as 3D Slicer does. GLB has Y up. A
        file with several surfaces gives several: of VTP, VTM, GLB and 3MF with their names, of OBJ with their portable
        names, of PLY by their colours; else the name is the file's.

    Raises
    ------
    InputError
        Missing, no regular file, damaged, without triangles, or of another type.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise InputError(f"{path}: is no mesh that volseg reads; expected {', '.join(MESH_SUFFIXES)}")
    if suffix == ".vtm":
        meshes = [
            replace(mesh, name=plain(name)) for name, file in vtm_blocks(path) for mesh in _read_file(file, colour)
        ]
    else:
        meshes = _read_file(path, colour)
    if not meshes:
        raise InputError(f"{path}: holds no triangles; expected a surface")
    return meshes


def _read_file(path: Path, colour: Colour) -> list[Mesh]:
    """Read the surfaces of anything but VTM; without triangles there are none."""
    suffix = path.suffix.lower()
    data = read_bytes(path, most=_MOST_BYTES)
    try:
        # Numbers that are out of range are damage, too.
        with np.errstate(invalid="raise", over="raise"):
            content = parse_obj(data, path) if suffix == ".obj" else _PARSERS[suffix](data)
            return _split(content, path.stem, colour)
    except _DAMAGE as error:
        reason = f"without {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise InputError(f"{path}: is damaged, cut short or no {suffix[1:].upper()} file ({reason})") from error


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
        part, shade = _common(content.parts, triangles), _common(shades, triangles)
        own_name = content.names[part] if part is not None and 0 <= part < len(content.names) else ""
        own_colour = colour if shade is None else (shade >> 16, shade >> 8 & 255, shade & 255)
        meshes.append(Mesh(content.vertices[used], corners.reshape(-1, 3), plain(own_name or name), own_colour))
    return meshes


def _common(values: Integers | None, triangles: Integers) -> int | None:
    """Return the value that all of these triangles have."""
    if values is None or (values[triangles] != values[triangles[0]]).any():
        return None
    return int(values[triangles[0]])


def _groups(content: MeshContent, shades: Integers | None) -> list[Integers]:
    """Return the numbers of the triangles of each mesh; they are all in one where two would share a vertex."""
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
