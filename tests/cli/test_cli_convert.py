from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner, Result

from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io import read, read_labels, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.images.nifti import write_nifti

GRID = Grid.from_spacing((10, 9, 8), (1, 1.5, 2), (50, -60, 70))
SCAN = Volume(np.arange(720, dtype=np.int16).reshape(GRID.shape), GRID, modality="CT")
LABELS = (Label(1, "liver", (200, 0, 0)), Label(3, "left kidney", (0, 200, 0)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A series and its label map; also the current folder."""
    monkeypatch.chdir(tmp_path)
    write_dicom_series(SCAN, tmp_path / "slices", description="abdomen")
    array = np.zeros(GRID.shape, np.uint8)
    array[1:4, 1:8, 1:7], array[6:8, 2:5, 2:6] = 1, 3
    write(LabelMap(array, GRID, LABELS), tmp_path / "labels.nii.gz")
    return tmp_path


def run(command: str) -> Result:
    return CliRunner().invoke(app, ["convert", *command.split()])


def done(command: str) -> list[str]:
    result = run(command)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_scan(folder: Path) -> None:
    assert done("slices scan.nii.gz") == ["wrote scan.nii.gz"]
    assert read("scan.nii.gz").grid.is_close(GRID)
    assert done("scan.nii.gz again") == ["wrote again"]  # a series by its folder, not slice by slice
    np.testing.assert_array_equal(read("again").array, SCAN.array)


@pytest.mark.parametrize("form", ["seg", "labelmap", "rtstruct"])
def test_labels_to_dicom_and_back(folder: Path, form: str) -> None:
    assert done(f"labels.nii.gz out.dcm --image slices --as {form}") == ["wrote out.dcm"]
    assert done("out.dcm back.nii.gz --image slices") == ["wrote back.nii.gz", "wrote back.tsv"]
    expected, found = read_labels("labels.nii.gz"), read_labels("back.nii.gz")
    assert found.grid.is_close(expected.grid)
    np.testing.assert_array_equal(found.array, expected.array)
    assert [(label.value, label.name) for label in found.labels] == [(1, "liver"), (3, "left kidney")]


def test_labels_table_and_slicer(folder: Path) -> None:
    (folder / "names.tsv").write_text("index\tname\n1\tLeber\n3\tNiere\n", encoding="utf-8")
    assert done("labels.nii.gz out.seg.nrrd --labels names.tsv") == ["wrote out.seg.nrrd"]
    assert [label.name for label in read_labels("out.seg.nrrd").labels] == ["Leber", "Niere"]


def test_probabilities(folder: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 0.5, (*GRID.shape, 2)).astype(np.float32)
    write_nifti(values, GRID, folder / "probabilities.nii.gz")
    assert done("probabilities.nii.gz p.dcm --as fractional --image slices") == ["wrote p.dcm"]
    assert done("p.dcm p.nii.gz --as fractional --image slices") == ["wrote p.nii.gz", "wrote p.tsv"]


def test_every_volume(folder: Path) -> None:
    write_dicom_series(SCAN, folder / "slices" / "b", description="second")
    first, second = done("slices out --all")
    assert first.startswith(f"wrote {Path('out', 'abdomen.nii.gz')}  <- series 1 'abdomen' CT 10x9x8 [...")
    assert second.startswith(f"wrote {Path('out', 'second.nii.gz')}  <- series 1 'second' CT 10x9x8 [...")
    lines = done("slices dicom --all --format dicom")
    assert [line.partition("  <- ")[0] for line in lines] == [
        f"wrote {Path('dicom', n)}" for n in ("abdomen", "second")
    ]
    for file in (folder / "slices" / "b").iterdir():
        dataset = pydicom.dcmread(file)
        del dataset.PixelSpacing
        dataset.save_as(file)
    result = run("slices other --all")
    assert result.exit_code == 3
    assert result.stdout.startswith(f"wrote {Path('other', 'abdomen.nii.gz')}  <- ")
    assert "error: 1 of 2 volumes failed" in result.stderr
    assert "error: second: " in result.stderr
    assert "PixelSpacing is missing" in result.stderr


def test_one_volume_that_fails_is_a_failure(folder: Path) -> None:
    done("slices out --all")
    result = run("slices out --all")
    assert result.exit_code == 1
    assert "is there already; overwrite it" in result.stderr
    (line,) = done("slices out --all --overwrite")
    assert line.startswith(f"wrote {Path('out', 'abdomen.nii.gz')}  <- ")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("slices labels.nii.gz", 1, "labels.nii.gz: is there already; overwrite it (--overwrite), or choose"),
        ("labels.nii.gz labels.nii.gz --overwrite", 2, "is the input;"),
        ("labels.nii.gz out.dcm", 2, "give the scan as image (--image"),
        ("labels.nii.gz out.dcm --image labels.nii.gz", 2, "is not DICOM"),
        ("labels.nii.gz out.dcm --image slices --as segm", 2, "--as segm is unknown; choose from seg, labelmap"),
        ("labels.nii.gz out.nii --as seg", 2, "form (--as) seg is only for a .dcm file of labels"),
        ("slices out.png", 2, "cannot be written as .png"),
        ("slices out --format nrrd", 2, "--format goes with --all"),
        ("slices out --all --format png", 2, "--format png is unknown; choose from nii, nii.gz"),
        ("slices out.seg.nrrd --all", 2, "out.seg.nrrd: is the name of a file"),
        ("slices out --all --series 1", 2, "--all writes every scan of IN"),
        ("nothing out.nii", 1, "nothing: no such file or folder"),
        ("slices out.nii --series nothing", 1, "no DICOM series 'nothing'"),
        ("slices out.seg.nrrd", 1, "holds no DICOM segmentation or structure set"),
    ],
)
def test_one_clear_line_and_nothing_written(folder: Path, command: str, code: int, words: str) -> None:
    before = set(folder.rglob("*"))
    result = run(command)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert set(folder.rglob("*")) == before


def test_strict(folder: Path) -> None:
    sorted((folder / "slices").iterdir())[3].unlink()
    result = run("slices out.nii --strict")
    assert result.exit_code == 1
    assert "repairs are switched off (--strict)" in result.stderr
    done("slices out.nii")


def test_masks_are_merged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    for name, size in {"case_liver": 9, "case_tumor": 4}.items():
        array[:] = 0
        array[0, :size, 0] = 1
        write_nifti(array, GRID, folder / "masks" / f"{name}.nii.gz")
    assert done("masks/case_liver.nii.gz masks/case_tumor.nii.gz apart.nii.gz")[0] == "wrote apart_1.nii.gz"
    for command in ("masks/case_liver.nii.gz masks/case_tumor.nii.gz out.nii.gz", "masks out.nii.gz --overwrite"):
        result = run(f"{command} --merge")
        assert result.stdout.splitlines() == ["wrote out.nii.gz", "wrote out.tsv"]
        assert "liver gives 4 of its 9 voxels (44.4 %) to tumor (4)" in caplog.text
        caplog.clear()
        assert np.bincount(read_labels("out.nii.gz").array.ravel())[1:].tolist() == [5, 4]
    assert "one path" in run("masks/case_liver.nii.gz masks/case_tumor.nii.gz out --all").stderr
