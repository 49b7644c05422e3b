from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
import typer
from typer.testing import CliRunner, Result

from volseg.cli.mesh_command import mesh
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, GeometryError, InputError, PartialError, UsageError, VolsegError
from volseg.io import read, read_labels, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.mesh.formats import MESH_FORMATS
from volseg.io.mesh.reading import read_meshes

GRID = Grid.from_spacing((10, 10, 8), (1, 1, 2), (50, -60, 70))
LABELS = (Label(1, "liver", (200, 0, 0)), Label(2, "left kidney", (0, 200, 0)), Label(3, "spleen", (0, 0, 200)))


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[1:4, 1:8, 1:7] = 1
    array[6:8, 2:5, 2:6] = 2
    return write(LabelMap(array, GRID, LABELS), tmp_path / "case" / "labels.nii.gz")[0]


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    array = np.full(GRID.shape, -1000, dtype=np.int16)
    array[3:7, 3:7, 2:6] = 1000
    return write(Volume(array, GRID), tmp_path / "scan.nii.gz")[0]


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(mesh)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read_stl(path: Path) -> Mesh:
    surface = pv.read(path)
    signs = [-1, -1, 1] if b"SPACE=LPS" in path.read_bytes()[:80] else [1, 1, 1]
    return Mesh(np.asarray(surface.points, dtype=float) * signs, surface.regular_faces)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_refused(result: Result, kind: type[VolsegError], part: str) -> None:
    assert type(result.exception) is kind
    assert part in str(result.exception)


