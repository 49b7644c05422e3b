"""Mesh files as other programs write them, byte by byte: a box of 10 x 20 x 30 mm, volume 6000 mm3."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

# Counter-clockwise seen from outside; corner n is (n >> 2, n >> 1 & 1, n & 1).
CORNERS = np.array([[x, y, z] for x in (0, 10) for y in (20, 40) for z in (-30, 0)], dtype=float)
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
TRIANGLES = [[a, *pair] for a, b, c, d in QUADS for pair in ((b, c), (c, d))]
VOLUME = 6000.0
# Of the file; LPS becomes RAS+ by turning x and y round.
BOUNDS = np.array([[0, 20, -30], [10, 40, 0.0]])
BOUNDS_FROM_LPS = np.array([[-10, -40, -30], [0, -20, 0.0]])

Property = tuple[str, Sequence[float]]


def ply_bytes(
    form: str = "ascii",
    *,
    faces: Sequence[Sequence[int]] = TRIANGLES,
    of_vertices: dict[str, Property] | None = None,
    of_faces: dict[str, Property] | None = None,
    elements: Sequence[str] = ("vertex", "face"),
    lists: tuple[str, str] = ("uchar", "int"),
    position: str = "float",
    indices: str = "vertex_indices",
    ends: str = "\n",
    comments: Sequence[str] = (),
) -> bytes:
    """Return a PLY file.

    `of_vertices` and `of_faces` give properties that come after the usual ones: by name their type, or ``list`` for two
    numbers a corner, and a value for each row. An element that is neither vertex nor face has a list and a number.
    """
    rows: dict[str, list[list[tuple[str, float]]]] = {"vertex": [], "face": []}
    heads = {
        "vertex": [f"{position} {axis}" for axis in "xyz"],
        "face": [f"list {lists[0]} {lists[1]} {indices}"],
    }
    for corner in CORNERS:
        rows["vertex"].append([(position, value) for value in corner])
    for face in faces:
        rows["face"].append([(lists[0], len(face)), *((lists[1], corner) for corner in face)])
    for element, extra in (("vertex", of_vertices or {}), ("face", of_faces or {})):
        for name, (kind, values) in extra.items():
            heads[element].append(f"list uchar float {name}" if kind == "list" else f"{kind} {name}")
            for n, row in enumerate(rows[element]):
                if kind == "list":
                    count = 2 * len(faces[n])
                    row += [("uchar", count), *[("float", 0.5)] * count]
                else:
                    row.append((kind, values[n]))
    for name in set(elements) - set(rows):
        heads[name] = ["list uchar short things", "double number"]
        rows[name] = [[("uchar", n), *[("short", n)] * n, ("double", 1.5)] for n in range(3)]
    header = ["ply", f"format {form} 1.0", *(f"comment {comment}" for comment in comments)]
    for name in elements:
        header += [f"element {name} {len(rows[name])}", *(f"property {head}" for head in heads[name])]
    body = b"".join(_ply_row(row, form, ends) for name in elements for row in rows[name])
    return ends.join([*header, "end_header", ""]).encode("ascii") + body


def _ply_row(row: list[tuple[str, float]], form: str, ends: str) -> bytes:
    if form == "ascii":
        return (" ".join(f"{value:.9g}" for _, value in row) + ends).encode("ascii")
    codes = {
        "char": "b",
        "uchar": "B",
        "short": "h",
        "ushort": "H",
        "int": "i",
        "uint": "I",
        "float": "f",
        "double": "d",
    }
    order = "<" if "little" in form else ">"
    return b"".join(
        struct.pack(order + codes[kind], value if kind in ("float", "double") else int(value)) for kind, value in row
    )


def stl_text(*, name: str = "box", ends: str = "\n", indent: str = "  ", number: str = "{:g}") -> str:
    """Return a text STL file with 12 triangles."""
    lines = [f"solid {name}"]
    for corners in CORNERS[TRIANGLES]:
        lines += [f"{indent}facet normal 0 0 0", f"{indent}outer loop"]
        lines += [f"{indent}vertex " + " ".join(number.format(value) for value in corner) for corner in corners]
        lines += [f"{indent}endloop", f"{indent}endfacet"]
    return ends.join([*lines, f"endsolid {name}", ""])


def stl_bytes(header: bytes = b"", *, tail: bytes = b"", count: int = 12) -> bytes:
    """Return a binary STL file with 12 triangles."""
    records = b"".join(struct.pack("<12fH", 0, 0, 0, *corners.ravel(), 0) for corners in CORNERS[TRIANGLES])
    return header.ljust(80, b"\0")[:80] + struct.pack("<I", count) + records + tail


def obj_text() -> str:
    """Return an OBJ file of triangles."""
    lines = ["v {:g} {:g} {:g}".format(*corner) for corner in CORNERS]
    lines += ["f {} {} {}".format(*(corner + 1 for corner in face)) for face in TRIANGLES]
    return "\n".join([*lines, ""])


def glb_bytes(document: dict[str, Any], binary: bytes = b"") -> bytes:
    """Return a GLB file of a document and its binary data."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I", len(text)) + b"JSON" + text
    if binary:
        binary += b"\0" * (-len(binary) % 4)
        chunks += struct.pack("<I", len(binary)) + b"BIN\0" + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def glb_positions(corners: np.ndarray = CORNERS) -> np.ndarray:
    """Return the positions of corners in LPS mm: metres, x right, y head, z back."""
    return (corners * [-1, -1, 1])[:, [0, 2, 1]] * [0.001, 0.001, -0.001]


def glb_parts(corners: np.ndarray = CORNERS) -> tuple[dict[str, Any], bytes]:
    """Return document and binary data of a box: a node, a mesh of one primitive, 32-bit indices."""
    arrays = [glb_positions(corners).astype("<f4").tobytes(), np.array(TRIANGLES, dtype="<u4").tobytes()]
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "box"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": len(arrays[0])},
            {"buffer": 0, "byteOffset": len(arrays[0]), "byteLength": len(arrays[1])},
        ],
        "buffers": [{"byteLength": sum(map(len, arrays))}],
    }
    return document, b"".join(arrays)


CORE_3MF = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"


def box_3mf(*, corners: np.ndarray = CORNERS, faces: Sequence[Sequence[int]] = TRIANGLES, attributes: str = "") -> str:
    """Return the XML of an object."""
    points = "".join('<vertex x="{:.9g}" y="{:.9g}" z="{:.9g}"/>'.format(*corner) for corner in corners)
    triangles = "".join('<triangle v1="{}" v2="{}" v3="{}"/>'.format(*face) for face in faces)
    mesh = f"<mesh><vertices>{points}</vertices><triangles>{triangles}</triangles></mesh>"
    return f'<object id="1" {attributes}>{mesh}</object>'


def model_3mf(resources: str, items: str = '<item objectid="1"/>', *, unit: str = "", before: str = "") -> str:
    """Return the XML of a model."""
    unit = unit and f'unit="{unit}"'
    return (
        f'<?xml version="1.0"?><model {unit} xmlns="{CORE_3MF}" xmlns:p="urn:production" xmlns:m="urn:materials">'
        f"{before}<resources>{resources}</resources><build>{items}</build></model>"
    )


def package_3mf(model: str | bytes, *, part: str = "3D/3dmodel.model", others: dict[str, str] | None = None) -> bytes:
    """Return a 3MF package of a model and other parts."""
    relation = (
        f'<Relationship Target="/{part}" Id="r" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("_rels/.rels", f"<Relationships>{relation}</Relationships>")
        package.writestr(part, model)
        for name, text in (others or {}).items():
            package.writestr(name, text)
    return stream.getvalue()
