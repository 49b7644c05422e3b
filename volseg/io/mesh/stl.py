"""STL files, binary or text. The format has only corners; corners at the same position become one vertex."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.mesh import Mesh
from volseg.io.mesh.content import MeshContent, weld

_HEADER_BYTES = 80
_START_BYTES = _HEADER_BYTES + 4
_AT_ONCE = 1 << 15  # triangles; their corners fit into the cache of a core
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_SOLID = re.compile(rb"(\xef\xbb\xbf)?\s*solid\b", re.IGNORECASE)
# For text in lower case, which is ten times as quick as patterns that ignore case.
_VERTEX = rb"\s+vertex\s+(\S+)\s+(\S+)\s+(\S+)"
_FACET = re.compile(rb"facet\s+normal\s+\S+\s+\S+\s+\S+\s+outer\s+loop" + 3 * _VERTEX + rb"\s+endloop\s+endfacet\b")
_STARTS = re.compile(rb"facet\s+normal")
_LAST = re.compile(rb"\s*endsolid\b")


def write_stl(meshes: Sequence[Mesh], stream: BinaryIO, space: str) -> None:
    """Write a binary STL file with the triangles of all meshes.

    Parameters
    ----------
    meshes : sequence of Mesh
        In the coordinate system of the file, mm.
    stream : binary file
    space : str
        Name of that system, for the header.
    """
    stream.write(f"volseg SPACE={space}".encode("ascii").ljust(_HEADER_BYTES, b"\0"))
    stream.write(np.uint32(sum(len(mesh.faces) for mesh in meshes)).astype("<u4").tobytes())
    for mesh in meshes:
        axes = np.ascontiguousarray(mesh.vertices.T, dtype=np.float32)
        for start in range(0, len(mesh.faces), _AT_ONCE):
            stream.write(_stl_records(axes, mesh.faces[start : start + _AT_ONCE]))


def _stl_records(axes: NDArray[np.float32], faces: NDArray[np.int64]) -> memoryview:
    """Return triangles in the form of STL; rows of x, y and z are quicker to compute with than rows of corners."""
    a, b, c = (axes.take(faces[:, n], axis=1) for n in range(3))
    normals = np.cross(b - a, c - a, axis=0)
    lengths = np.linalg.norm(normals, axis=0)
    normals = np.divide(normals, lengths, where=lengths > 0, out=np.zeros_like(normals))
    records = np.zeros(len(faces), _RECORD)
    for axis in range(3):
        records["normal"][:, axis] = normals[axis]
        for n, corner in enumerate((a, b, c)):
            records["corners"][:, n, axis] = corner[axis]
    return records.view(np.uint8).data


def parse_stl(data: bytes) -> MeshContent:
    """Parse the triangles of an STL file, and its first 80 bytes as the tag.

    Parameters
    ----------
    data : bytes
        Bytes of a binary or a text file.

    Raises
    ------
    ValueError
        The file is cut short or damaged.
    """
    vertices, faces = weld(_text_corners(data) if _is_text(data) else _binary_corners(data))
    return MeshContent(vertices, faces, data[:_HEADER_BYTES].decode("latin-1"))


def _is_text(data: bytes) -> bool:
    """Return whether it is text; some programs start binary files with ``solid`` too."""
    if _SOLID.match(data) is None:
        return False
    return len(data) != _START_BYTES + _count(data) * _RECORD.itemsize and b"\0" not in data[:1000]


def _count(data: bytes) -> int:
    return int.from_bytes(data[_HEADER_BYTES:_START_BYTES], "little")


def _binary_corners(data: bytes) -> Float:
    there = max(len(data) - _START_BYTES, 0) // _RECORD.itemsize
    if len(data) < _START_BYTES or there < _count(data):
        raise ValueError(f"it is cut short: {there} triangles of {_count(data)}")
    return np.frombuffer(data, _RECORD, _count(data), _START_BYTES)["corners"]


def _text_corners(data: bytes) -> Float:
    text = data.lower()
    numbers = array("d")
    end = 0
    for facet in _FACET.finditer(text):
        numbers.extend(map(float, facet.groups()))
        end = facet.end()
    corners = np.array(numbers).reshape(-1, 3, 3)
    facets = max(sum(1 for _ in _STARTS.finditer(text)), text.count(b"endfacet"))
    if len(corners) < facets or (facets and not _LAST.match(text, end)):
        raise ValueError(f"it is cut short or damaged: {len(corners)} whole triangles of at least {facets}")
    return corners
