from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from handmade_dicom import write_enhanced, write_film, write_mosaic, write_united_imaging
from pydicom.uid import JPEGLSLossless
from world import assert_same_in_world

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.io import read, read_all

LEFT_HANDED = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1.0]])


def phantom(grid: Grid, start: int = 0) -> Volume:
    array = (np.arange(np.prod(grid.shape)).reshape(grid.shape) + start).astype(np.int16)
    return Volume(array, grid, modality="MR")


@pytest.fixture(params=["along", "against"])
def scan(oblique_grid: Grid, request: pytest.FixtureRequest) -> Volume:
    """Slices that run along, and against, the normal of their rows and columns."""
    shape = (oblique_grid.shape[0], oblique_grid.shape[1], 7)
    affine = oblique_grid.affine if request.param == "along" else oblique_grid.affine @ LEFT_HANDED
    return phantom(Grid(shape, affine))


@pytest.mark.parametrize("write", [write_mosaic, write_united_imaging, write_film])
def test_every_slice_in_one_file_is_where_it_was(scan: Volume, tmp_path: Path, write) -> None:
    if write is write_film:  # a film runs along its normal, by the sign of its distance
        normal = np.cross(scan.grid.direction[:, 0], scan.grid.direction[:, 1])
        sign = np.sign(normal @ scan.grid.direction[:, 2])
        path = write(scan, tmp_path / "scan.dcm", SpacingBetweenSlices=sign * scan.grid.spacing[2])
    else:
        path = write(scan, tmp_path / "scan.dcm")
    volume = read(path)
    assert_same_in_world(volume, scan)
    for k, frame in enumerate(volume.source.frames):
        np.testing.assert_allclose((frame.plane @ [3, 2, 0, 1])[:3], volume.grid.to_world([3, 2, k]), atol=1e-3)


def test_enhanced_frames_are_ordered_by_position_not_by_number(scan: Volume, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(7).tolist()
    volume = read(write_enhanced([scan], tmp_path / "scan.dcm", order=order))
    assert_same_in_world(volume, scan)
    heights = {k: frame.plane[2, 3] for k, frame in enumerate(volume.source.frames)}
    expected = {k: volume.grid.to_world([0, 0, k])[2] for k in range(7)}
    assert heights == pytest.approx(expected, abs=1e-4)
    assert sorted(frame.frame for frame in volume.source.frames) == list(range(1, 8))
    assert len(volume.source.files) == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_time_points_of_one_enhanced_file_are_named_volumes(scan: Volume, tmp_path: Path, compressed: bool) -> None:
    scans = [scan, phantom(scan.grid, 1000), phantom(scan.grid, 2000)]
    order = np.random.default_rng(1).permutation(21).tolist()
    path = write_enhanced(scans, tmp_path / "scan.dcm", order=order)
    if compressed:
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEGLSLossless)
        dataset.save_as(path)
    volumes = read_all(path)
    assert list(volumes) == [f"volseg phantom_time{n}" for n in (1, 2, 3)]
    for t, volume in enumerate(volumes.values()):
        assert_same_in_world(volume, scans[t].with_array(scans[t].array.astype(np.float64) * (1 + t) + t))
    with pytest.raises(AmbiguousError, match=r"3 volumes in 1 DICOM series; choose one .*'volseg phantom_time2'"):
        read(path)
    assert_same_in_world(read(path, series="volseg phantom_time1"), scan)


def test_frames_without_functional_groups_of_their_own_are_refused(scan: Volume, tmp_path: Path) -> None:
    path = write_enhanced([scan], tmp_path / "scan.dcm")
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    with pytest.raises(InputError, match=r"scan.dcm \(frame 1\): ImagePositionPatient.* is missing"):
        read(path)
    dataset = pydicom.dcmread(write_enhanced([scan], path))
    del dataset.PerFrameFunctionalGroupsSequence[3]
    dataset.save_as(path)
    with pytest.raises(InputError, match="NumberOfFrames is 7, but PerFrameFunctionalGroupsSequence has 6 items"):
        read(path)


