from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from volseg.errors import InputError
from volseg.geometry import Grid
from volseg.io.mesh_reading import read_meshes
from volseg.io.meshes import write_mesh
from volseg.mesh import Mesh
from volseg.phantoms.shapes import sphere_labelmap
from volseg.surface import extract_surfaces

CENTRE = (-5.0, -20.0, 30.0)
FILES = [("a.stl", True), ("a.stl", False), ("a.ply", True), ("a.ply", False), ("a.vtp", True), ("A.STL", True)]


def save(path: Path, *, binary: bool = True, tag: str | None = None) -> Path:
    # The other sign of x and y: the file speaks LPS.
    sphere = pv.Sphere(radius=10, center=(5, 20, 30))
    if tag and path.suffix == ".vtp":
        sphere.field_data["SPACE"] = [tag]
    plain = path.with_suffix(path.suffix.lower())
    sphere.save(plain, binary=binary)
    plain.rename(path)
    if tag and path.suffix == ".stl":
        data = path.read_bytes()
        path.write_bytes(f"volseg SPACE={tag}".encode().ljust(80) + data[80:])
    if tag and path.suffix == ".ply":
        path.write_bytes(path.read_bytes().replace(b"comment ", f"comment SPACE={tag}\ncomment ".encode(), 1))
    return path


@pytest.mark.parametrize(("name", "binary"), FILES)
def test_meshes_without_a_tag_are_lps(name: str, binary: bool, tmp_path: Path) -> None:
    (mesh,) = read_meshes(save(tmp_path / name, binary=binary), colour=(1, 2, 3))
    assert np.allclose(mesh.bounds.mean(axis=0), CENTRE, atol=0.1)
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(4 / 3 * np.pi * 1000, rel=0.02)
    assert (mesh.name, mesh.colour) == (name[:1], (1, 2, 3))


@pytest.mark.parametrize("name", ["a.stl", "a.ply", "a.vtp"])
@pytest.mark.parametrize(("tag", "sign"), [("LPS", 1), ("RAS", -1)])
def test_tag_in_the_file_says_the_space(name: str, tag: str, sign: int, tmp_path: Path) -> None:
    (mesh,) = read_meshes(save(tmp_path / name, tag=tag))
    assert np.allclose(mesh.bounds.mean(axis=0), np.array(CENTRE) * (sign, sign, 1), atol=0.1)
    assert mesh.volume_mm3 > 0


@pytest.mark.parametrize(("name", "binary"), FILES)
def test_files_cut_short_are_refused(
    name: str, binary: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / name, binary=binary)
    data = path.read_bytes()
    for length in (0, 60, len(data) // 2):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"no triangles|no PLY file"):
            read_meshes(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("space", ["lps", "ras"])
@pytest.mark.parametrize("suffix", ["stl", "ply", "vtp"])
def test_what_volseg_writes_comes_back(suffix: str, space: str, tmp_path: Path) -> None:
    grid = Grid.from_spacing((20, 20, 20), origin=(30, 40, 50))
    (ball,) = extract_surfaces(sphere_labelmap(grid, radius_mm=6, name="ball"))
    other = Mesh(ball.vertices + 40, ball.faces, "other", (10, 200, 30))
    meshes = read_meshes(write_mesh([ball, other], tmp_path / f"all.{suffix}", space=space), colour=(1, 2, 3))
    assert sum(mesh.volume_mm3 for mesh in meshes) == pytest.approx(2 * ball.volume_mm3, rel=1e-4)
    if suffix == "stl":
        assert [(mesh.name, mesh.colour) for mesh in meshes] == [("all", (1, 2, 3))]
        return
    (found,) = (mesh for mesh in meshes if mesh.colour == other.colour)
    assert np.allclose(found.bounds, other.bounds, atol=1e-4)
    assert np.isclose(found.volume_mm3, other.volume_mm3, rtol=1e-4)
    assert {mesh.colour for mesh in meshes} == {ball.colour, other.colour}
    assert {mesh.name for mesh in meshes} == ({"ball", "other"} if suffix == "vtp" else {"all"})


def test_colour_gradients_stay_one_mesh(tmp_path: Path) -> None:
    sphere = pv.Sphere(theta_resolution=40, phi_resolution=40)
    sphere["RGB"] = np.random.default_rng(0).integers(0, 255, (sphere.n_points, 3), dtype=np.uint8)
    sphere.save(tmp_path / "a.ply", texture="RGB")
    (mesh,) = read_meshes(tmp_path / "a.ply", colour=(1, 2, 3))
    assert mesh.colour == (1, 2, 3)


def test_polygons_in_ply_are_refused(tmp_path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    body = "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"
    path = tmp_path / "a.ply"
    path.write_text(header + body, encoding="ascii")
    with pytest.raises(InputError, match="more than three corners"):
        read_meshes(path)


@pytest.mark.parametrize("colour", ["", " 9 9 9"], ids=["plain", "coloured"])
@pytest.mark.parametrize("corner", [3, -1])
def test_corners_that_are_no_vertices_are_refused(colour: str, corner: int, tmp_path: Path) -> None:
    names = ["float x", "float y", "float z", *(["uchar red", "uchar green", "uchar blue"] if colour else [])]
    properties = "".join(f"property {name}\n" for name in names)
    header = f"ply\nformat ascii 1.0\nelement vertex 3\n{properties}element face 1\n"
    rows = "".join(f"{point}{colour}\n" for point in ("0 0 0", "1 0 0", "1 1 0"))
    path = tmp_path / "a.ply"
    path.write_text(f"{header}property list uchar int vertex_indices\nend_header\n{rows}3 0 1 {corner}\n")
    with pytest.raises(InputError, match=r"a\.ply: is damaged \(.*faces name vertices outside 0\.\.2"):
        read_meshes(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.stl: cannot be read .* check the path"):
        read_meshes(tmp_path / "a.stl")
    with pytest.raises(InputError, match=r"expected \.stl, \.ply, \.vtp, \.obj, \.vtm"):
        read_meshes(tmp_path / "a.3mf")