def test_one_file_a_label_and_a_list_of_them(labels_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(labels_file, "-o", out, "--format", "stl,glb")
    assert result.exit_code == 0, result.output
    assert files(out) == ["left_kidney.glb", "left_kidney.stl", "liver.glb", "liver.stl"]
    names = ["liver.stl", "liver.glb", "left_kidney.stl", "left_kidney.glb"]
    assert result.output.splitlines()[-4:] == [f"wrote {out / name}" for name in names]
    liver = read_stl(out / "liver.stl")
    # Slices are thick: the rounded ends of a box may reach a third of a slice beyond it.
    np.testing.assert_allclose(liver.bounds, [[50.5, -59.5, 71], [53.5, -52.5, 83]], atol=0.67)
    assert liver.volume_mm3 == pytest.approx(3 * 7 * 6 * 2, rel=0.01)


@pytest.mark.parametrize("name", ["all.glb", "all.STL", "all.ply", "all.vtp", "all.3mf"])
def test_output_with_a_mesh_suffix_is_one_file(labels_file: Path, tmp_path: Path, name: str) -> None:
    assert run(labels_file, "-o", tmp_path / "out" / name).exit_code == 0
    assert files(tmp_path / "out") == [name]


def test_one_file_with_others_beside_it(labels_file: Path, tmp_path: Path) -> None:
    result = run(labels_file, "-o", tmp_path / "my.obj", "--space", "ras")
    assert result.output.splitlines()[-2:] == [f"wrote {tmp_path / 'my.mtl'}", f"wrote {tmp_path / 'my.obj'}"]
    assert (tmp_path / "my.obj").read_text(encoding="utf-8").startswith("# SPACE=RAS\n")
    result = run(labels_file, "-o", tmp_path / "my.vtm")
    assert result.output.splitlines()[-1] == f"wrote {tmp_path / 'my.vtm'}"
    meshes = read_meshes(tmp_path / "my.vtm")
    assert [(mesh.name, mesh.colour) for mesh in meshes] == [(label.name, label.colour) for label in LABELS[:2]]
    assert run(labels_file, "-o", tmp_path / "my.3mf").exit_code == 0
    assert (tmp_path / "my.3mf").is_file()


def test_all_labels_of_a_case_are_in_one_vtm(labels_file: Path, tmp_path: Path) -> None:
    assert run(labels_file, "-o", tmp_path / "out", "--format", "vtm,3mf,obj").exit_code == 0
    names = [path.name for path in (tmp_path / "out").iterdir() if path.is_file()]
    each = [f"{label}.{suffix}" for label in ("left_kidney", "liver") for suffix in ("3mf", "mtl", "obj")]
    assert sorted(names) == sorted(["surfaces.vtm", *each])


def test_single_file_in_a_folder(labels_file: Path, tmp_path: Path) -> None:
    assert run(labels_file, "-o", tmp_path / "out", "--single-file", "--format", "ply,vtp").exit_code == 0
    assert files(tmp_path / "out") == ["surfaces.ply", "surfaces.vtp"]


def test_space_is_written_and_smoothing_and_simplification_are_heard(labels_file: Path, tmp_path: Path) -> None:
    assert run(labels_file, "-o", tmp_path / "fine.stl", "--space", "RAS", "--no-smooth").exit_code == 0
    assert run(labels_file, "-o", tmp_path / "all.stl").exit_code == 0
    assert run(labels_file, "-o", tmp_path / "few.stl", "--simplify", "0.3").exit_code == 0
    assert b"SPACE=RAS" in (tmp_path / "fine.stl").read_bytes()
    fine, whole, few = (read_stl(tmp_path / f"{name}.stl") for name in ("fine", "all", "few"))
    np.testing.assert_allclose(fine.bounds, [[50.5, -59.5, 71], [57.5, -52.5, 83]], atol=1e-4)
    assert len(few.faces) < 0.5 * len(whole.faces)
    assert np.abs(whole.bounds - fine.bounds).max() > 0.1


def test_folder_of_a_case_and_folder_of_cases(labels_file: Path, tmp_path: Path) -> None:
    case = labels_file.parent
    cases = tmp_path / "cases"
    for name in ("a", "b"):
        shutil.copytree(case, cases / name)
    assert run(case, "-o", tmp_path / "one").exit_code == 0
    assert files(tmp_path / "one") == ["left_kidney.stl", "liver.stl"]
    assert run(cases, "-o", tmp_path / "all").exit_code == 0
    assert files(tmp_path / "all") == ["a/left_kidney.stl", "a/liver.stl", "b/left_kidney.stl", "b/liver.stl"]
    assert_refused(run(cases, "-o", tmp_path / "all.stl"), UsageError, "2 cases")


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
def test_flat_folder_of_label_maps(tmp_path: Path, suffix: str) -> None:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[1:4, 1:8, 1:7] = 1
    for name in ("a", "b"):
        write(LabelMap(array, GRID, LABELS[:1]), tmp_path / "flat" / f"{name}{suffix}")
    assert run(tmp_path / "flat", "-o", tmp_path / "out").exit_code == 0
    assert files(tmp_path / "out") == ["a/liver.stl", "b/liver.stl"]


def test_one_file_of_a_folder_with_one_case(labels_file: Path, tmp_path: Path) -> None:
    shutil.copytree(labels_file.parent, tmp_path / "cases" / "a")
    assert run(tmp_path / "cases", "-o", tmp_path / "out" / "all.stl", "--report").exit_code == 0
    assert files(tmp_path / "out") == ["all.stl", "all_quality.tsv"]


def test_output_folder_may_hold_slicers_label_map(tmp_path: Path) -> None:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[1:4, 1:8, 1:7] = 1
    write(LabelMap(array, GRID, LABELS[:1]), tmp_path / "case" / "labels.seg.nrrd")
    assert run(tmp_path / "case", "-o", tmp_path / "out").exit_code == 0
    assert files(tmp_path / "out") == ["liver.stl"]


def test_scans_point_to_the_threshold(scan_file: Path, tmp_path: Path) -> None:
    assert_refused(run(scan_file, "-o", tmp_path / "out"), InputError, "surface of a scan needs --threshold VALUE")
    dicom = write_dicom_series(Volume(np.ones(GRID.shape, np.int16), GRID), tmp_path / "dicom")
    for path in (tmp_path / "dicom", dicom[0]):
        assert_refused(run(path, "-o", tmp_path / "out"), InputError, "surface of a scan needs --threshold VALUE")
    table = run(scan_file.with_name("none.nii.gz"), "-o", tmp_path / "out")
    assert "--threshold" not in str(table.exception)


def test_case_that_fails_does_not_stop_the_others(labels_file: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    for name in ("a", "b"):
        shutil.copytree(labels_file.parent, cases / name)
    (cases / "a" / "labels.nii.gz").write_bytes(b"")
    assert_refused(run(cases, "-o", tmp_path / "out"), PartialError, "1 of 2 cases failed")
    assert files(tmp_path / "out") == ["b/left_kidney.stl", "b/liver.stl"]


def test_labels_table_wins(labels_file: Path, tmp_path: Path) -> None:
    table = tmp_path / "names.tsv"
    table.write_text("index\tname\n1\tLeber\n2\tNiere\n", encoding="utf-8")
    assert run(labels_file, "-o", tmp_path / "out", "--labels", table).exit_code == 0
    assert files(tmp_path / "out") == ["Leber.stl", "Niere.stl"]


def test_scan_by_threshold(scan_file: Path, tmp_path: Path) -> None:
    assert run(scan_file, "-o", tmp_path / "out", "--threshold", "0", "--no-smooth").exit_code == 0
    assert files(tmp_path / "out") == ["scan.stl"]
    found = read_stl(tmp_path / "out" / "scan.stl")
    np.testing.assert_allclose(found.bounds, [[52.5, -57.5, 73], [56.5, -53.5, 81]], atol=1e-4)


def test_threshold_outside_the_values_names_file_and_range(scan_file: Path, tmp_path: Path) -> None:
    result = run(scan_file, "-o", tmp_path / "out", "--threshold", "5000")
    assert_refused(result, InputError, f"{scan_file}: threshold 5000 gives no surface; the values are -1000 to 1000")
    assert not (tmp_path / "out").exists()


def test_empty_label_map_names_its_labels(tmp_path: Path) -> None:
    path = write(LabelMap(np.zeros(GRID.shape, np.uint8), GRID, LABELS), tmp_path / "empty.nii.gz")[0]
    assert_refused(run(path, "-o", tmp_path / "out"), InputError, "labels by name: liver, left kidney, spleen")
    assert not (tmp_path / "out").exists()


def test_one_slice_is_refused(tmp_path: Path) -> None:
    grid = Grid.from_spacing((5, 5, 1))
    path = write(LabelMap.from_array(np.ones(grid.shape, np.uint8), grid), tmp_path / "slice.nii.gz")[0]
    assert_refused(run(path, "-o", tmp_path / "out"), GeometryError, "at least 2 slices")


def test_scan_without_threshold_is_not_a_thousand_labels(tmp_path: Path) -> None:
    array = np.arange(np.prod(GRID.shape) * 2, dtype=np.int16).reshape(20, 10, 8)
    path = write(Volume(array, Grid.from_spacing(array.shape)), tmp_path / "mr.nii.gz")[0]
    assert_refused(run(path, "-o", tmp_path / "out"), InputError, "--threshold VALUE")


def test_folder_without_label_maps_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    assert_refused(run(tmp_path / "dicom", "-o", tmp_path / "out"), InputError, "--threshold VALUE")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["-o", "x.glb", "--space", "ras"], "--space has no meaning for GLB"),
        (["-o", "x", "--format", "glb", "--space", "lps"], "--space has no meaning for GLB"),
        (["-o", "x", "--space", "rsa"], "choose lps or ras"),
        (["-o", "x", "--format", "step"], f"choose from {', '.join(MESH_FORMATS)}"),
        (["-o", "x.stl", "--format", "ply"], "leave one out"),
        (["-o", "x.gltf"], "volseg writes stl, ply, glb, vtp, obj, vtm, 3mf"),
        (["-o", "x.STEP"], "volseg writes stl, ply, glb, vtp"),
        (["-o", "x", "--simplify", "0"], "over 0 up to 1"),
        (["-o", "x", "--only", " , "], "--only ' , ' names no label"),
        (["-o", "x", "--threshold", "1", "--only", "y"], "--only"),
        (["-o", "x", "--threshold", "1", "--labels", "y"], "--labels"),
    ],
)
def test_wrong_flags_are_usage_errors(
    labels_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(labels_file, *options)
    assert_refused(result, UsageError, part)
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert not any(tmp_path.glob("x*"))


def test_missing_input(tmp_path: Path) -> None:
    assert_refused(run(tmp_path / "none.nii.gz", "-o", tmp_path / "out"), InputError, "no such file")


def test_several_series_are_listed(shared_data: Path, tmp_path: Path) -> None:
    result = run(shared_data / "dicom", "-o", tmp_path / "out", "--threshold", "100")
    assert_refused(result, AmbiguousError, "series")


def test_contours_find_their_scan_elsewhere(labels_file: Path, tmp_path: Path) -> None:
    scan = Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT")
    write_dicom_series(scan, tmp_path / "scans" / "a", description="first")
    write_dicom_series(scan, tmp_path / "scans" / "b", description="second")
    image = read(tmp_path / "scans", series="second")
    contours = write(read_labels(labels_file), tmp_path / "rs" / "rs.dcm", image=image, form="rtstruct")[0]
    assert_refused(run(contours, "-o", tmp_path / "out"), InputError, "give its scan as image (--image)")
    result = run(contours, "-o", tmp_path / "out", "--image", tmp_path / "scans")  # its reference chooses the series
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == ["left_kidney.stl", "liver.stl"]
    wrong = run(contours, "-o", tmp_path / "out", "--image", tmp_path / "scans", "--series", "first")
    assert_refused(wrong, InputError, "frame of reference")
    assert_refused(run(labels_file, "-o", tmp_path / "out", "--image", image), UsageError, "leave it out")


def test_an_8_bit_scan_is_no_label_map(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 233, GRID.shape).astype(np.uint8)
    path = write(Volume(array, GRID), tmp_path / "mr.nii.gz")[0]
    assert_refused(run(path, "-o", tmp_path / "out"), InputError, "different values, as a scan has")
    assert not (tmp_path / "out").exists()


def test_report_is_a_table_and_in_every_file_but_stl(labels_file: Path, tmp_path: Path) -> None:
    formats = "stl,ply,glb,vtp,obj,3mf"
    result = run(labels_file, "-o", tmp_path / "out", "--format", formats, "--report", "--single-file")
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "surfaces_quality.tsv").open(encoding="utf-8", newline="") as stream:
        liver, kidney = csv.DictReader(stream, delimiter="\t")
    assert (liver["surface"], kidney["surface"]) == ("liver", "left kidney")
    assert liver["closed"] == "yes"
    assert liver["self_intersections"] == "0"
    assert float(liver["expected_mm3"]) == 3 * 7 * 6 * 2
    area = f"area_mm2={liver['area_mm2']}"
    content = {suffix: (tmp_path / "out" / f"surfaces.{suffix}").read_bytes() for suffix in formats.split(",")}
    assert f"comment quality 1: triangles={liver['triangles']}".encode() in content["ply"].split(b"end_header")[0]
    assert area in content["obj"].decode()
    assert area in zipfile.ZipFile(tmp_path / "out" / "surfaces.3mf").read("3D/3dmodel.model").decode()
    assert area in pv.read(tmp_path / "out" / "surfaces.vtp").field_data["Quality"][0]
    document = json.loads(content["glb"][20 : 20 + int.from_bytes(content["glb"][12:16], "little")])
    assert document["nodes"][0]["extras"]["quality"]["area_mm2"] == pytest.approx(float(liver["area_mm2"]), rel=1e-5)
    # Written files can be read.
    assert [len(read_meshes(tmp_path / "out" / f"surfaces.{suffix}")) for suffix in ("ply", "obj", "vtp")] == [2, 2, 2]