def test_a_film_in_time_is_no_stack(scan: Volume, tmp_path: Path) -> None:
    path = write_film(scan, tmp_path / "film.dcm", FrameIncrementPointer=0x00181063, FrameTime=40)
    with pytest.raises(InputError, match="ImagePositionPatient, ImageOrientationPatient is missing"):
        read(path)


def test_mosaic_that_does_not_divide_is_refused(scan: Volume, tmp_path: Path) -> None:
    path = write_mosaic(scan, tmp_path / "scan.dcm")
    dataset = pydicom.dcmread(path)
    dataset.Rows -= 1
    dataset.PixelData = dataset.PixelData[: dataset.Rows * dataset.Columns * 2]
    dataset.save_as(path)
    with pytest.raises(InputError, match="its mosaic of 7 slices does not divide 71 rows and 60 columns"):
        read(path)


def test_mosaic_without_its_private_header_is_refused(scan: Volume, tmp_path: Path) -> None:
    path = write_mosaic(scan, tmp_path / "scan.dcm")
    dataset = pydicom.dcmread(path)
    dataset.remove_private_tags()
    dataset.save_as(path)
    with pytest.raises(InputError, match="it is a mosaic without a number of slices"):
        read(path)


def test_slice_numbers_order_the_frames_of_a_tomogram(scan: Volume, tmp_path: Path) -> None:
    normal = np.cross(scan.grid.direction[:, 0], scan.grid.direction[:, 1])
    step = np.sign(normal @ scan.grid.direction[:, 2]) * scan.grid.spacing[2]
    path = write_film(
        scan.with_array(scan.array[:, :, ::-1]),
        tmp_path / "tomo.dcm",
        SpacingBetweenSlices=step,
        FrameIncrementPointer=[0x00540080, 0x00540010],
        SliceVector=list(range(7, 0, -1)),
        EnergyWindowVector=[1] * 7,
    )
    assert_same_in_world(read(path), scan)


@pytest.mark.parametrize(
    ("pointer", "vector"),
    [(0x00540090, "AngularViewVector"), (0x00540070, "TimeSlotVector"), (0x00540030, "PhaseVector")],
)
def test_frames_that_differ_in_more_than_the_slice_are_no_stack(
    scan: Volume, tmp_path: Path, pointer: int, vector: str
) -> None:
    path = write_film(scan, tmp_path / "gated.dcm", FrameIncrementPointer=pointer, **{vector: list(range(1, 8))})
    with pytest.raises(InputError, match="ImagePositionPatient, ImageOrientationPatient is missing"):
        read(path)


def test_a_copy_of_a_multi_frame_file_is_left_out(
    scan: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_enhanced([scan], tmp_path / "scan.dcm")
    shutil.copy(path, tmp_path / "again.dcm")
    assert_same_in_world(read(tmp_path), scan)
    assert "scan.dcm: a copy of another file of the series; left out" in caplog.text


@pytest.mark.parametrize("bits", [0, 65535])
def test_impossible_bits_are_refused(scan: Volume, tmp_path: Path, bits: int) -> None:
    path = write_film(scan, tmp_path / "film.dcm", BitsStored=bits)
    with pytest.raises(InputError, match=f"BitsStored is {bits}; expected 1 to 64"):
        read(path)


def test_compressed_pixels_beyond_reason_are_refused_before_memory_is_taken(scan: Volume, tmp_path: Path) -> None:
    path = write_film(scan, tmp_path / "film.dcm")
    dataset = pydicom.dcmread(path)
    dataset.compress(JPEGLSLossless)
    dataset.Rows = dataset.Columns = 65535
    dataset.save_as(path)
    with pytest.raises(InputError, match=r"its header asks for \d+ bytes of pixels"):
        read(path)
