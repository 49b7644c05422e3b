"""Reading surface meshes: STL, PLY and VTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import InputError
from volseg.geometry import RAS_TO_LPS, Float
from volseg.io.mesh_ply import read_ply
from volseg.io.names import has_suffix
from volseg.labelmap import Colour
from volseg.mesh import Mesh

MESH_SUFFIXES = (".stl", ".ply", ".vtp")

Triangles = tuple[Float, NDArray[np.int64]]

_SPACE = re.compile(rb"SPACE\s*=\s*(RAS|LPS)", re.IGNORECASE)
_HEADER_BYTES = 4096


def read_mesh(path: str | Path, *, colour: Colour = Mesh.colour) -> Mesh:
    """Read one surface mesh.

    Parameters
    ----------
    path : path
        ``.stl`` or ``.ply`` (text or binary) or ``.vtp``, in mm.
    colour : (red, green, blue), 0 to 255
        How to draw it.

    Returns
    -------
    Mesh
        World mm RAS+, named after the file. The file's own tag ``SPACE=RAS`` or ``SPACE=LPS`` (STL header, PLY comment,
        VTP field data) says how it is stored; without one it is taken for LPS, as 3D Slicer does.

    Raises
    ------
    InputError
        Missing, damaged, without triangles, or of another type.
    """
    path = Path(path)
    if not has_suffix(path, MESH_SUFFIXES):
        raise InputError(f"{path}: is no mesh that volseg reads; expected {', '.join(MESH_SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        with path.open("rb") as stream:
            header = stream.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if has_suffix(path, (".ply",)):
        tag = _SPACE.search(header.partition(b"end_header")[0])
        vertices, faces = read_ply(path)
    elif has_suffix(path, (".stl",)):
        tag = _SPACE.search(header[:80].partition(b"\n")[0])
        vertices, faces, _ = _read_vtk(path)
    else:
        vertices, faces, space = _read_vtk(path)
        tag = _SPACE.search(f"SPACE={space}".encode())
    if not len(faces):
        raise InputError(f"{path}: holds no triangles; it is empty, damaged or not a surface")
    if tag is None or tag[1].upper() == b"LPS":
        vertices = vertices @ RAS_TO_LPS[:3, :3]
    return Mesh(vertices, faces, path.stem, colour)


def _read_vtk(path: Path) -> tuple[Float, NDArray[np.int64], str]:
    """Read STL or VTP; return vertices, triangles and the field ``SPACE``."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter
    from vtkmodules.vtkIOGeometry import vtkSTLReader
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    reader = vtkSTLReader() if has_suffix(path, (".stl",)) else vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    triangles = vtkTriangleFilter()
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    triangles.SetInputConnection(reader.GetOutputPort())
    with _quiet_vtk():
        triangles.Update()
    surface = triangles.GetOutput()
    if not surface.GetNumberOfPolys():
        return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), ""
    vertices = vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float64)
    faces = vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).astype(np.int64)
    space: Any = surface.GetFieldData().GetAbstractArray("SPACE")
    return vertices, faces.reshape(-1, 3), str(space.GetValue(0)) if space else ""
