"""Surface meshes: STL, PLY, OBJ, VTP, VTM, GLB and 3MF."""

from __future__ import annotations

from volseg.io.mesh.formats import (
    MESH_FORMATS,
    SPACES,
    TOGETHER,
    mesh_targets,
    parse_formats,
    replaced_by,
    write_mesh,
    write_mesh_files,
    write_meshes,
)
from volseg.io.mesh.reading import MESH_SUFFIXES, read_meshes
from volseg.io.mesh.report import write_report

__all__ = [
    "MESH_FORMATS",
    "MESH_SUFFIXES",
    "SPACES",
    "TOGETHER",
    "mesh_targets",
    "parse_formats",
    "read_meshes",
    "replaced_by",
    "write_mesh",
    "write_mesh_files",
    "write_meshes",
    "write_report",
]
