"""Surface meshes in files; `MESH_FORMATS` has the formats."""

from __future__ import annotations

from volseg.io.mesh.formats import (
    MESH_FORMATS,
    MESH_SUFFIXES,
    OTHER_MESH_SUFFIXES,
    SPACES,
    WRITTEN_SUFFIXES,
    MeshFormat,
)
from volseg.io.mesh.grades import write_report
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.writing import (
    TOGETHER,
    mesh_targets,
    parse_formats,
    replaced_by,
    write_mesh,
    write_mesh_files,
    write_meshes,
)

__all__ = [
    "MESH_FORMATS",
    "MESH_SUFFIXES",
    "OTHER_MESH_SUFFIXES",
    "SPACES",
    "TOGETHER",
    "WRITTEN_SUFFIXES",
    "MeshFormat",
    "mesh_targets",
    "parse_formats",
    "read_meshes",
    "replaced_by",
    "write_mesh",
    "write_mesh_files",
    "write_meshes",
    "write_report",
]
