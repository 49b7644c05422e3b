"""Mesh files: STL, PLY, OBJ, VTP, VTM, 3MF and GLB, one surface or many to a file.

All but GLB are in millimetres and carry the name of their coordinate system, ``SPACE=LPS`` (the default, as DICOM and
3D Slicer have it) or ``SPACE=RAS``, where Slicer looks for it: in the STL header, a comment of PLY and OBJ, a field of
VTP and VTM; in 3MF it is metadata. GLB has one frame only: metres, Y up. Every one of these frames is a rotation of
RAS+, so faces stay counter-clockwise seen from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import RAS_TO_LPS
from volseg.core.mesh import Mesh
from volseg.core.mesh_joining import join_meshes
from volseg.errors import InputError, UsageError
from volseg.files.atomic import atomic_path
from volseg.files.names import distinct_names
from volseg.files.plain_text import plain
from volseg.io.mesh.glb import glb_bytes
from volseg.io.mesh.obj import material_path, write_obj
from volseg.io.mesh.threemf import write_3mf
from volseg.io.mesh.vtm import write_vtm
from volseg.io.mesh.vtp import vtp_bytes

MESH_FORMATS = ("stl", "ply", "glb", "vtp", "obj", "vtm", "3mf")
# All surfaces under one name, for formats that join them.
TOGETHER = "surfaces"
_AT_ONCE = 1 << 18  # triangles
SPACES = {"lps": np.diag(RAS_TO_LPS)[:3], "ras": np.ones(3)}


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

    VTM is there to hold several, so it is one file for all, ``surfaces.vtm``, with its folder of blocks.

    Parameters
    ----------
    meshes : iterable of Mesh
        World mm, RAS+. Names are made portable; where two become the same, on any file system, the later gets a number.
    folder : path
        Made if missing.
    formats : sequence of str
        Of ``stl``, ``ply``, ``glb``, ``vtp``, ``obj``, ``vtm``, ``3mf``.
    space : {"lps", "ras"}
        Coordinate system of all but GLB.

    Returns
    -------
    list of Path
        What was written, mesh by mesh, then what holds all; the material file of an OBJ and the blocks of a VTM too.

    Raises
    ------
    UsageError
        Unknown format or space.
    OutputError
        The folder cannot be written.
    """
    targets = mesh_targets(meshes, folder, formats=formats)
    return [file for path, some in targets for file in write_mesh_files(some, path, space=space)]


def mesh_targets(
    meshes: Iterable[Mesh], folder: str | Path, *, formats: Sequence[str] = ("stl",)
) -> list[tuple[Path, list[Mesh]]]:
    """Return the files that `write_meshes` writes, and which meshes into each."""
    formats, parts = parse_formats(",".join(formats)), list(meshes)
    names = distinct_names(mesh.name for mesh in parts)
    apart = [suffix for suffix in formats if suffix != "vtm"]
    targets = [
        (Path(folder) / f"{name}.{suffix}", [mesh]) for name, mesh in zip(names, parts, strict=True) for suffix in apart
    ]
    together = [(Path(folder) / f"{TOGETHER}.vtm", parts)] if "vtm" in formats and parts else []
    return [*targets, *together]


def replaced_by(path: Path) -> list[Path]:
    """Return which files `write_mesh` to a path replaces, if they are there."""
    return [material_path(path), path] if path.suffix.lower() == ".obj" else [path]


def write_mesh(meshes: Mesh | Sequence[Mesh], path: str | Path, *, space: str = "lps") -> Path:
    """Write one mesh, or several together, to one file.

    In STL several meshes are one; PLY also keeps their colours; VTP colours and which vertex is of which label; OBJ,
    VTM, 3MF and GLB have a named, coloured object for each. An OBJ has its colours in an ``.mtl`` beside it, a VTM its
    surfaces in a folder ``<file>-<digest>`` beside it.

    Parameters
    ----------
    meshes : Mesh or sequence of Mesh
        World mm, RAS+.
    path : path
        Ends in ``.stl`` (binary), ``.ply`` (binary), ``.vtp``, ``.glb``, ``.obj``, ``.vtm`` or ``.3mf``; replaced if it
        exists.
    space : {"lps", "ras"}
        Coordinate system of all but GLB, which has its own.

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
    return write_mesh_files(meshes, path, space=space)[-1]


def write_mesh_files(meshes: Mesh | Sequence[Mesh], path: str | Path, *, space: str = "lps") -> list[Path]:
    """Do as `write_mesh`, and return every file that was written, the one at `path` last."""
    several = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    target = Path(path)
    suffix = target.suffix.lower().removeprefix(".")
    if suffix not in MESH_FORMATS:
        raise UsageError(f"{target}: mesh format {suffix!r} is unknown; choose from {', '.join(MESH_FORMATS)}")
    if space not in SPACES:
        raise UsageError(f"space {space!r} is unknown; choose from {', '.join(SPACES)}")
    if not several or not all(len(mesh.faces) for mesh in several):
        raise InputError(f"{target}: there is no mesh to write, or one without faces; expected surfaces")
    signs = 1 if suffix == "glb" else SPACES[space]
    placed = [replace(mesh, name=plain(mesh.name), vertices=mesh.vertices * signs) for mesh in several]
    if suffix in _WRITERS_OF_SEVERAL_FILES:
        return _WRITERS_OF_SEVERAL_FILES[suffix](placed, target, space.upper())
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        _WRITERS[suffix](placed, stream, space.upper())
    return [target]


def _write_stl(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    stream.write(f"volseg SPACE={space}".encode("ascii").ljust(80, b"\0"))
    stream.write(np.uint32(sum(len(mesh.faces) for mesh in meshes)).astype("<u4").tobytes())
    for mesh in meshes:
        vertices = mesh.vertices.astype("<f4")
        for start in range(0, len(mesh.faces), _AT_ONCE):
            stream.write(_stl_records(vertices[mesh.faces[start : start + _AT_ONCE]]))


def _stl_records(corners: NDArray[np.float32]) -> memoryview:
    """Return triangles as STL has them, which takes many times their memory on the way."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    records["normal"] = np.divide(normals, lengths, where=lengths > 0, out=np.zeros_like(normals))
    records["corners"] = corners
    return records.view(np.uint8).data


def _write_ply(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    mesh = join_meshes(meshes)
    grades = [f"comment quality {n}: {part.quality}\n" for n, part in enumerate(meshes, 1) if part.quality]
    vertices = np.empty(len(mesh.vertices), dtype=[("position", "<f4", 3), ("colour", "u1", 3)])
    vertices["position"] = mesh.vertices
    vertices["colour"] = mesh.point_data["RGB"]
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment volseg SPACE={space}\n{''.join(grades)}"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    stream.write(header.encode("ascii"))
    stream.write(vertices.view(np.uint8).data)
    stream.write(faces.view(np.uint8).data)


def _write_vtp(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    stream.write(vtp_bytes(meshes, space))


def _write_glb(meshes: list[Mesh], stream: BinaryIO, space: str) -> None:
    stream.write(glb_bytes(meshes))


# What each is given: meshes in the coordinate system of the file, and that system's name in capitals.
_WRITERS: dict[str, Callable[[list[Mesh], BinaryIO, str], None]] = {
    "stl": _write_stl,
    "ply": _write_ply,
    "glb": _write_glb,
    "vtp": _write_vtp,
    "3mf": write_3mf,
}
_WRITERS_OF_SEVERAL_FILES: dict[str, Callable[[list[Mesh], Path, str], list[Path]]] = {
    "obj": write_obj,
    "vtm": write_vtm,
}
