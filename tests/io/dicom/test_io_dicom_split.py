from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.io import read, read_all
from volseg.io.dicom import scan_dicom
from volseg.io.dicom.writing import write_dicom_series

GRID = Grid.from_spacing((6, 5, 4), (0.7, 0.9, 2.0), (10, -20, 30))
STUDY, SERIES, FRAME = generate_uid(), generate_uid(), generate_uid()


def write_part(folder: Path, start: int, change: Callable[[Any, int], object], grid: Grid = GRID) -> Volume:
    """Write a volume as a part of the one series; `change` is given each data set and its number."""
    array = np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape) + np.int16(start)
    scan = Volume(array, grid, modality="MR")
    for k, path in enumerate(write_dicom_series(scan, folder / f"part{start}", description="scan")):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, SERIES, FRAME
        change(dataset, k)
        dataset.save_as(path)
    return scan


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("TemporalPositionIdentifier", ["1", "2", "10"], ["time1", "time2", "time10"]),
        ("EchoTime", ["4.9", "11.2", "30"], ["echo1", "echo2", "echo30"]),
        ("DiffusionBValue", [0.0, 500.0, 1000.0], ["b0", "b500", "b1000"]),
        ("AcquisitionNumber", ["7", "8", "9"], ["acquisition7", "acquisition8", "acquisition9"]),
        ("ImageType", [["ORIGINAL", "PRIMARY", x] for x in "MPR"], ["type1", "type2", "type3"]),
        (
            "ComplexImageComponent",
            ["MAGNITUDE", "PHASE", "REAL"],
            ["componentMAGNITUDE", "componentPHASE", "componentREAL"],
        ),
        ("TriggerTime", ["12.5", "112.5", "212.5"], ["trigger1", "trigger2", "trigger3"]),
        ("ContentTime", ["101010.1", "101020.1", "101030.1"], ["content1", "content2", "content3"]),
    ],
)
def test_volumes_of_one_place_are_told_apart_by_what_differs(
    tmp_path: Path, keyword: str, values: list[Any], names: list[str]
) -> None:
    scans = [write_part(tmp_path, 200 * n, lambda d, k, v=v: setattr(d, keyword, v)) for n, v in enumerate(values)]
    volumes = read_all(tmp_path)
    assert list(volumes) == [f"scan_{name}" for name in names]
    for volume, scan in zip(volumes.values(), scans, strict=True):
        np.testing.assert_array_equal(volume.array, scan.array)
        assert volume.grid.is_close(GRID)
    with pytest.raises(AmbiguousError, match=r"\d volumes in 1 DICOM series; choose one"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, series=f"scan_{names[1]}").array, scans[1].array)


def test_two_traits_together_tell_volumes_apart(tmp_path: Path) -> None:
    def change(b: float, flip: int) -> Callable[[Any, int], None]:
        def both(dataset: Any, k: int) -> None:
            dataset.DiffusionBValue, dataset.FlipAngle, dataset.InstanceNumber = b, flip, 1

        return both

    for n, (b, flip) in enumerate([(0.0, 5), (0.0, 30), (800.0, 5), (800.0, 30)]):
        write_part(tmp_path, 200 * n, change(b, flip))
    volumes = read_all(tmp_path)
    assert list(volumes) == ["scan_b0_flip5", "scan_b0_flip30", "scan_b800_flip5", "scan_b800_flip30"]
    assert [volume.array.min() for volume in volumes.values()] == [0, 200, 400, 600]


def test_the_instance_number_counts_volumes_where_nothing_else_differs(tmp_path: Path) -> None:
    for n in range(3):
        write_part(tmp_path, 200 * n, lambda d, k, n=n: setattr(d, "InstanceNumber", 1 + 3 * k + n))
    volumes = read_all(tmp_path)
    assert list(volumes) == ["scan_part1", "scan_part2", "scan_part3"]
    assert [volume.array.min() for volume in volumes.values()] == [0, 200, 400]


def test_interleaved_acquisitions_are_one_volume(tmp_path: Path) -> None:
    scan = write_part(tmp_path, 0, lambda d, k: setattr(d, "AcquisitionNumber", 1 + k % 2))
    np.testing.assert_array_equal(read(tmp_path).array, scan.array)


def test_acquisitions_that_only_together_are_uneven_are_apart(tmp_path: Path) -> None:
    write_part(tmp_path, 0, lambda d, k: setattr(d, "AcquisitionNumber", 1))
    between = Grid.from_spacing((6, 5, 4), (0.7, 0.9, 2.0), (10, -20, 30.7))
    write_part(tmp_path, 200, lambda d, k: setattr(d, "AcquisitionNumber", 2), between)
    volumes = read_all(tmp_path)
    assert list(volumes) == ["scan_acquisition1", "scan_acquisition2"]
    assert volumes["scan_acquisition2"].grid.is_close(between)


def test_an_unfinished_last_volume_stays_apart(tmp_path: Path) -> None:
    for n in range(3):
        write_part(tmp_path, 200 * n, lambda d, k, n=n: setattr(d, "TemporalPositionIdentifier", n + 1))
    (tmp_path / "part400" / "0004.dcm").unlink()
    assert [volume.array.shape[2] for volume in read_all(tmp_path).values()] == [4, 4, 3]


