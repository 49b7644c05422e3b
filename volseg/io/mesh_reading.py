"""Reading surface meshes: STL, PLY, OBJ, VTP and VTM."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from volseg.errors import InputError
from volseg.geometry import RAS_TO_LPS
from volseg.io.mesh_obj import parse_obj
from volseg.io.mesh_ply import MeshContent, parse_ply
from volseg.io.mesh_vtm import vtm_blocks
from volseg.labelmap import Colour
from volseg.mesh import Mesh

MESH_SUFFIXES = (".stl", ".ply", ".vtp", ".obj", ".vtm")

_SPACE = re.compile(r"SPACE\s*=\s*(RAS|LPS)", re.IGNORECASE)
_STL_HEADER_BYTES = 80
_MOST_COLOURS = 256
_PARSERS = {".ply": parse_ply, ".obj": parse_obj}


def read_meshes(path: str | Path, *, colour: Colour = Mesh.colour) -> list[Mesh]:
    """Read the surfaces in one mesh file.

    Parameters
    ----------
    path : path
        ``.stl`` or ``.ply`` (text or binary), ``.obj``, ``.vtp`` or ``.vtm``, in mm.
    colour : (red, green, blue), 0 to 255
        For surfaces whose file has no colours.

    Returns
    -------
    list of Mesh
        World mm RAS+. The file's own tag ``SPACE=RAS`` or ``SPACE=LPS`` (STL header, comment of PLY or OBJ, VTP field
        data) says how it is stored; without one it is taken for LPS, as 3D Slicer does. A file of `volseg.io.meshes`
        with several surfaces gives several: of VTP and VTM with their names, of OBJ with their portable names, of PLY
        by their colours; else the name is the file's.

    Raises
    ------
    InputError
        Missing, damaged, without triangles, or of another type.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise InputError(f"{path}: is no mesh that volseg reads; expected {', '.join(MESH_SUFFIXES)}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if suffix == ".vtm":
        blocks = vtm_blocks(path)
        return [replace(mesh, name=name) for name, file in blocks for mesh in read_meshes(file, colour=colour)]
    parse = _PARSERS.get(suffix)
    content = parse(data, path) if parse else _read_vtk(path)
    if suffix == ".stl":
        content = replace(content, tag=data[:_STL_HEADER_BYTES].decode("latin-1"))
    if not len(content.faces):
        raise InputError(f"{path}: holds no triangles; it is empty, damaged or not a surface")
    space = _SPACE.search(content.tag)
    if space is None or space[1].upper() == "LPS":
        content = replace(content, vertices=content.vertices @ RAS_TO_LPS[:3, :3])
    try:
        whole = Mesh(content.vertices, content.faces, path.stem, colour)
    except InputError as error:
        raise InputError(f"{path}: is damaged ({error})") from error
    return _split(content, whole)


def _read_vtk(path: Path) -> MeshContent:
    """Read STL or VTP."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkObject
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter
    from vtkmodules.vtkIOGeometry import vtkSTLReader
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    reader = vtkSTLReader() if path.suffix.lower() == ".stl" else vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    triangles = vtkTriangleFilter(input_connection=reader.GetOutputPort(), pass_verts=False, pass_lines=False)
    # VTK would print what is wrong with a damaged file; it then gives no triangles, and the caller says so.
    shown = vtkObject.GetGlobalWarningDisplay()
    vtkObject.SetGlobalWarningDisplay(0)
    triangles.Update()
    vtkObject.SetGlobalWarningDisplay(shown)
    surface: Any = triangles.GetOutput()
    if not surface.GetNumberOfPolys():
        return MeshContent(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    points = surface.GetPointData()
    colours, parts = points.GetArray("RGB"), points.GetArray("Label")
    fields = {name: surface.GetFieldData().GetAbstractArray(name) for name in ("SPACE", "Names")}
    texts = {name: tuple(f.GetValue(n) for n in range(f.GetNumberOfValues())) for name, f in fields.items() if f}
    return MeshContent(
        vertices=vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float64),
        faces=vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).astype(np.int64).reshape(-1, 3),
        tag="".join(f"SPACE={text}" for text in texts.get("SPACE", ())),
        colours=vtk_to_numpy(colours).astype(np.uint8) if colours else None,
        parts=vtk_to_numpy(parts).astype(np.int64) if parts else None,
        names=texts.get("Names", ()),
    )


def _split(content: MeshContent, whole: Mesh) -> list[Mesh]:
    """Make a mesh of each part; without parts, of each colour, unless the colours are a gradient."""
    parts, colours = content.parts, content.colours
    if parts is None and colours is not None:
        shades, parts = np.unique(colours, axis=0, return_inverse=True)
        parts, colours = (parts.reshape(-1), colours) if len(shades) <= _MOST_COLOURS else (None, None)
    if parts is None:
        return [whole]
    meshes = []
    of_face = parts[content.faces[:, 0]]
    for part in np.unique(of_face):
        used, faces = np.unique(content.faces[of_face == part], return_inverse=True)
        called = (content.names[part - 1] if 0 < part <= len(content.names) else "") or whole.name
        red, green, blue = colours[used[0]].tolist() if colours is not None else whole.colour
        meshes.append(Mesh(content.vertices[used], faces.reshape(-1, 3), called, (red, green, blue)))
    return meshes
