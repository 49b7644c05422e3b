from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.volume import Volume
from volseg.errors import OutputError
from volseg.io import read
from volseg.io.dicom.writing import write_dicom_series


def varied(grid: Grid) -> NDArray[np.int16]:
    return (np.arange(np.prod(grid.shape), dtype=np.int16) - 1000).reshape(grid.shape)


def mirrored(grid: Grid) -> Grid:
    return Grid(grid.shape, grid.affine @ np.diag([-1.0, 1, 1, 1]))


@pytest.mark.parametrize("handed", [-1, 1])
def test_simpleitk_reads_the_same_values_at_the_same_places(oblique_grid: Grid, tmp_path: Path, handed: int) -> None:
    grid = oblique_grid if oblique_grid.handedness == handed else mirrored(oblique_grid)
    array = varied(grid)
    write_dicom_series(Volume(array, grid, modality="CT"), tmp_path)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = SimpleITK.ReadImage(names)
    rng = np.random.default_rng(0)
    for ijk in rng.integers(0, grid.shape, (50, 3)):
        lps = RAS_TO_LPS[:3, :3] @ grid.to_world(ijk)
        place = image.TransformPhysicalPointToContinuousIndex(lps.tolist())
        nearest = [round(x) for x in place]
        assert np.abs(np.subtract(place, nearest)).max() < 1e-3
        assert image[nearest] == array[tuple(ijk)]


@pytest.mark.parametrize("modality", ["CT", "MR", None])
def test_files_are_valid_and_complete(oblique_grid: Grid, tmp_path: Path, modality: str | None) -> None:
    volume = Volume(varied(oblique_grid), oblique_grid, modality=modality)
    paths = write_dicom_series(volume, tmp_path / "new", description="thick slices")
    assert paths == sorted((tmp_path / "new").iterdir())
    assert len(paths) == 10
    datasets = [pydicom.dcmread(path) for path in paths]
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 10
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
    first = datasets[0]
    assert first.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert first.SOPClassUID.name == f"{modality or 'MR'} Image Storage"
    assert (first.SeriesDescription, first.PatientID, first.PatientName) == ("thick slices", "", "")
    assert (first.Columns, first.Rows, first.SliceThickness) == (20, 24, 3)
    np.testing.assert_allclose(first.PixelSpacing, [0.9, 0.8])


@pytest.mark.parametrize(
    ("values", "tolerance"),
    [
        (np.linspace(0, 1, 60, dtype=np.float32), 1 / 65534),
        (np.linspace(-3e9, 5e9, 60), 8e9 / 65534),
        (np.arange(60, dtype=np.uint16) * 1100, 0),
        (np.arange(60, dtype=np.int32) + 10_000_000, 0),
        (np.arange(60, dtype=np.float64) - 30, 0),
        (np.full(60, 0.1), 1e-6),
        (np.arange(60) > 30, 0),
    ],
)
def test_values_return_within_one_step(tmp_path: Path, values: NDArray[np.float64], tolerance: float) -> None:
    grid = Grid.from_spacing((4, 5, 3), (1 / 3, 0.7, 2.5))
    array = values.reshape(grid.shape)
    write_dicom_series(Volume(array, grid, modality="MR"), tmp_path)
    volume = read(tmp_path)
    assert volume.grid.is_close(grid)
    assert np.abs(volume.array.astype(float) - array.astype(float)).max() <= tolerance
    assert volume.array.dtype.kind == ("i" if tolerance == 0 else "f")


def test_same_names_are_replaced_and_other_dicom_files_refused(tmp_path: Path) -> None:
    grid = Grid.from_spacing((4, 5, 3))
    write_dicom_series(Volume(varied(grid), grid), tmp_path)
    write_dicom_series(Volume(varied(grid) + 1, grid), tmp_path)
    np.testing.assert_array_equal(read(tmp_path).array, varied(grid) + 1)
    with pytest.raises(OutputError, match=r"holds other DICOM files \(0003.dcm\); choose an empty folder"):
        write_dicom_series(Volume(varied(grid)[:, :, :2], grid.crop((0, 0, 0), (4, 5, 2))), tmp_path)


