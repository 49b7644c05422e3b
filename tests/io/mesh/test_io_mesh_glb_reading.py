"""GLB files of other programs: metres, Y up, and everything that the format allows to be said in several ways."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from mesh_files import BOUNDS_FROM_LPS, CORNERS, QUADS, TRIANGLES, VOLUME, glb_bytes, glb_parts, glb_positions

from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.io.mesh.reading import read_meshes

Document = dict[str, Any]


def read(tmp_path: Path, document: Document, binary: bytes = b"") -> list[Mesh]:
    path = tmp_path / "a.glb"
    path.write_bytes(glb_bytes(document, binary))
    return read_meshes(path, colour=(1, 2, 3))


def assert_box(meshes: list[Mesh]) -> None:
    whole = Mesh.joined(meshes)
    assert whole.volume_mm3 == pytest.approx(VOLUME, rel=1e-5)
    np.testing.assert_allclose(whole.bounds, BOUNDS_FROM_LPS, atol=1e-3)


def append(
    document: Document, binary: bytes, values: np.ndarray, kind: int, form: str, **more: Any
) -> tuple[int, bytes]:
    """Add an accessor with its data."""
    start = len(binary)
    document["bufferViews"].append({"buffer": 0, "byteOffset": start, "byteLength": values.nbytes})
    accessor = {
        "bufferView": len(document["bufferViews"]) - 1,
        "componentType": kind,
        "count": len(values),
        "type": form,
    }
    document["accessors"].append(accessor | more)
    data = values.tobytes()
    return len(document["accessors"]) - 1, binary + data + b"\0" * (-len(data) % 4)


def test_names_default_colour_and_place(tmp_path: Path) -> None:
    (mesh,) = read(tmp_path, *glb_parts())
    assert (mesh.name, mesh.colour, mesh.is_closed) == ("box", (1, 2, 3), True)
    assert_box([mesh])


@pytest.mark.parametrize(("kind", "code"), [("u1", 5121), ("<u2", 5123), ("<u4", 5125)])
def test_indices_of_any_size(tmp_path: Path, kind: str, code: int) -> None:
    document, binary = glb_parts()
    number, binary = append(document, binary, np.array(TRIANGLES, dtype=kind).ravel(), code, "SCALAR")
    document["meshes"][0]["primitives"][0]["indices"] = number
    assert_box(read(tmp_path, document, binary))


def test_triangles_without_indices(tmp_path: Path) -> None:
    document, binary = glb_parts()
    corners = glb_positions()[np.array(TRIANGLES)].reshape(-1, 3).astype("<f4")
    number, binary = append(document, binary, corners, 5126, "VEC3")
    document["meshes"][0]["primitives"] = [{"attributes": {"POSITION": number}}]
    assert_box(read(tmp_path, document, binary))


@pytest.mark.parametrize(("mode", "order"), [(5, [0, 1, 3, 2]), (6, [0, 1, 2, 3])], ids=["strips", "fans"])
def test_strips_and_fans_and_what_is_no_surface(tmp_path: Path, mode: int, order: list[int]) -> None:
    document, binary = glb_parts()
    primitives = [{"attributes": {"POSITION": 0}, "mode": other} for other in (0, 1, 2, 3)]
    for side in QUADS:
        indices = np.array(side, dtype="<u2")[order]
        number, binary = append(document, binary, indices, 5123, "SCALAR")
        primitives.append({"attributes": {"POSITION": 0}, "indices": number, "mode": mode})
    document["meshes"][0]["primitives"] = primitives
    meshes = read(tmp_path, document, binary)
    assert len(meshes) == 6
    assert_box(meshes)


def test_rows_with_other_values_between(tmp_path: Path) -> None:
    document, binary = glb_parts()
    rows = np.concatenate([glb_positions(), np.ones((8, 3))], axis=1).astype("<f4")
    number, binary = append(document, binary, rows, 5126, "VEC3")
    document["bufferViews"][-1]["byteStride"] = 24
    document["accessors"].append(document["accessors"][number] | {"byteOffset": 12})
    document["meshes"][0]["primitives"][0]["attributes"] = {"NORMAL": number + 1, "POSITION": number}
    assert_box(read(tmp_path, document, binary))


def test_quantised_positions(tmp_path: Path) -> None:
    """KHR_mesh_quantization: 16 bits for 0 to 1, and the node has the scale."""
    document, binary = glb_parts()
    positions = glb_positions()
    low, size = positions.min(axis=0), np.ptp(positions, axis=0)
    rows = np.zeros((8, 4), dtype="<u2")
    rows[:, :3] = np.round((positions - low) / size * 65535)
    number, binary = append(document, binary, rows, 5123, "VEC3", normalized=True)
    document["bufferViews"][-1]["byteStride"] = 8
    document["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = number
    document["nodes"][0] |= {"translation": low.tolist(), "scale": size.tolist()}
    assert_box(read(tmp_path, document, binary))


def test_sparse_positions(tmp_path: Path) -> None:
    corners = CORNERS.copy()
    corners[7] = 0
    document, binary = glb_parts(corners)
    places, binary = append(document, binary, np.array([7], dtype="<u2"), 5123, "SCALAR")
    values, binary = append(document, binary, glb_positions()[7:].astype("<f4"), 5126, "VEC3")
    views = [document["accessors"][number]["bufferView"] for number in (places, values)]
    document["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": views[0], "componentType": 5123},
        "values": {"bufferView": views[1]},
    }
    assert_box(read(tmp_path, document, binary))


def test_data_in_the_document(tmp_path: Path) -> None:
    document, binary = glb_parts()
    uri = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    document["buffers"][0]["uri"] = uri
    assert_box(read(tmp_path, document))


def test_a_scene_is_its_nodes_in_their_places(tmp_path: Path) -> None:
    document, binary = glb_parts()
    document["nodes"] = [
        {"children": [1, 2], "rotation": [0, 0, 1, 0], "name": "turned by half"},
        {"mesh": 0, "name": "a", "matrix": [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]},
        {"mesh": 0, "translation": [0.1, 0, 0], "scale": [1, 2, 1]},
        {"mesh": 0, "name": "not in the scene"},
        {"name": "empty", "camera": 0},
    ]
    document["scenes"][0]["nodes"] = [0, 4]
    first, second = read(tmp_path, document, binary)
    assert_box([first])
    assert (first.name, second.name) == ("a", "a")
    assert second.volume_mm3 == pytest.approx(2 * VOLUME, rel=1e-5)
    for name in ("scene", "scenes"):
        del document[name]
    assert len(read(tmp_path, document, binary)) == 3


def test_mirrored_nodes_stay_outside_out(tmp_path: Path) -> None:
    document, binary = glb_parts()
    document["nodes"][0]["scale"] = [-1, 1, 1]
    (mesh,) = read(tmp_path, document, binary)
    assert mesh.volume_mm3 == pytest.approx(VOLUME, rel=1e-5)
    np.testing.assert_allclose(mesh.bounds, [[0, -40, -30], [10, -20, 0]], atol=1e-3)


@pytest.mark.parametrize("matrix", [np.eye(4), trimesh.transformations.rotation_matrix(1, [1, 2, 3], [4, 5, 6])])
@pytest.mark.parametrize("mirror", [1, -1])
def test_trimesh_agrees(tmp_path: Path, matrix: np.ndarray, mirror: int) -> None:
    box = trimesh.Trimesh(glb_positions(), TRIANGLES, process=False)
    scene = trimesh.Scene()
    scene.add_geometry(box, node_name="a", transform=matrix @ np.diag([mirror, 1, 1, 1]))
    scene.add_geometry(box, node_name="b", parent_node_name="a", transform=matrix)
    scene.export(tmp_path / "a.glb")
    other = trimesh.load_scene(tmp_path / "a.glb").to_mesh()
    found = Mesh.joined(read_meshes(tmp_path / "a.glb"))
    assert found.volume_mm3 == pytest.approx(1e9 * other.volume, rel=1e-5)
    ras = np.asarray(other.vertices)[:, [0, 2, 1]] * [1000, -1000, 1000]
    np.testing.assert_allclose(found.bounds, [ras.min(axis=0), ras.max(axis=0)], atol=1e-2)


def test_colours_of_materials_and_vertices(tmp_path: Path) -> None:
    document, binary = glb_parts()
    linear = [0.5776, 0.1274, 0.0319, 0.5]  # sRGB 200, 100, 50
    document["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": linear}}, {}]
    (primitive,) = document["meshes"][0]["primitives"]
    assert read(tmp_path, document, binary)[0].colour == (1, 2, 3)
    assert read(
        tmp_path, copy.deepcopy(document) | {"meshes": [{"primitives": [primitive | {"material": 0}]}]}, binary
    )[0].colour == (200, 100, 50)
    bytes_ = np.tile(np.round(np.array(linear) * 65535).astype("<u2"), (8, 1))
    number, binary = append(document, binary, bytes_, 5123, "VEC4", normalized=True)
    primitive["attributes"]["COLOR_0"] = number
    primitive["material"] = 1
    assert read(tmp_path, document, binary)[0].colour == (200, 100, 50)


def change(path: str, value: Any) -> Callable[[Document], None]:
    def apply(document: Document) -> None:
        *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place: Any = document
        for key in keys:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("accessors.0.count", 9, "do not fit"),
        ("accessors.0.count", 10**12, "do not fit"),
        ("accessors.0.count", -1, "."),
        ("accessors.0.byteOffset", -12, "do not fit"),
        ("accessors.0.byteOffset", 12, "do not fit"),
        ("accessors.0.bufferView", None, "no data"),
        ("accessors.0.type", "MAT4", "MAT4"),
        ("accessors.0.componentType", 5130, "5130"),
        ("accessors.1.count", 35, "corners"),
        ("bufferViews.0.byteOffset", 10**12, "."),
        ("bufferViews.0.byteStride", 4, "do not fit"),
        ("bufferViews.0.byteStride", -12, "do not fit"),
        ("bufferViews.0.buffer", 1, "."),
        ("buffers.0.uri", "/dev/zero", "in another file, '/dev/zero'"),
        ("buffers.0.uri", "../../secret", "in another file"),
        ("buffers.0.uri", "data:;base64,!", "."),
        ("nodes.0.children", [0], "node 0 is a child of two nodes, or of itself"),
        ("nodes.0.mesh", 1, "."),
        ("nodes.0.mesh", {}, "."),
        ("nodes.0.scale", [0, "x", 1], "."),
        ("nodes.0.matrix", [1] * 15, "."),
        ("nodes.0.translation", [1e300, 0, 0], r"a vertex at 1e\+303 mm"),
        ("nodes.0.translation", [float("nan"), 0, 0], "a vertex at nan mm"),
        ("scenes.0.nodes", [[]], "."),
        ("scene", 3, "."),
        ("meshes.0.primitives.0.attributes", {}, "without 'POSITION'"),
        ("meshes", None, "without 'meshes'"),
    ],
)
def test_documents_that_lie_are_refused(tmp_path: Path, path: str, value: Any, message: str) -> None:
    document, binary = glb_parts()
    change(path, value)(document)
    with pytest.raises(InputError, match=rf"a\.glb: is damaged, cut short or not GLB \(.*{message}"):
        read(tmp_path, document, binary)


def test_compressed_geometry_is_named(tmp_path: Path) -> None:
    document, binary = glb_parts()
    document["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    del document["accessors"][0]["bufferView"]
    with pytest.raises(InputError, match=r"\(KHR_draco_mesh_compression\); export it without compression"):
        read(tmp_path, document, binary)


def test_repeated_meshes_are_bounded(tmp_path: Path) -> None:
    document, _ = glb_parts()
    document["accessors"] = [{"bufferView": 0, "componentType": 5126, "count": 60_000, "type": "VEC3"}]
    document["bufferViews"] = [{"buffer": 0, "byteLength": 720_000}]
    document["meshes"][0]["primitives"] = [{"attributes": {"POSITION": 0}}]
    document["nodes"] = [{"mesh": 0}] * 1000
    document["scenes"][0]["nodes"] = list(range(1000))
    with pytest.raises(InputError, match="over 100 times as much"):
        read(tmp_path, document, bytes(720_000))
    document["accessors"][0]["count"] = 3
    document["nodes"] = [{"mesh": 0}] * 5000
    document["scenes"][0]["nodes"] = list(range(5000))
    with pytest.raises(InputError, match="holds 5000 surfaces; expected at most 4096"):
        read(tmp_path, document, bytes(720_000))


def test_files_cut_anywhere_and_others_are_refused(tmp_path: Path) -> None:
    whole = glb_bytes(*glb_parts())
    path = tmp_path / "a.glb"
    for data in (*(whole[:end] for end in range(len(whole))), b"glTF" + bytes(100), glb_bytes({})[:20] + b"[" * 10**6):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.glb: is damaged, cut short or not GLB"):
            read_meshes(path)
    document, binary = glb_parts()
    document["scenes"][0]["nodes"] = []
    with pytest.raises(InputError, match=r"a\.glb: holds no triangles"):
        read(tmp_path, document, binary)
