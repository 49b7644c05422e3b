"""PLY files, text or binary, from any program: elements and properties in any order, polygons, strips.

Format: https://paulbourke.net/dataformats/ply/. VTK's reader ends the whole process on a file that is cut short.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from volseg.core.mesh import Mesh
from volseg.core.mesh_joining import join_meshes
from volseg.io.mesh.content import Integers, MeshContent, to_bytes, triangulate

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_INDICES = ("vertex_indices", "vertex_index")
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class _Property:
    """A property: `kind` is its type in the header, `stored` that of the bytes, `length` that of a list's count."""

    name: str
    kind: np.dtype[Any]
    stored: np.dtype[Any]
    length: np.dtype[Any] | None = None


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)


@dataclass(frozen=True)
class _Column:
    """Values of a property in all rows; those of lists one after the other, with the length of each list."""

    kind: np.dtype[Any]
    values: NDArray[Any]
    lengths: Integers
    is_list: bool


_Table = dict[str, _Column]


def write_ply(meshes: Sequence[Mesh], stream: BinaryIO, space: str) -> None:
    """Write a binary PLY file with the triangles of all meshes and the colour of each vertex.

    Parameters
    ----------
    meshes : sequence of Mesh
        In the coordinate system of the file, mm.
    stream : binary file
    space : str
        Name of that system, for a comment.
    """
    mesh = join_meshes(meshes)
    grades = ""
    for number, part in enumerate(meshes, 1):
        if part.quality:
            grades += f"comment quality {number}: {part.quality}\n"
    vertices = np.empty(len(mesh.vertices), dtype=[("position", "<f4", 3), ("colour", "u1", 3)])
    vertices["position"] = mesh.vertices
    vertices["colour"] = mesh.point_data["RGB"]
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment volseg SPACE={space}\n{grades}"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    stream.write(header.encode("ascii"))
    stream.write(vertices.view(np.uint8).data)
    stream.write(faces.view(np.uint8).data)


def parse_ply(data: bytes) -> MeshContent:
    """Parse vertices, triangles, colours and the header (with its comments) of a PLY file.

    Parameters
    ----------
    data : bytes
        Bytes of a binary file in either byte order, or of a text file.

    Raises
    ------
    ValueError, or another of `volseg.errors.DAMAGE`
        The file is not PLY, is damaged or cut short.
    """
    start = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data)
    end = start and re.search(rb"[\r\n]end_header[ \t]*" + (b"\r" if start[1] == b"\r" else b"\r?\n"), data)
    if end is None:
        raise ValueError("it does not start with a PLY header")
    header = data[: end.start()].decode("latin-1")
    tables = _parse_body(header, data[end.end() :])
    vertices = tables["vertex"]
    points = np.column_stack([vertices["x"].values, vertices["y"].values, vertices["z"].values]).astype(np.float64)
    faces, owner = _triangles(tables)
    colours = _colours(vertices)
    if colours is not None:
        colours = colours[faces[:, 0]]
    elif (of_faces := _colours(tables.get("face", {}))) is not None:
        colours = of_faces[owner]
    return MeshContent(points, faces, header, colours)


def _parse_body(header: str, body: bytes) -> dict[str, _Table]:
    """Read the data after the header, by element."""
    order, elements = _parse_header(header)
    if order:
        return _read_tables(elements, memoryview(body))[0]
    numbers = _as_binary(body, sum(element.count for element in elements))
    tables, end = _read_tables(elements, memoryview(numbers))
    if end < len(numbers):
        raise ValueError("it has more numbers than its header declares")
    return tables


def _as_binary(text: bytes, rows: int) -> bytes:
    """Return the numbers of a text with a line for each row, as 8-byte floats one after the other."""
    lines = sum(map(bool, map(bytes.strip, text.splitlines())))
    if lines != rows:
        raise ValueError(f"it has {lines} lines for {rows} rows")
    return np.fromstring(text, dtype=np.float64, sep=" ").tobytes()


def _parse_header(header: str) -> tuple[str, list[_Element]]:
    order, elements = "", []
    for line in header.splitlines():
        match line.split():
            case ["format", name, *_]:
                order = _ORDERS[name]
            case ["element", name, count]:
                elements.append(_Element(name, int(count)))
            case ["property", "list", length, kind, name]:
                elements[-1].properties.append(_property(name, kind, order, length))
            case ["property", kind, name]:
                elements[-1].properties.append(_property(name, kind, order))
    return order, elements


def _property(name: str, kind: str, order: str, length: str = "") -> _Property:
    def stored(kind: str) -> np.dtype[Any]:
        return np.dtype(order + _TYPES[kind] if order else "f8")

    return _Property(name, np.dtype(_TYPES[kind]), stored(kind), stored(length) if length else None)