def test_frames_at_one_position_are_not_a_volume(tmp_path: Path) -> None:
    one = Grid.from_spacing((6, 5, 1), (0.7, 0.9, 2.0), (10, -20, 30))
    for n in range(4):
        write_part(tmp_path, 200 * n, lambda d, k, n=n: setattr(d, "TemporalPositionIdentifier", n + 1), one)
    with pytest.raises(InputError, match=r"two slices at the same position .*, 3 such pairs in the series"):
        read(tmp_path)


def test_localizer_and_stray_image_are_left_out_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scan = write_part(tmp_path, 0, lambda d, k: None)
    one = Grid.from_spacing((9, 9, 1), (0.7, 0.9, 2.0), (10, -20, 30))

    def locate(dataset: Any, k: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_part(tmp_path, 200, locate)
    write_part(tmp_path, 400, lambda d, k: None, one)
    assert len(scan_dicom(tmp_path).readable()) == 3
    np.testing.assert_array_equal(read(tmp_path).array, scan.array)
    assert caplog.text.count("left out, beside the series that is read") == 2
    assert len(read_all(tmp_path)) == 3


def test_equal_heights_of_two_fields_of_view_are_two_volumes(tmp_path: Path) -> None:
    other = Grid.from_spacing(GRID.shape, GRID.spacing, (110, -20, 30))
    write_part(tmp_path, 0, lambda d, k: setattr(d, "AcquisitionNumber", 1))
    write_part(tmp_path, 200, lambda d, k: setattr(d, "AcquisitionNumber", 2), other)
    volumes = list(read_all(tmp_path).values())
    assert [volume.grid.origin[0] for volume in volumes] == pytest.approx([10, 110])


def test_thin_slices_below_thick_ones_are_one_scan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_part(tmp_path, 0, lambda d, k: setattr(d, "AcquisitionNumber", 1))
    thick = Grid.from_spacing((6, 5, 3), (0.7, 0.9, 4.0), (10, -20, 40))
    write_part(tmp_path, 200, lambda d, k: setattr(d, "AcquisitionNumber", 2), thick)
    volume = read(tmp_path)
    assert volume.grid.shape == (6, 5, 10)
    assert volume.grid.to_world([0, 0, 9]) == pytest.approx([10, -20, 48])
    assert "4 mm from z = 36.00 mm" in caplog.text


def test_parts_too_far_apart_are_two_scans(tmp_path: Path) -> None:
    write_part(tmp_path, 0, lambda d, k: setattr(d, "AcquisitionNumber", 1))
    far = Grid.from_spacing((6, 5, 3), (0.7, 0.9, 2.0), (10, -20, 90))
    write_part(tmp_path, 200, lambda d, k: setattr(d, "AcquisitionNumber", 2), far)
    assert list(read_all(tmp_path)) == ["scan_acquisition1", "scan_acquisition2"]


def test_ranks_never_mix_what_the_headers_tell_apart(tmp_path: Path) -> None:
    echoes, times, kinds = ("5", "10", "20"), ("1", "2"), ("M", "P")
    orders = np.random.default_rng(0)
    combined = [(e, t, m) for e in echoes for t in times for m in kinds]
    shuffled = [orders.permutation(len(combined)) for _ in range(4)]
    for n, (echo, time, kind) in enumerate(combined):

        def change(dataset: Any, k: int, n: int = n, told: tuple[str, str, str] = (echo, time, kind)) -> None:
            dataset.EchoTime, dataset.TemporalPositionIdentifier = told[0], told[1]
            dataset.ImageType = ["ORIGINAL", "PRIMARY", told[2]]
            dataset.InstanceNumber = int(shuffled[k][n]) + 1

        write_part(tmp_path, 200 * n, change)
    volumes = read_all(tmp_path)
    assert len(volumes) == 12
    assert sorted(int(volume.array.min()) for volume in volumes.values()) == [200 * n for n in range(12)]
    assert all(np.ptp(volume.array) == 119 for volume in volumes.values())


def test_two_energies_are_never_interleaved(tmp_path: Path) -> None:
    write_part(tmp_path, 0, lambda d, k: setattr(d, "KVP", "80"))
    between = Grid.from_spacing((6, 5, 4), (0.7, 0.9, 2.0), (10, -20, 31))
    write_part(tmp_path, 200, lambda d, k: setattr(d, "KVP", "140"), between)
    assert list(read_all(tmp_path)) == ["scan_kvp80", "scan_kvp140"]


def test_times_within_a_volume_do_not_halve_it(tmp_path: Path) -> None:
    def change(volume: int) -> Callable[[Any, int], None]:
        def times(dataset: Any, k: int) -> None:
            dataset.AcquisitionTime = f"10101{2 * volume + k % 2}.0"
            dataset.InstanceNumber = 4 * volume + k + 1

        return times

    for volume in range(2):
        write_part(tmp_path, 200 * volume, change(volume))
    assert [volume.array.shape[2] for volume in read_all(tmp_path).values()] == [4, 4]
