"""GLB, the binary container of glTF 2.0: named, coloured objects in metres, Y up.

Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Colour
from volseg.core.mesh import Mesh

# x = right, y = head, z = back.
RAS_TO_GLTF = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
METRES_PER_MM = 0.001
_FLOAT, _UINT32 = 5126, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963


def glb_bytes(meshes: Sequence[Mesh]) -> bytes:
    """Return the content of a GLB file with one named object for each mesh.

    Parameters
    ----------
    meshes : sequence of Mesh
        World mm, RAS+.
    """
    nodes, objects, materials, arrays = [], [], [], list[NDArray[Any]]()
    for number, mesh in enumerate(meshes):
        nodes.append(_node(number, mesh))
        objects.append({"name": mesh.name, "primitives": [_primitive(number)]})
        materials.append(_material(mesh))
        arrays += _mesh_arrays(mesh)
    document = {
        "asset": {"version": "2.0", "generator": "volseg"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": nodes,
        "meshes": objects,
        "materials": materials,
        **_describe(arrays),
    }
    text = json.dumps(document, ensure_ascii=False).encode("utf-8")
    binary = b"".join(array.tobytes() for array in arrays)
    chunks = _chunk(b"JSON", text + b" " * (-len(text) % 4)) + _chunk(b"BIN\0", binary)
    return b"glTF" + _uint32(2) + _uint32(12 + len(chunks)) + chunks


def _node(n: int, mesh: Mesh) -> dict[str, Any]:
    extras = {"extras": {"quality": asdict(mesh.quality)}} if mesh.quality else {}
    return {"name": mesh.name, "mesh": n, **extras}


def _mesh_arrays(mesh: Mesh) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    # Viewers draw facets if a file has no normals.
    vectors = mesh.area_vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    normals = np.where(lengths > 0, vectors / np.where(lengths > 0, lengths, 1), [0, 0, 1])
    positions = mesh.vertices @ RAS_TO_GLTF.T * METRES_PER_MM
    return positions.astype("<f4"), (normals @ RAS_TO_GLTF.T).astype("<f4"), mesh.faces.astype("<u4").ravel()


def _describe(arrays: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Describe each array by an accessor (its type) and a view (its position); each fills whole 4-byte words."""
    accessors, views, start = [], [], 0
    for n, array in enumerate(arrays):
        is_vertex = array.ndim == 2
        accessor = {
            "bufferView": n,
            "componentType": _FLOAT if is_vertex else _UINT32,
            "type": "VEC3" if is_vertex else "SCALAR",
            "count": len(array),
            "min": np.atleast_1d(array.min(axis=0)).tolist(),
            "max": np.atleast_1d(array.max(axis=0)).tolist(),
        }
        view = {
            "buffer": 0,
            "byteOffset": start,
            "byteLength": array.nbytes,
            "target": _VERTEX_BUFFER if is_vertex else _INDEX_BUFFER,
        }
        accessors.append(accessor)
        views.append(view)
        start += array.nbytes
    return {"accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": start}]}


def _primitive(n: int) -> dict[str, Any]:
    return {"attributes": {"POSITION": 3 * n, "NORMAL": 3 * n + 1}, "indices": 3 * n + 2, "material": n}


def _material(mesh: Mesh) -> dict[str, Any]:
    shading = {"baseColorFactor": [*_to_linear(mesh.colour), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    return {"name": mesh.name, "pbrMetallicRoughness": shading}


def _to_linear(colour: Colour) -> list[float]:
    """Decode sRGB (IEC 61966-2-1); glTF's colour factors are linear."""
    encoded = np.array(colour) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return [float(value) for value in linear]


def to_srgb(linear: NDArray[Any]) -> NDArray[np.uint8]:
    """Encode linear light, as GLB has it, as sRGB.

    Parameters
    ----------
    linear : array of float, 0 to 1
        Values outside are clipped.

    Returns
    -------
    array of uint8
        Array of the same shape.
    """
    share = np.clip(linear, 0, 1)
    encoded = np.where(share <= 0.0031308, 12.92 * share, 1.055 * share ** (1 / 2.4) - 0.055)
    colours: NDArray[np.uint8] = np.rint(255 * encoded).astype(np.uint8)
    return colours


def _chunk(kind: bytes, content: bytes) -> bytes:
    return _uint32(len(content)) + kind + content


def _uint32(number: int) -> bytes:
    return number.to_bytes(4, "little")