def test_report_of_one_file_does_not_replace_a_table_of_labels(labels_file: Path) -> None:
    table = labels_file.with_suffix("").with_suffix(".tsv")
    before = table.read_text(encoding="utf-8")
    assert run(labels_file, "-o", labels_file.with_name("labels.stl"), "--report").exit_code == 0
    assert table.read_text(encoding="utf-8") == before
    assert labels_file.with_name("labels_quality.tsv").is_file()


def test_number_of_triangles_and_error(labels_file: Path, tmp_path: Path) -> None:
    assert run(labels_file, "-o", tmp_path / "all.stl").exit_code == 0
    assert run(labels_file, "-o", tmp_path / "few.stl", "--faces", 100).exit_code == 0
    assert run(labels_file, "-o", tmp_path / "near.stl", "--max-error", 0.5).exit_code == 0
    every, few, near = (len(read_stl(tmp_path / f"{name}.stl").faces) for name in ("all", "few", "near"))
    assert few <= 200 < every
    assert near < every


def test_shared_walls_are_written_as_the_same_numbers(tmp_path: Path) -> None:
    array = np.zeros((12, 8, 8), dtype=np.uint8)
    array[2:6, 2:6, 2:6], array[6:10, 2:6, 2:6] = 1, 2
    file = write(LabelMap.from_array(array, Grid.from_spacing(array.shape)), tmp_path / "two.nii.gz")[0]
    assert run(file, "-o", tmp_path / "out", "--shared-walls").exit_code == 0
    one, two = ({tuple(v) for v in read_stl(tmp_path / "out" / f"label_{n}.stl").vertices} for n in (1, 2))
    assert len(one & two) == 25


