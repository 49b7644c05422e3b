"""VTP, VTK's XML file of one surface: colours, the number of the label at each vertex, names and coordinate system."""

from __future__ import annotations

from collections.abc import Sequence

from volseg.core.mesh import Mesh
from volseg.core.mesh_joining import join_meshes


def vtp_bytes(meshes: Sequence[Mesh], space: str, *, first: int = 1) -> bytes:
    """Return the content of a VTP file with meshes that are in its coordinate system.

    Parameters
    ----------
    meshes : sequence of Mesh
        In the coordinate system of the file, mm.
    space : str
        Name of that system, for the field ``SPACE``.
    first : int
        Number of the first mesh in the point data ``Label``.
    """
    import pyvista as pv
    from vtkmodules.vtkCommonCore import vtkStringArray
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    mesh = join_meshes(meshes, first=first)
    surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)  # type: ignore[arg-type]
    for name, values in mesh.point_data.items():
        surface.point_data[name] = values
    fields = {"SPACE": [space], "Names": [part.name for part in meshes]}
    if all(part.quality for part in meshes):
        fields["Quality"] = [str(part.quality) for part in meshes]
    for name, texts in fields.items():
        # The method of pyvista takes only ASCII.
        field = vtkStringArray()
        field.SetName(name)
        for text in texts:
            field.InsertNextValue(text)
        surface.GetFieldData().AddArray(field)
    # Through a string, as VTK's own file output does not report a full disk.
    writer = vtkXMLPolyDataWriter()
    writer.SetInputData(surface)
    writer.SetDataModeToBinary()
    writer.WriteToOutputStringOn()
    writer.Write()
    content: str = writer.GetOutputString()
    return content.encode("utf-8")
