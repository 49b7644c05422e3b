from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from scipy import ndimage
from typer.testing import CliRunner

from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.io import read_labels, write
from volseg.io.images.itk import write_seg_nrrd
from volseg.io.images.nifti import write_nifti
from volseg.io.mesh.reading import read_meshes

LABELS = (Label(1, "=liver", (200, 0, 0)), Label(2, "spleen", (0, 200, 0)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    grid = Grid.from_spacing((12, 10, 8), (1, 1, 2), (50, -60, 70))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[1:5, 1:8, 1:7] = 1
    array[8, 2, 2] = 1
    for case in ("a", "b"):
        write(LabelMap(array, grid, LABELS), tmp_path / "scans" / case / "labels.nii.gz")
    return tmp_path / "scans"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["measure", *map(str, arguments)])


def test_table_shows_both_ways_and_what_is_absent(folder: Path) -> None:
    result = run(folder / "a", "--pieces")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    whole = next(line for line in lines if line[:1] == ["=liver"])
    assert whole[1:4] == ["2", "0.338", "/"]
    assert float(whole[4]) == pytest.approx(0.338, rel=0.01)  # the surface, on thick slices
    assert [line[:3] for line in lines if line[:1] == ["piece"]] == [["piece", "1", "0.336"], ["piece", "2", "0.002"]]
    assert next(line for line in lines if line[:1] == ["spleen"])[1:] == ["0", "absent"]


def test_files_hold_every_case_with_numbers_that_spreadsheets_keep(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "--csv", tmp_path / "sizes.csv", "--json", tmp_path / "sizes.json")
    assert result.exit_code == 0, result.output
    with (tmp_path / "sizes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["name"], row["voxels"]) for row in rows] == [
        ("a", "'=liver", "169"),
        ("a", "spleen", "0"),
        ("b", "'=liver", "169"),
        ("b", "spleen", "0"),
    ]
    assert float(rows[0]["by_voxels_bounds_mm_low_s"]) == 70 + 1
    assert rows[1]["by_voxels_volume_ml"] == ""
    content = json.loads((tmp_path / "sizes.json").read_text(encoding="utf-8"))
    (liver, spleen) = content["cases"]["b"]
    assert liver["by_voxels"]["bounds_mm"] == [[50.5, -59.5, 71.0], [58.5, -52.5, 83.0]]
    assert liver["by_surface"]["volume_ml"] == pytest.approx(0.338, rel=0.01)
    assert spleen["by_surface"] is None


def test_surface_is_that_of_mesh_where_probabilities_are_kept(folder: Path, tmp_path: Path) -> None:
    labels = read_labels(folder / "a" / "labels.nii.gz")
    masks = [ndimage.gaussian_filter((labels.array == value).astype(np.float32), 0.8) for value in (1, 2)]
    write_nifti(np.stack(masks, axis=-1), labels.grid, folder / "a" / "probabilities.nii.gz")
    result = run(folder / "a", "--json", tmp_path / "sizes.json")
    assert result.exit_code == 0, result.output
    ((liver, _),) = json.loads((tmp_path / "sizes.json").read_text(encoding="utf-8"))["cases"].values()
    assert CliRunner().invoke(app, ["mesh", str(folder / "a"), "-o", str(tmp_path / "out.ply")]).exit_code == 0
    (mesh,) = read_meshes(tmp_path / "out.ply")
    assert liver["by_surface"]["volume_ml"] == pytest.approx(mesh.volume_mm3 / 1000, rel=1e-4)
    assert liver["by_surface"]["volume_ml"] != pytest.approx(liver["by_voxels"]["volume_ml"], rel=0.01)


def test_labels_that_overlap_are_listed_once(folder: Path, tmp_path: Path) -> None:
    labels = read_labels(folder / "a" / "labels.nii.gz")
    other = LabelMap(np.where(labels.array == 1, 3, 0).astype(np.uint8), labels.grid, (Label(3, "lobe", (0, 0, 9)),))
    write_seg_nrrd([labels, other], tmp_path / "both.seg.nrrd")
    (tmp_path / "names.tsv").write_text("index\tname\n1\tliver\n2\tspleen\n3\tlobe\n", encoding="utf-8")
    result = run(tmp_path / "both.seg.nrrd", "--labels", tmp_path / "names.tsv", "--json", tmp_path / "sizes.json")
    assert result.exit_code == 0, result.output
    (rows,) = json.loads((tmp_path / "sizes.json").read_text(encoding="utf-8"))["cases"].values()
    assert [(row["name"], row["voxels"]) for row in rows] == [("liver", 169), ("spleen", 0), ("lobe", 169)]


def test_nothing_to_measure_is_said(tmp_path: Path) -> None:
    empty = LabelMap.from_array(np.zeros((4, 4, 4), dtype=np.uint8), Grid.from_spacing((4, 4, 4)))
    result = run(write(empty, tmp_path / "empty.nii.gz")[0])
    assert result.exit_code == 1
    assert "every voxel is background; expected at least one label" in result.output


def test_a_case_that_fails_does_not_stop_the_others(folder: Path) -> None:
    (folder / "b" / "labels.nii.gz").write_bytes(b"no image")
    result = run(folder)
    assert result.exit_code != 0
    assert "=liver" in result.output
    assert "1 of 2 cases could not be measured" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.nii.gz"], "missing.nii.gz: no such file or folder"),
        (["."], "no label maps in this folder"),
        (["scans/a", "--image", "scans/b"], "is another file, leave it out"),
    ],
)
def test_bad_input_is_named(
    folder: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty" if arguments == ["."] else tmp_path)
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_case_name_is_one_line_without_control_characters(folder: Path) -> None:
    (folder / "a").rename(folder / "a\n\x1b[31mb")
    result = run(folder / "a\n\x1b[31mb")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert re.search(r"\na \S\[31mb +pieces", result.output)