def _read_tables(elements: list[_Element], body: memoryview) -> tuple[dict[str, _Table], int]:
    """Read elements one after the other, and return the position of their end."""
    tables: dict[str, _Table] = {}
    start = 0
    for element in elements:
        if element.count < 0:
            raise ValueError(f"it has {element.count} of {element.name}")
        table, start = _read_even(element, body, start) or _read_uneven(element, body, start)
        tables[element.name] = table
    return tables, start


def _read_even(element: _Element, body: memoryview, start: int) -> tuple[_Table, int] | None:
    """Read rows of equal length, and return the position of their end; None if lengths differ."""
    row = _first_row(element, body, start)
    if row is None or row.itemsize * element.count > len(body) - start:
        return None
    rows = np.frombuffer(body, row, element.count, start)
    table = {}
    for number, entry in enumerate(element.properties):
        values = rows[str(number)]
        lengths = np.full(element.count, values.shape[1])
        if entry.length is not None and (rows[f"length {number}"] != lengths).any():
            return None
        table[entry.name] = _Column(entry.kind, values.reshape(-1), lengths, entry.length is not None)
    return table, start + rows.nbytes


def _first_row(element: _Element, body: memoryview, start: int) -> np.dtype[Any] | None:
    """Return the fields of the first row: ``0`` for property 0, with ``length 0`` before it if it is a list."""
    fields: list[tuple[Any, ...]] = []
    position = start
    for number, entry in enumerate(element.properties):
        count = 1
        if entry.length is not None:
            count = int(np.frombuffer(body, entry.length, 1, position)[0]) if element.count else 0
            fields.append((f"length {number}", entry.length))
            position += entry.length.itemsize
        position += count * entry.stored.itemsize
        if count < 0 or position > len(body):
            raise ValueError(f"it ends within the first of {element.count} {element.name}")
        fields.append((str(number), entry.stored, (count,)))
    return np.dtype(fields) if fields else None


def _read_uneven(element: _Element, body: memoryview, start: int) -> tuple[_Table, int]:
    """Read rows with lists of different lengths, and return the position of their end."""
    places = [array("q") for _ in element.properties]
    lengths = [array("q") for _ in element.properties]
    steps = list(zip(places, lengths, map(_counter, element.properties), element.properties, strict=True))
    for _ in range(element.count if steps else 0):
        for place, length, counter, entry in steps:
            count = 1
            if counter is not None:
                count = int(counter.unpack_from(body, start)[0])
                start += counter.size
            place.append(start)
            length.append(count)
            start += count * entry.stored.itemsize
            if count < 0 or start > len(body):
                raise ValueError(f"it is cut short or damaged within {element.name}")
    table = {}
    for place, length, _, entry in steps:
        counts = np.array(length, dtype=np.int64)
        values = _gather(body, np.array(place, dtype=np.int64), counts, entry.stored)
        table[entry.name] = _Column(entry.kind, values, counts, entry.length is not None)
    return table, start


def _counter(entry: _Property) -> struct.Struct | None:
    """Return a function that reads the length of a list."""
    kind = entry.length
    return None if kind is None else struct.Struct((">" if kind.str[0] == ">" else "<") + kind.char)


def _gather(body: memoryview, places: Integers, lengths: Integers, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return the values at the given byte positions, `lengths` values at each."""
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    starts = np.repeat(places, lengths) + within * kind.itemsize
    octets = np.frombuffer(body, np.uint8)[starts[:, None] + np.arange(kind.itemsize)]
    values: NDArray[Any] = octets.view(kind).reshape(-1)
    return values


def _triangles(tables: dict[str, _Table]) -> tuple[Integers, Integers]:
    """Return the triangles, and the number of the face of each."""
    if "face" not in tables and "tristrips" not in tables:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64)
    strips = "face" not in tables
    table = tables["tristrips" if strips else "face"]
    found = _corners(table)
    corners, sizes = found.values.astype(np.int64), found.lengths
    if strips:  # -1 ends a strip within a list
        ends = corners < 0
        strip = np.cumsum(ends) + np.repeat(np.arange(len(sizes)), sizes)
        corners, sizes = corners[~ends], np.unique(strip[~ends], return_counts=True)[1]
    return triangulate(corners, sizes, strips=strips)


def _corners(table: _Table) -> _Column:
    """Return the lists of corners: those with the usual name, else the first lists."""
    lists = [name for name, column in table.items() if column.is_list]
    for name in (*_INDICES, *lists):
        if name in lists:
            return table[name]
    raise ValueError("its faces have no lists of corners")


def _colours(table: _Table) -> NDArray[np.uint8] | None:
    if not set(_COLOURS) <= table.keys():
        return None
    red, green, blue = map(table.__getitem__, _COLOURS)
    return to_bytes(np.column_stack([red.values, green.values, blue.values]), red.kind)
