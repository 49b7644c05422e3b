"""3MF packages of other programs: units, transforms, components, parts of the package, colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from mesh_files import BOUNDS, BOUNDS_FROM_LPS, CORNERS, TRIANGLES, VOLUME, box_3mf, model_3mf, package_3mf

from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.io.mesh.reading import read_meshes

BOX = box_3mf(attributes='name="box"')


def read(tmp_path: Path, model: str | bytes, **package: object) -> list[Mesh]:
    path = tmp_path / "a.3mf"
    path.write_bytes(package_3mf(model, **package))
    return read_meshes(path, colour=(1, 2, 3))


def assert_box(mesh: Mesh) -> None:
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(VOLUME)
    np.testing.assert_allclose(mesh.bounds, BOUNDS_FROM_LPS, atol=1e-6)


def components(*parts: str) -> str:
    return f'<object id="2"><components>{"".join(parts)}</components></object>'


@pytest.mark.parametrize(
    ("unit", "mm"),
    [
        ("", 1),
        ("micron", 0.001),
        ("millimeter", 1),
        ("centimeter", 10),
        ("inch", 25.4),
        ("foot", 304.8),
        ("meter", 1000),
    ],
)
def test_units(tmp_path: Path, unit: str, mm: float) -> None:
    (mesh,) = read(tmp_path, model_3mf(box_3mf(corners=CORNERS / mm), unit=unit))
    assert_box(mesh)
    assert (mesh.name, mesh.colour) == ("a", (1, 2, 3))


def test_an_unknown_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without 'parsec'"):
        read(tmp_path, model_3mf(BOX, unit="parsec"))


def test_a_tag_in_the_metadata_says_the_space(tmp_path: Path) -> None:
    before = '<metadata name="Title">SPACE</metadata><metadata name="Description">a box, SPACE=RAS</metadata>'
    np.testing.assert_array_equal(read(tmp_path, model_3mf(BOX, before=before))[0].bounds, BOUNDS)


def test_what_is_built_is_read_in_its_place(tmp_path: Path) -> None:
    unused = box_3mf(corners=CORNERS + 999).replace('id="1"', 'id="7"')
    moved = box_3mf(corners=CORNERS - [5, 6, 7], attributes='name="box"')
    items = '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 5 6 7"/><item objectid="1"/>'
    first, second = read(tmp_path, model_3mf(unused + moved, items))
    assert_box(first)
    assert (first.name, second.name) == ("box", "box")


def test_transforms_of_components_come_before_those_of_items(tmp_path: Path) -> None:
    """Rows are multiplied: (x, y, z, 1) by the component's matrix, then by the item's."""
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    local = box_3mf(corners=(CORNERS - [5, 6, 7]) @ quarter.T)
    part = components('<component objectid="1" transform="0 -1 0 1 0 0 0 0 1 0 0 0"/>')
    (mesh,) = read(tmp_path, model_3mf(local + part, '<item objectid="2" transform="1 0 0 0 1 0 0 0 1 5 6 7"/>'))
    assert_box(mesh)


def test_mirrored_objects_stay_outside_out(tmp_path: Path) -> None:
    local = box_3mf(corners=CORNERS * [-1, 1, 1], faces=[face[::-1] for face in TRIANGLES])
    assert_box(read(tmp_path, model_3mf(local, '<item objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"/>'))[0])


@pytest.mark.parametrize("matrix", [np.eye(4), trimesh.transformations.rotation_matrix(1, [1, 2, 3], [40, 50, 60])])
def test_trimesh_agrees(tmp_path: Path, matrix: np.ndarray) -> None:
    scene = trimesh.Scene()
    box = trimesh.Trimesh(CORNERS, TRIANGLES, process=False)
    scene.add_geometry(box, node_name="a", transform=matrix)
    scene.add_geometry(box, node_name="b", parent_node_name="a", transform=matrix)
    scene.export(tmp_path / "a.3mf")
    other = trimesh.load_scene(tmp_path / "a.3mf").to_mesh()
    found = Mesh.joined(read_meshes(tmp_path / "a.3mf"))
    assert found.volume_mm3 == pytest.approx(other.volume)
    lps = np.asarray(other.vertices) * [-1, -1, 1]
    np.testing.assert_allclose(found.bounds, [lps.min(axis=0), lps.max(axis=0)], atol=1e-6)


def test_models_in_other_parts_of_the_package(tmp_path: Path) -> None:
    """As the production extension has them; the unit is that of the first."""
    part = components('<component objectid="1" p:path="/3D/Objects/box.model"/>')
    others = {
        "3D/objects/Box.model": model_3mf(box_3mf(corners=CORNERS / 10, attributes='name="inner"'), "", unit="inch")
    }
    (mesh,) = read(
        tmp_path, model_3mf(part, '<item objectid="2"/>', unit="centimeter"), others=others, part="m/x.model"
    )
    assert_box(mesh)
    assert mesh.name == "inner"


@pytest.mark.parametrize("change", [lambda text: text.encode("utf-16"), lambda text: text])
def test_other_prefixes_and_encodings(tmp_path: Path, change: object) -> None:
    text = model_3mf(BOX).replace("xmlns=", "xmlns:c=")
    for name in (
        "model",
        "resources",
        "build",
        "object",
        "mesh",
        "vertices",
        "vertex",
        "triangles",
        "triangle",
        "item",
    ):
        text = text.replace(f"<{name} ", f"<c:{name} ").replace(f"<{name}>", f"<c:{name}>")
        text = text.replace(f"</{name}>", f"</c:{name}>")
    slices = '<s:vertex xmlns:s="urn:slices" x="1" y="2"/>'
    assert_box(read(tmp_path, change(text.replace("</c:vertices>", f"{slices}</c:vertices>")))[0])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("materials", "expected"),
    [
        ('<basematerials id="5"><base displaycolor="#000000"/><base displaycolor="#C8641E"/></basematerials>', True),
        ('<m:colorgroup id="5"><m:color color="#000000FF"/><m:color color="#c8641e80"/></m:colorgroup>', True),
        ('<basematerials id="6"><base displaycolor="#000000"/><base displaycolor="#C8641E"/></basematerials>', False),
        ('<basematerials id="5"><base displaycolor="#000000"/></basematerials>', False),
        ('<basematerials id="5"><base/><base displaycolor="red"/></basematerials>', False),
    ],
)
def test_colours_of_objects(tmp_path: Path, materials: str, expected: bool) -> None:
    (mesh,) = read(tmp_path, model_3mf(materials + box_3mf(attributes='pid="5" pindex="1"')))
    assert mesh.colour == ((200, 100, 30) if expected else (1, 2, 3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (model_3mf(BOX, '<item objectid="3"/>'), "without '3'"),
        (model_3mf(BOX.replace('v3="7"', 'v3="8"')), r"outside 0\.\.7"),
        (model_3mf(BOX.replace('v3="7"', 'v3="-1"')), r"outside 0\.\.7"),
        (model_3mf(BOX.replace('v3="7"', 'v3="1e1"')), "invalid literal"),
        (model_3mf(BOX.replace('v3="7"', 'v3="99999999999999999999"')), "too large|too big"),
        (model_3mf(BOX.replace(' x="10"', "")), "without 'x'"),
        (model_3mf(BOX.replace('x="10"', 'x="nan"')), "a vertex at nan"),
        (model_3mf(BOX, '<item objectid="1" transform="1 0 0"/>'), "reshape"),
        (model_3mf(components('<component objectid="2"/>'), '<item objectid="2"/>'), "or one is within itself"),
        (model_3mf(BOX + components(*['<component objectid="1"/>'] * 5000), ""), "more than 4096 objects"),
        (model_3mf(BOX, '<item objectid="1"/>' * 5000), "more than 4096 objects"),
        (model_3mf(BOX, '<item objectid="1" p:path="/other.model"/>'), r"without 'other\.model'"),
        ("<!DOCTYPE x>" + model_3mf(BOX).partition("?>")[2], "document type"),
        (model_3mf(BOX)[:500], "no element found|unclosed"),
        (model_3mf(BOX, '<item objectid="1"/>' + " " * (1 << 29)), "would become 0.5 GiB, over 100 times as much"),
    ],
)
def test_models_that_lie_are_refused(tmp_path: Path, model: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.3mf: is damaged, cut short or not 3MF \(.*({message})"):
        read(tmp_path, model)


def test_copies_of_copies_are_bounded(tmp_path: Path) -> None:
    levels = [BOX]
    for n in range(2, 14):
        inner = f'<component objectid="{n - 1}"/>' * 10
        levels.append(f'<object id="{n}"><components>{inner}</components></object>')
    with pytest.raises(InputError, match="more than 4096 objects are placed"):
        read(tmp_path, model_3mf("".join(levels), '<item objectid="13"/>'))


def test_packages_cut_anywhere_and_others_are_refused(tmp_path: Path) -> None:
    whole = package_3mf(model_3mf(BOX))
    path = tmp_path / "a.3mf"
    for data in (*(whole[:end] for end in range(0, len(whole), 7)), b"PK\3\4" + bytes(100), b"<model/>"):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.3mf: is damaged, cut short or not 3MF"):
            read_meshes(path)
    with pytest.raises(InputError, match=r"a\.3mf: holds no triangles"):
        read(tmp_path, model_3mf(BOX, ""))
