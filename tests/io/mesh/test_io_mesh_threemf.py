"""3MF packages, read by trimesh and, as XML, against the core specification."""

from __future__ import annotations

import logging
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh

from volseg.core.mesh import Mesh
from volseg.errors import InputError, OutputError
from volseg.io.mesh.writing import write_mesh, write_meshes

CORE = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
BALL = trimesh.creation.icosphere(subdivisions=1, radius=10)
NAMES = ["left kidney", "Leber <&\"'> größe", "脾臓", "Left Kidney"]


def ball(name: str, colour: tuple[int, int, int] = (200, 100, 50), *, x: float = 50) -> Mesh:
    """A ball at (x, -20, 30) mm, RAS+."""
    return Mesh(np.asarray(BALL.vertices) + np.array([x, -20, 30]), np.asarray(BALL.faces), name, colour)


def model_of(path: Path) -> ElementTree.Element:
    with zipfile.ZipFile(path) as package:
        assert package.testzip() is None
        return ElementTree.fromstring(package.read("3D/3dmodel.model"))


@pytest.mark.parametrize(("space", "signs"), [("lps", (-1, -1, 1)), ("ras", (1, 1, 1))])
def test_trimesh_reads_names_place_and_winding(tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
    meshes = [ball(name, x=40.0 * n) for n, name in enumerate(NAMES)]
    scene = trimesh.load_scene(write_mesh(meshes, tmp_path / "all.3mf", space=space))
    assert scene.units == "millimeter"
    assert list(scene.geometry) == NAMES
    assert len(scene.graph.nodes_geometry) == len(NAMES)
    for mesh, found in zip(meshes, scene.geometry.values(), strict=True):
        np.testing.assert_allclose(found.bounds, np.sort(mesh.bounds * signs, axis=0), rtol=1e-6)
        assert found.is_watertight
        assert found.volume == pytest.approx(BALL.volume, rel=1e-6)
    bounds = np.stack([meshes[0].bounds[0], meshes[-1].bounds[1]])
    np.testing.assert_allclose(scene.bounds, np.sort(bounds * signs, axis=0), rtol=1e-6)


def test_package_is_as_the_specification_says(tmp_path: Path) -> None:
    path = write_mesh([ball("a", (255, 0, 7)), ball("a", (1, 2, 3))], tmp_path / "all.3mf", space="ras")
    with zipfile.ZipFile(path) as package:
        assert package.namelist() == ["[Content_Types].xml", "_rels/.rels", "3D/3dmodel.model"]
        assert {entry.compress_type for entry in package.infolist()} == {zipfile.ZIP_DEFLATED}
        types = {
            part.get("Extension"): part.get("ContentType")
            for part in ElementTree.fromstring(package.read("[Content_Types].xml"))
        }
        (relation,) = ElementTree.fromstring(package.read("_rels/.rels"))
        text = package.read("3D/3dmodel.model").decode("utf-8")
    assert types["model"] == "application/vnd.ms-package.3dmanufacturing-3dmodel+xml"
    assert types["rels"] == "application/vnd.openxmlformats-package.relationships+xml"
    assert relation.get("Target") == "/3D/3dmodel.model"
    assert relation.get("Type") == "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
    model = ElementTree.fromstring(text)
    assert (model.tag, model.get("unit")) == (f"{CORE}model", "millimeter")
    assert [child.tag for child in model] == [f"{CORE}{tag}" for tag in (*["metadata"] * 3, "resources", "build")]
    assert {entry.get("name"): entry.text for entry in model.iter(f"{CORE}metadata")}["volseg:SPACE"] == "RAS"
    assert " xmlns:volseg=" in text  # the prefix of a name in metadata must be declared
    materials, first, second = model.find(f"{CORE}resources") or ()
    assert [base.get("displaycolor") for base in materials] == ["#FF0007", "#010203"]
    for n, item in enumerate((first, second)):
        assert (item.get("name"), item.get("type"), item.get("pid"), item.get("pindex")) == (
            "a",
            "model",
            materials.get("id"),
            str(n),
        )
    ids = [item.get("id") for item in (materials, first, second)]
    assert len(set(ids)) == 3
    assert [item.get("objectid") for item in model.iter(f"{CORE}item")] == ids[1:]
    assert len(list(first.iter(f"{CORE}vertex"))) == len(BALL.vertices)
    assert len(list(first.iter(f"{CORE}triangle"))) == len(BALL.faces)


def test_same_meshes_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_mesh(ball("a"), tmp_path / f"{name}.3mf").read_bytes() for name in "ab")
    assert first == second


def test_a_hundred_labels(tmp_path: Path) -> None:
    meshes = [ball(f"label {n}", (n, 0, 0), x=n) for n in range(100)]
    model = model_of(write_mesh(meshes, tmp_path / "all.3mf"))
    assert [item.get("name") for item in model.iter(f"{CORE}object")] == [mesh.name for mesh in meshes]
    assert len(list(model.iter(f"{CORE}item"))) == 100


def test_one_file_a_label(tmp_path: Path) -> None:
    paths = write_meshes([ball("a"), ball("A")], tmp_path, formats=("3mf",))
    assert [path.name for path in paths] == ["a.3mf", "A_2.3mf"]
    assert [list(trimesh.load_scene(path).geometry) for path in paths] == [["a"], ["A"]]


@pytest.mark.parametrize("what", ["hole", "two solids on an edge", "turned face"])
def test_surfaces_that_printers_may_refuse_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    bad = {
        "hole": faces[1:],
        "two solids on an edge": np.concatenate([faces, np.array([0, 4, 5, 3])[faces]]),
        "turned face": np.concatenate([faces[:3], faces[3:, ::-1]]),
    }[what]
    with caplog.at_level(logging.WARNING):
        write_mesh([ball("good"), Mesh(vertices, bad, "bad one")], tmp_path / "a.3mf")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["mesh 'bad one'"]


def test_overwriting_failure_and_emptiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mesh(ball("old"), tmp_path / "a.3mf")
    write_mesh(ball("new"), path)
    content = path.read_bytes()
    with pytest.raises(InputError, match="a mesh has no faces"):
        write_mesh([ball("a"), Mesh(np.zeros((0, 3)), np.zeros((0, 3)))], path)

    def fail(*_: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("volseg.io.mesh.threemf.text_rows", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_mesh(ball("newer"), path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="cannot be written"):
        write_mesh(ball("a"), path / "a.3mf")


@pytest.mark.skipif(sys.version_info < (3, 11, 4), reason="older Pythons note no version in front of an entry")
def test_zip64_only_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old readers know no ZIP64, which shows in the version that an entry needs (4.5)."""
    small = write_mesh(ball("a"), tmp_path / "small.3mf")
    monkeypatch.setattr("volseg.io.mesh.threemf._MOST_PLAIN_ROWS", 10)
    large = write_mesh(ball("a"), tmp_path / "large.3mf")
    for path, version in ((small, 20), (large, 45)):
        with zipfile.ZipFile(path) as package:
            start = package.getinfo("3D/3dmodel.model").header_offset
        assert path.read_bytes()[start + 4] == version
        assert list(trimesh.load_scene(path).geometry) == ["a"]
