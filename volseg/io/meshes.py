"""Mesh files: STL, PLY, VTP and GLB, one surface or many to a file.

STL, PLY and VTP are in millimetres and carry the name of their coordinate system, ``SPACE=LPS`` (the default, as DICOM
and 3D Slicer have it) or ``SPACE=RAS``, where Slicer looks for it: in the STL header, a PLY comment, a VTP field. GLB
has one frame only: metres, Y up. Every one of these frames is a rotation of RAS+, so faces stay counter-clockwise seen
from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from volseg.errors import InputError, UsageError
from volseg.geometry import RAS_TO_LPS
from volseg.io.atomic import atomic_path
from volseg.io.glb import glb_bytes
from volseg.io.names import portable_name
from volseg.mesh import Mesh

MESH_FORMATS = ("stl", "ply", "glb", "vtp")
SPACES = {"lps": RAS_TO_LPS[:3, :3], "ras": np.eye(3)}


def parse_formats(text: str) -> tuple[str, ...]:
    """Turn ``stl,glb`` into names of formats, each once.

    Raises
    ------
    UsageError
        Empty, or a format that volseg does not write.
    """
    names = tuple(dict.fromkeys(part.strip().lower().removeprefix(".") for part in text.split(",")))
    if wrong := [name for name in names if name not in MESH_FORMATS]:
        raise UsageError(f"mesh format {wrong[0]!r} is unknown; choose from {', '.join(MESH_FORMATS)}")
    return names


def write_meshes(
    meshes: Iterable[Mesh], folder: str | Path, *, formats: Sequence[str] = ("stl",), space: str = "lps"
) -> list[Path]:
    """Write each mesh to files of its own, ``<name>.<format>``; files of that name are replaced.

    Parameters
    ----------
    meshes : iterable of Mesh
        World mm, RAS+. Names are made portable; where two become the same, on any file system, the later gets a number.
    folder : path
        Made if missing.
    formats : sequence of str
        Of ``stl``, ``ply``, ``glb``, ``vtp``.
    space : {"lps", "ras"}
        Coordinate system of STL, PLY and VTP.

    Returns
    -------
    list of Path
        What was written, mesh by mesh.

    Raises
    ------
    UsageError
        Unknown format or space.
    OutputError
        The folder cannot be written.
    """
    formats = parse_formats(",".join(formats))
    paths = []
    taken: set[str] = set()
    for mesh in meshes:
        name = _free_name(portable_name(mesh.name), taken)
        paths += [write_mesh(mesh, Path(folder) / f"{name}.{suffix}", space=space) for suffix in formats]
    return paths


def write_mesh(meshes: Mesh | Sequence[Mesh], path: str | Path, *, space: str = "lps") -> Path:
    """Write one mesh, or several together, to one file.

    In STL several meshes are one; PLY also keeps their colours; VTP colours and which vertex is of which label; GLB has
    a named, coloured object for each.

    Parameters
    ----------
    meshes : Mesh or sequence of Mesh
        World mm, RAS+.
    path : path
        Ends in ``.stl`` (binary), ``.ply`` (binary), ``.vtp`` or ``.glb``; replaced if it exists.
    space : {"lps", "ras"}
        Coordinate system of STL, PLY and VTP; GLB has its own.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    UsageError
        Unknown format or space.
    InputError
        No mesh, or one without faces.
    OutputError
        The file cannot be written.
    """
    several = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    target = Path(path)
    suffix = target.suffix.lower().removeprefix(".")
    if suffix not in MESH_FORMATS:
        raise UsageError(f"{target}: mesh format {suffix!r} is unknown; choose from {', '.join(MESH_FORMATS)}")
    if space not in SPACES:
        raise UsageError(f"space {space!r} is unknown; choose from {', '.join(SPACES)}")
    if not several or not all(len(mesh.faces) for mesh in several):
        raise InputError(f"{target}: there is no mesh to write, or one without faces; expected surfaces")
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        _WRITERS[suffix](several, stream, space)
    return target


def _free_name(name: str, taken: set[str]) -> str:
    """Return the name, with a number if it is taken, and take it; file systems may not tell Liver from liver."""
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free.casefold())
    return free


def _write_stl(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    mesh = _join(meshes)
    corners = (mesh.vertices @ SPACES[space].T)[mesh.faces].astype("<f4")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    records["normal"] = np.divide(normals, lengths, where=lengths > 0, out=np.zeros_like(normals))
    records["corners"] = corners
    stream.write(f"volseg SPACE={space.upper()}".encode("ascii").ljust(80, b"\0"))
    stream.write(np.uint32(len(records)).astype("<u4").tobytes())
    stream.write(records.tobytes())


def _write_ply(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    mesh = _join(meshes)
    vertices = np.empty(len(mesh.vertices), dtype=[("position", "<f4", 3), ("colour", "u1", 3)])
    vertices["position"] = mesh.vertices @ SPACES[space].T
    vertices["colour"] = mesh.point_data["RGB"]
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment volseg SPACE={space.upper()}\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    stream.write(header.encode("ascii"))
    stream.write(vertices.tobytes())
    stream.write(faces.tobytes())


def _write_vtp(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    import pyvista as pv
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    mesh = _join(meshes)
    surface = pv.PolyData.from_regular_faces(mesh.vertices @ SPACES[space].T, mesh.faces)
    for name, values in mesh.point_data.items():
        surface.point_data[name] = values
    surface.field_data["SPACE"] = [space.upper()]
    surface.field_data["Names"] = [part.name for part in meshes]
    # Through a string, as VTK's own file output does not fail on a full disk.
    writer = vtkXMLPolyDataWriter()
    writer.SetInputData(surface)
    writer.SetDataModeToBinary()
    writer.WriteToOutputStringOn()
    writer.Write()
    stream.write(writer.GetOutputString().encode("utf-8"))


def _write_glb(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    stream.write(glb_bytes(meshes))


def _join(meshes: list[Mesh]) -> Mesh:
    """Put meshes into one, with the colour and the number (from 1) of its mesh at each vertex."""
    counts = [len(mesh.vertices) for mesh in meshes]
    offsets = np.cumsum([0, *counts[:-1]])
    shared = set.intersection(*(set(mesh.point_data) for mesh in meshes))
    data = {key: np.concatenate([mesh.point_data[key] for mesh in meshes]) for key in sorted(shared)}
    data["RGB"] = np.repeat(np.array([mesh.colour for mesh in meshes], dtype=np.uint8), counts, axis=0)
    data["Label"] = np.repeat(np.arange(1, len(meshes) + 1, dtype=np.int32), counts)
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
        point_data=data,
    )


_WRITERS: dict[str, Callable[[list[Mesh], BinaryIO, str], None]] = {
    "stl": _write_stl,
    "ply": _write_ply,
    "glb": _write_glb,
    "vtp": _write_vtp,
}