def test_what_cannot_be_written_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    grid = Grid.from_spacing((4, 5, 3))
    shear = np.eye(4)
    shear[1, 2] = 0.3
    target = tmp_path / "out"
    with pytest.raises(OutputError, match="the grid is sheared"):
        write_dicom_series(Volume(varied(grid), Grid(grid.shape, shear)), target)
    with pytest.raises(OutputError, match=r"modality is 'PT'; volseg writes CT and MR, .*--modality"):
        write_dicom_series(Volume(varied(grid), grid, modality="PT"), target)
    with pytest.raises(OutputError, match="holds NaN or Inf"):
        write_dicom_series(Volume(np.full(grid.shape, np.nan), grid), target)
    with pytest.raises(OutputError, match="does not fit DICOM; expected 64 characters"):
        write_dicom_series(Volume(varied(grid), grid), target, description="x" * 65)
    assert not target.exists()


def test_unwritable_folder_leaves_nothing(tmp_path: Path) -> None:
    grid = Grid.from_spacing((4, 5, 3))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        write_dicom_series(Volume(varied(grid), grid), tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_scan_from_dicom_stays_with_its_patient(tmp_path: Path) -> None:
    volume = Volume(np.arange(60, dtype=np.int16).reshape(5, 4, 3), Grid.from_spacing((5, 4, 3)), modality="CT")
    for path in write_dicom_series(volume, tmp_path / "old"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID, dataset.StudyID = "Doe^Jane", "7", "S"
        dataset.save_as(path)
    (new, *_) = map(pydicom.dcmread, write_dicom_series(read(tmp_path / "old"), tmp_path / "new"))
    assert (new.PatientName, new.PatientID, new.StudyID, new.Modality) == ("Doe^Jane", "7", "S", "CT")
    assert new.StudyInstanceUID == dataset.StudyInstanceUID
    assert new.FrameOfReferenceUID == dataset.FrameOfReferenceUID
    assert new.SeriesInstanceUID != dataset.SeriesInstanceUID
    assert new.SOPInstanceUID != dataset.SOPInstanceUID


@pytest.mark.parametrize(
    ("values", "modality"),
    [
        (lambda random: np.zeros(8000), "MR"),
        (lambda random: random.integers(0, 4000, 8000), "MR"),
        (lambda random: random.integers(-4096, 4096, 8000), "MR"),  # phases
        (lambda random: random.normal(0, 300, 8000), "MR"),  # a difference of two scans
        (lambda random: np.r_[random.normal(-1000, 20, 200), random.normal(40, 60, 7800)], "CT"),
        (lambda random: np.r_[np.full(7000, -2048), random.normal(-990, 20, 200), random.normal(40, 60, 800)], "CT"),
    ],
)
def test_modality_that_nothing_says_is_that_of_the_values(
    values: Callable[[np.random.Generator], NDArray[np.float64]],
    modality: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    array = np.rint(values(np.random.default_rng(0))).reshape(20, 20, 20)
    (path, *_) = write_dicom_series(Volume(array, Grid.from_spacing(array.shape)), tmp_path)
    assert pydicom.dcmread(path).Modality == modality
    assert f"the modality of the scan is unknown; written as {modality}" in caplog.text
    assert "choose by modality (--modality CT|MR)" in caplog.text


def test_the_originals_are_never_overwritten(tmp_path: Path) -> None:
    volume = Volume(np.arange(60, dtype=np.int16).reshape(5, 4, 3), Grid.from_spacing((5, 4, 3)), modality="CT")
    paths = write_dicom_series(volume, tmp_path)
    before = [path.read_bytes() for path in paths]
    with pytest.raises(OutputError, match="holds the files that the volume was read from; choose another folder"):
        write_dicom_series(read(tmp_path), tmp_path)
    assert [path.read_bytes() for path in paths] == before


def test_rounding_is_said_and_what_decimals_cannot_say_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.array([-(10**6), 0, 10**6]).reshape(3, 1, 1)
    write_dicom_series(Volume(values, Grid.from_spacing((3, 1, 1)), modality="CT"), tmp_path / "a")
    assert "the values do not fit 16 bits; rounded to steps of 30.5" in caplog.text
    with pytest.raises(OutputError, match=r"has the value 1e\+18, which does not fit DICOM's decimals; write .nii.gz"):
        write_dicom_series(Volume(values * 10**12, Grid.from_spacing((3, 1, 1)), modality="CT"), tmp_path / "b")
