"""PLY files of triangles. VTK's reader ends the whole process on a file that is cut short, hence this one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from volseg.errors import InputError
from volseg.geometry import Float

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


@dataclass(frozen=True)
class MeshContent:
    """What a mesh file holds, in its own coordinate system.

    Parameters
    ----------
    vertices : (V, 3) float64
    faces : (F, 3) int64
    tag : str
        Text in which ``SPACE=...`` may stand.
    colours : (V, 3) uint8, optional
    parts : (V,) int, optional
        Which of several surfaces a vertex is of, from 1.
    names : tuple of str
        Of the parts.
    """

    vertices: Float
    faces: NDArray[np.int64]
    tag: str = ""
    colours: NDArray[np.uint8] | None = None
    parts: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()


@dataclass
class _Element:
    name: str
    count: int
    fields: list[tuple[str, str]] = field(default_factory=list)


def parse_ply(data: bytes, path: Path) -> MeshContent:
    """Take vertices, triangles, colours and the header (with its comments) out of a PLY file's bytes.

    Parameters
    ----------
    data : bytes
        Text or binary; vertices with x, y, z first of all elements, faces second.
    path : Path
        For the messages.

    Raises
    ------
    InputError
        Not a PLY file, cut short, or with polygons other than triangles.
    """
    end = re.search(rb"end_header\r?\n", data)
    if not data.startswith(b"ply") or end is None:
        raise InputError(f"{path}: is no PLY file; expected it to start with a PLY header")
    header = data[: end.start()].decode("latin-1")
    try:
        order, elements = _parse_header(header)
        vertices, faces = (_rows(data[end.end() :], elements, number, order) for number in range(2))
        points = _columns(vertices, ("x", "y", "z")).astype(np.float64)
        corners = _columns(faces, ("corner0", "corner1", "corner2")).astype(np.int64)
        rgb = ("red", "green", "blue")
        coloured = set(rgb) <= set(vertices.dtype.names or ())
        colours = _columns(vertices, rgb).astype(np.uint8) if coloured else None
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path}: is damaged or has no triangles as PLY has them ({error})") from error
    if (faces["corners"] != 3).any():
        raise InputError(f"{path}: has faces with more than three corners; expected triangles")
    return MeshContent(points, corners, header, colours)


def _columns(rows: NDArray[np.void], names: tuple[str, ...]) -> NDArray[np.generic]:
    return np.column_stack([rows[name] for name in names])


def _parse_header(header: str) -> tuple[str, list[_Element]]:
    order, elements = "", []
    for line in header.splitlines():
        match line.split():
            case ["format", name, *_]:
                order = _ORDERS[name]
            case ["element", name, count]:
                elements.append(_Element(name, int(count)))
            case ["property", "list", count, kind, _]:
                # Every list must be three corners long, which the number in front of it is checked for.
                corners = [(f"corner{n}", order + _TYPES[kind]) for n in range(3)]
                elements[-1].fields += [("corners", order + _TYPES[count]), *corners]
            case ["property", kind, name]:
                elements[-1].fields.append((name, order + _TYPES[kind]))
    return order, elements


def _rows(body: bytes, elements: list[_Element], number: int, order: str) -> NDArray[np.void]:
    """Return the rows of an element as a structured array, one field a property."""
    element = elements[number]
    if order:
        start = sum(before.count * np.dtype(before.fields).itemsize for before in elements[:number])
        return np.frombuffer(body, np.dtype(element.fields), element.count, start)
    start = sum(before.count * len(before.fields) for before in elements[:number])
    width = len(element.fields)
    words = body.split()[start : start + element.count * width]
    table = np.array(words, dtype=np.float64).reshape(element.count, width)
    result = np.empty(element.count, dtype=[(name, np.float64) for name, _ in element.fields])
    for column, (name, _) in enumerate(element.fields):
        result[name] = table[:, column]
    return result
