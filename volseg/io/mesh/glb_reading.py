"""Reading GLB, the binary container of glTF 2.0: the triangles of its scene, their names and colours.

Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html. Textures, skins and animations are left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.files.regular import LONGEST_TEXT
from volseg.io.mesh.content import Integers, MeshContent, Part, check_growth, join_parts, triangulate
from volseg.io.mesh.glb import METRES_PER_MM, RAS_TO_GLTF, to_srgb

_KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_BYTES_OF_A_TRIANGLE = 100


def parse_glb(data: bytes) -> MeshContent:
    """Parse the surfaces of the scene in a GLB file, RAS+ mm.

    Parameters
    ----------
    data : bytes
        Bytes of the whole file.

    Raises
    ------
    ValueError, or another of `volseg.errors.DAMAGE`
        The file is not GLB, is damaged, cut short or compressed, or has its data in other files.
    """
    document, binary = _chunks(data)
    file = _Document(document, binary)
    parts: list[Part] = []
    needed = 0
    for node, matrix in file.placed_meshes():
        mesh = document["meshes"][node["mesh"]]
        for primitive in mesh["primitives"]:
            if primitive.get("mode", _TRIANGLES) in (_TRIANGLES, _STRIP, _FAN):
                part = file.part(primitive, matrix, str(node.get("name") or mesh.get("name") or ""))
                needed += (len(part.faces) + len(part.vertices)) * _BYTES_OF_A_TRIANGLE
                check_growth(needed, len(data))
                parts.append(part)
    return join_parts(parts, "SPACE=RAS")


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the document and the binary data."""
    if data[:4] != b"glTF":
        raise ValueError("it does not start with glTF")
    version, length, size = np.frombuffer(data, "<u4", 3, 4).tolist()
    if version != 2 or data[16:20] != b"JSON":
        raise ValueError(f"it has version {version}; expected 2")
    if max(length, 20 + size) > len(data) or size > LONGEST_TEXT:
        raise ValueError(f"it has {len(data)} bytes of {length}, and {size} bytes of JSON")
    binary = b""
    rest = data[20 + size : length]
    if rest[4:8] == b"BIN\0":
        binary = rest[8 : 8 + int.from_bytes(rest[:4], "little")]
    return json.loads(data[20 : 20 + size]), binary


@dataclass(frozen=True)
class _Document:
    document: dict[str, Any]
    binary: bytes
    decoded: dict[int, bytes] = field(default_factory=dict)

    def placed_meshes(self) -> Iterator[tuple[dict[str, Any], Float]]:
        """Yield the nodes of the scene with a mesh, and the transform of each."""
        nodes = self.document.get("nodes", [])
        waiting = [(number, np.eye(4)) for number in self._roots(nodes)][::-1]
        seen = set()
        while waiting:
            number, parent = waiting.pop()
            if number in seen:
                raise ValueError(f"node {number} is a child of two nodes, or of itself")
            seen.add(number)
            matrix = parent @ _matrix(nodes[number])
            if "mesh" in nodes[number]:
                yield nodes[number], matrix
            waiting += [(child, matrix) for child in nodes[number].get("children", [])[::-1]]

    def _roots(self, nodes: list[dict[str, Any]]) -> list[int]:
        if scenes := self.document.get("scenes"):
            roots: list[int] = scenes[self.document.get("scene", 0)].get("nodes", [])
            return roots
        children = {child for node in nodes for child in node.get("children", [])}
        return [number for number in range(len(nodes)) if number not in children]

    def part(self, primitive: dict[str, Any], matrix: Float, name: str) -> Part:
        """Return the triangles of a primitive in RAS+ mm."""
        attributes = primitive["attributes"]
        vertices = self._values(attributes["POSITION"]).astype(np.float64)
        corners = np.arange(len(vertices))
        if "indices" in primitive:
            corners = self._values(primitive["indices"]).astype(np.int64).reshape(-1)
        mode = primitive.get("mode", _TRIANGLES)
        sizes = np.full(len(corners) // 3, 3) if mode == _TRIANGLES else np.array([len(corners)])
        faces, _ = triangulate(corners, sizes, strips=mode == _STRIP)
        placed = vertices @ matrix[:3, :3].T + matrix[:3, 3]
        turned = faces[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else faces
        return Part(placed @ RAS_TO_GLTF / METRES_PER_MM, turned, name, self._colours(primitive, faces))

    def _colours(self, primitive: dict[str, Any], faces: Integers) -> NDArray[np.uint8] | None:
        """Return the colour of each triangle: that of its first corner, or of the material."""
        shade: Any = None
        if "material" in primitive:
            material = self.document["materials"][primitive["material"]]
            shade = material.get("pbrMetallicRoughness", {}).get("baseColorFactor")
        attributes = primitive["attributes"]
        if "COLOR_0" in attributes:
            accessors = self.document["accessors"]
            if accessors[attributes["COLOR_0"]]["count"] != accessors[attributes["POSITION"]]["count"]:
                raise ValueError("it does not have one colour for each vertex")
            shade = self._values(attributes["COLOR_0"])[faces[:, 0]]
        return None if shade is None else np.broadcast_to(to_srgb(np.array(shade)[..., :3]), (len(faces), 3))

    def _values(self, number: int) -> NDArray[Any]:
        """Return the rows of an accessor; normalised integers are converted to 0 to 1 or -1 to 1."""
        accessor = self.document["accessors"][number]
        if "bufferView" not in accessor:
            needed = ", ".join(map(str, self.document.get("extensionsRequired", []))) or "no data"
            raise ValueError(f"its vertices cannot be read ({needed}); export it without compression")
        kind, width = np.dtype(_KINDS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        values = self._rows(accessor, accessor["count"], kind, width)
        if sparse := accessor.get("sparse"):
            count, indices = sparse["count"], sparse["indices"]
            places = self._rows(indices, count, np.dtype(_KINDS[indices["componentType"]]), 1)
            values = values.copy()
            values[places[:, 0]] = self._rows(sparse["values"], count, kind, width)
        if accessor.get("normalized"):
            values = np.maximum(values / np.iinfo(kind).max, -1)
        return values

    def _rows(self, entry: dict[str, Any], count: int, kind: np.dtype[Any], width: int) -> NDArray[Any]:
        view = self.document["bufferViews"][entry["bufferView"]]
        row = width * kind.itemsize
        stride, start = view.get("byteStride") or row, entry.get("byteOffset", 0)
        if start < 0 or stride < row or start + (count - 1) * stride + row > view["byteLength"]:
            raise ValueError(f"{count} rows of {row} bytes do not fit into {view['byteLength']}")
        buffer = self._buffer(view.get("buffer", 0))
        start += view.get("byteOffset", 0)
        return np.ndarray((count, width), kind, buffer, start, (stride, kind.itemsize))

    def _buffer(self, number: int) -> bytes:
        uri = self.document["buffers"][number].get("uri")
        if uri is None and number == 0:
            return self.binary
        if number not in self.decoded:
            head, _, text = str(uri).partition(",")
            if not (head.startswith("data:") and head.endswith(";base64")):
                raise ValueError(f"its data are in another file, {str(uri)[:80]!r}")
            self.decoded[number] = base64.b64decode(text, validate=True)
        return self.decoded[number]


def _matrix(node: dict[str, Any]) -> Float:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