def test_shared_walls_are_of_labels(scan_file: Path, tmp_path: Path) -> None:
    result = run(scan_file, "-o", tmp_path / "out", "--threshold", 200, "--shared-walls")
    assert_refused(result, UsageError, "with --threshold there are no labels; leave out --shared-walls")


def test_commands_use_all_cores_and_surfaces_are_the_same() -> None:
    program = (
        "import os, hashlib, numpy as np; from volseg import cli\n"
        "def work():\n"
        "    from volseg import Grid, LabelMap, extract_surfaces\n"
        "    ball = (np.sum((np.indices((60, 60, 60)) - 29.5) ** 2, axis=0) < 625).astype(np.uint8)\n"
        "    (mesh,) = extract_surfaces(LabelMap.from_array(ball, Grid.from_spacing(ball.shape)))\n"
        "    digest = hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest()\n"
        "    print(os.environ['VTK_SMP_BACKEND_IN_USE'], digest)\n"
        "cli.app = work; cli.main()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "VTK_SMP_BACKEND_IN_USE"}
    found = []
    for more in ({}, {"VTK_SMP_BACKEND_IN_USE": "Sequential"}):
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, env=environment | more, capture_output=True, text=True, check=True)
        found.append(result.stdout.split())
    assert [backend for backend, _ in found] == ["STDThread", "Sequential"]
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("name", ["腎" * 200, "\U00020000" * 130, "=1+1\x1b[31m", "../" * 40 + "x"])
def test_surfaces_of_any_name_are_files(name: str, tmp_path: Path) -> None:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[1:4, 1:8, 1:7], array[6:8, 2:5, 2:6] = 1, 2
    labels = (Label(1, name, (1, 2, 3)), Label(2, name + "!", (4, 5, 6)))
    path, *_ = write(LabelMap(array, GRID, labels), tmp_path / "labels.nii.gz")
    formats = "stl,ply,glb,vtp,obj,vtm,3mf"
    result = run(path, "-o", tmp_path / "out", "--format", formats, "--report")
    assert result.exit_code == 0, result.output
    found = files(tmp_path / "out")
    assert {len([file for file in found if file.endswith(f".{suffix}")]) for suffix in formats.split(",")} == {1, 2, 4}
    assert {len(read_meshes(tmp_path / "out" / file)) for file in found if file.endswith((".stl", ".obj"))} == {1}
    for table in (tmp_path / "labels.tsv", tmp_path / "out" / "surfaces_quality.tsv"):
        text = table.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert not [cell for line in text.splitlines() for cell in line.split("\t") if cell.startswith("=")]


def test_scan_at_a_threshold_becomes_a_solid(scan_file: Path, tmp_path: Path) -> None:
    scan = read(scan_file)
    array = scan.array.copy()
    array[4, 4, 3], array[0, 0, 0] = -1000, 1000  # a cavity, and a speck
    write(Volume(array, scan.grid), scan_file)
    result = run(scan_file, "-o", tmp_path / "bone.stl", "--threshold", "200", "--print-ready")
    assert result.exit_code == 0, result.output
    bone = read_stl(tmp_path / "bone.stl")
    assert bone.is_manifold
    assert bone.bounds[0] == pytest.approx([52.6, -57.4, 73.2], abs=0.7)
