"""The table of mesh formats: writer, parser, content and help text of each.

All formats except GLB are in millimetres and carry the name of their coordinate system, ``SPACE=LPS`` (the default, as
in DICOM and 3D Slicer) or ``SPACE=RAS``, at the place that Slicer reads: the STL header, a comment of PLY and OBJ, a
field of VTP and VTM. In 3MF it is metadata, in OFF a comment. GLB has one frame only: metres, Y up. Each of these
frames is a rotation of RAS+, so faces stay counter-clockwise seen from outside.

Another format is a module with its writer and its parser, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from volseg.core.grid import RAS_TO_LPS
from volseg.core.mesh import Mesh
from volseg.files.atomic import atomic_path
from volseg.io.mesh.content import MeshContent
from volseg.io.mesh.glb import glb_bytes
from volseg.io.mesh.glb_reading import parse_glb
from volseg.io.mesh.obj import material_path, parse_obj, write_obj
from volseg.io.mesh.off import parse_off, write_off
from volseg.io.mesh.ply import parse_ply, write_ply
from volseg.io.mesh.stl import parse_stl, write_stl
from volseg.io.mesh.threemf import write_3mf
from volseg.io.mesh.threemf_reading import parse_3mf
from volseg.io.mesh.vtm import vtm_blocks, write_vtm
from volseg.io.mesh.vtp import vtp_bytes
from volseg.io.mesh.vtp_reading import parse_vtp

# The signs of x, y and z in each coordinate system, for vertices in RAS+.
SPACES = {"lps": np.diag(RAS_TO_LPS)[:3], "ras": np.ones(3)}

Writer = Callable[[Sequence[Mesh], Path, str], list[Path]]
Parser = Callable[[bytes, Path], MeshContent]


@dataclass(frozen=True)
class MeshFormat:
    """One mesh format.

    Parameters
    ----------
    name : str
        Name for users; also the suffix of its files, without the dot.
    use : str
        Use of the format, in a few words for the README.
    write : callable
        Takes meshes in the coordinate system of the file, the path, and the name of that system in capitals. Returns
        every file that it wrote, the one at the path last.
    parse : callable
        Takes the bytes of a file and its path. Returns its content in the coordinate system of the file.
    coloured : bool
        Whether it has colours. Without names, surfaces are separated by their colours.
    named : bool
        Whether several surfaces in one file keep their names.
    point_data : bool
        Whether the values at vertices are written.
    graded : bool
        Whether the grades of a surface (`volseg.core.mesh.Quality`) are written.
    frame : str
        The coordinate system of a format with only one; empty if the user chooses one of `SPACES`.
    together : bool
        Whether all surfaces of a case are in one file; other formats have a file for each.
    companion : callable, optional
        Takes the path of a file. Returns the path of a second file that is written beside it.
    blocks : callable, optional
        For files that only refer to others: takes the path, returns name and path of each file for `parse`.
    """

    name: str
    use: str
    write: Writer
    parse: Parser
    coloured: bool = True
    named: bool = True
    point_data: bool = False
    graded: bool = True
    frame: str = ""
    together: bool = False
    companion: Callable[[Path], Path] | None = None
    blocks: Callable[[Path], list[tuple[str, Path]]] | None = None

    @property
    def suffix(self) -> str:
        """Return the suffix of its files, with the dot."""
        return f".{self.name}"


def _to_file(write: Callable[[Sequence[Mesh], BinaryIO, str], object]) -> Writer:
    """Make a writer to a path from a writer to a stream; an old file stays until the new one is complete."""

    def write_file(meshes: Sequence[Mesh], target: Path, space: str) -> list[Path]:
        with atomic_path(target) as temporary, temporary.open("wb") as stream:
            write(meshes, stream, space)
        return [target]

    return write_file


def _alone(parse: Callable[[bytes], MeshContent]) -> Parser:
    """Make a parser of a format whose files need no other file."""
    return lambda data, _: parse(data)


_ROWS = (
    MeshFormat(
        "stl",
        "any program",
        _to_file(write_stl),
        _alone(parse_stl),
        coloured=False,
        named=False,
        graded=False,
    ),
    MeshFormat(
        "ply",
        "any program, with colours",
        _to_file(write_ply),
        _alone(parse_ply),
        named=False,
    ),
    MeshFormat(
        "glb",
        "browsers, slides, Blender",
        _to_file(lambda meshes, stream, _: stream.write(glb_bytes(meshes))),
        _alone(parse_glb),
        frame="metres, Y up",
    ),
    MeshFormat(
        "vtp",
        "ParaView, 3D Slicer",
        _to_file(lambda meshes, stream, space: stream.write(vtp_bytes(meshes, space))),
        _alone(parse_vtp),
        point_data=True,
    ),
    MeshFormat(
        "obj",
        "modelling programs",
        write_obj,
        parse_obj,
        companion=material_path,
    ),
    MeshFormat(
        "vtm",
        "ParaView, a block for each surface",
        write_vtm,
        _alone(parse_vtp),
        point_data=True,
        together=True,
        blocks=vtm_blocks,
    ),
    MeshFormat(
        "3mf",
        "3D printers",
        _to_file(write_3mf),
        _alone(parse_3mf),
    ),
    MeshFormat(
        "off",
        "geometry programs, such as CGAL",
        _to_file(write_off),
        _alone(parse_off),
        coloured=False,
        named=False,
    ),
)

# By name, in the order in which help texts list them.
MESH_FORMATS = {row.name: row for row in _ROWS}
MESH_SUFFIXES = tuple(row.suffix for row in _ROWS)
# Suffixes of all files that are written for a surface, including companions.
WRITTEN_SUFFIXES = (*MESH_SUFFIXES, *(row.companion(Path("a")).suffix for row in _ROWS if row.companion))
# Suffixes of surfaces that volseg neither reads nor writes.
OTHER_MESH_SUFFIXES = tuple(sorted({".gltf", ".vtk", ".off", ".step"} - {*MESH_SUFFIXES}))
