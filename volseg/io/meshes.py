"""Mesh files: STL, PLY, VTP and GLB, one surface or many to a file.

STL, PLY and VTP are in millimetres and carry the name of their coordinate system, ``SPACE=LPS`` (the default, as DICOM
and 3D Slicer have it) or ``SPACE=RAS``, where Slicer looks for it: in the STL header, a PLY comment, a VTP field. GLB
has one frame only: metres, Y up. Every one of these frames is a rotation of RAS+, so faces stay counter-clockwise seen
from outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from volseg.errors import InputError, UsageError
from volseg.geometry import RAS_TO_LPS, Float
from volseg.io.atomic import atomic_path
from volseg.io.names import portable_name
from volseg.mesh import Mesh

SPACES = {"lps": RAS_TO_LPS[:3, :3], "ras": np.eye(3)}
# glTF 2.0, section 3.4: metres, +Y up, +Z forward. Here x = right, y = head, z = back.
_RAS_TO_GLTF = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) / 1000
_MAX_STL_FACES = 2**32 - 1


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
    (suffix,) = parse_formats(target.suffix)
    if space not in SPACES:
        raise UsageError(f"space {space!r} is unknown; choose from {', '.join(SPACES)}")
    if empty := [mesh.name for mesh in several if not len(mesh.faces)] if several else ["none"]:
        raise InputError(f"{target}: nothing to write, a mesh is without faces ({', '.join(empty)})")
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        MESH_FORMATS[suffix](several, stream, space)
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
    stream.write(f"volseg SPACE={space.upper()} UNIT=mm".encode("ascii").ljust(80, b"\0"))
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
        f"ply\nformat binary_little_endian 1.0\ncomment volseg SPACE={space.upper()} UNIT=mm\n"
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
    """Write glTF 2.0 in its binary container: a JSON chunk that describes a chunk of arrays."""
    arrays: list[NDArray[Any]] = []
    accessors: list[dict[str, Any]] = []
    for mesh in meshes:
        positions = (mesh.vertices @ _RAS_TO_GLTF.T).astype("<f4")
        extent = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
        for array, kind, component, more in (
            (positions, "VEC3", 5126, extent),
            (_vertex_normals(mesh).astype("<f4"), "VEC3", 5126, {}),
            (mesh.faces.astype("<u4").ravel(), "SCALAR", 5125, {}),
        ):
            accessors.append(
                {"bufferView": len(arrays), "componentType": component, "count": len(array), "type": kind, **more}
            )
            arrays.append(array)
    ends = np.cumsum([array.nbytes for array in arrays]).tolist()
    views = [
        {"buffer": 0, "byteOffset": end - array.nbytes, "byteLength": array.nbytes, "target": 34963 - (array.ndim - 1)}
        for array, end in zip(arrays, ends, strict=True)
    ]
    document = {**_gltf_objects(meshes), "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": ends[-1]}]}
    text = json.dumps(document, ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 4)
    stream.write(np.array([0x46546C67, 2, 28 + len(text) + ends[-1], len(text), 0x4E4F534A], dtype="<u4").tobytes())
    stream.write(text)
    stream.write(np.array([ends[-1], 0x004E4942], dtype="<u4").tobytes())
    for array in arrays:
        stream.write(array.tobytes())


def _gltf_objects(meshes: list[Mesh]) -> dict[str, Any]:
    """Return what glTF says about each mesh: its node, its three arrays, its material."""
    numbers = range(len(meshes))
    return {
        "asset": {"version": "2.0", "generator": "volseg"},
        "scene": 0,
        "scenes": [{"nodes": list(numbers)}],
        "nodes": [{"name": mesh.name, "mesh": n} for n, mesh in enumerate(meshes)],
        "meshes": [
            {
                "name": mesh.name,
                "primitives": [
                    {"attributes": {"POSITION": 3 * n, "NORMAL": 3 * n + 1}, "indices": 3 * n + 2, "material": n}
                ],
            }
            for n, mesh in enumerate(meshes)
        ],
        "materials": [
            {
                "name": mesh.name,
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*_srgb_to_linear(mesh.colour), 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                },
            }
            for mesh in meshes
        ],
    }
