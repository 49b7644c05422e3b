from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless, RLELossless
from world import assert_same_in_world

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.inspection import inspect
from volseg.io import read, read_all
from volseg.io.dicom.writing import write_dicom_series

GRID = Grid.from_spacing((6, 5, 4), (0.7, 0.9, 2.0), (10, -20, 30))
SCAN = Volume(np.arange(120, dtype=np.int16).reshape(GRID.shape), GRID, modality="CT")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    write_dicom_series(SCAN, folder, description="scan")
    return folder


def save(dataset: Any, path: Path, syntax: str | None) -> None:
    if syntax == ImplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=True)
        return
    if syntax:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)


SYNTAXES = [None, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless]
EDITS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda d: None,
    "name": lambda d: setattr(d, "PatientName", "Edited"),
    "id": lambda d: setattr(d, "PatientID", "Edited"),
    "description": lambda d: setattr(d, "SeriesDescription", "edited"),
    "comment": lambda d: setattr(d, "ImageComments", "edited"),
    "decimals": lambda d: setattr(d, "ImagePositionPatient", [f"{x:.6f}" for x in d.ImagePositionPatient]),
}


@pytest.mark.usefixtures("one_decoder")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    copied=st.dictionaries(
        st.integers(1, 4),
        st.tuples(st.sampled_from(SYNTAXES), st.sampled_from(sorted(EDITS)), st.sampled_from(["0copy", "copy"])),
        min_size=1,
        max_size=3,
    )
)
def test_copies_in_another_encoding_or_with_edited_texts_are_left_out(
    scan: Path,
    tmp_path_factory: pytest.TempPathFactory,
    copied: dict[int, tuple[str | None, str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path_factory.mktemp("copied")
    shutil.copytree(scan, folder, dirs_exist_ok=True)
    names = []
    for number, (syntax, edit, name) in copied.items():
        dataset = pydicom.dcmread(folder / f"000{number}.dcm")
        EDITS[edit](dataset)
        names.append(f"{name}{number}.dcm")
        save(dataset, folder / names[-1], syntax)
    caplog.clear()
    (volume,) = read_all(folder).values()
    assert_same_in_world(volume, SCAN)
    assert volume.name == "scan"
    told = [record.getMessage() for record in caplog.records if "a copy of another file" in record.getMessage()]
    assert len(told) == len(names)


def with_copy(scan: Path, folder: Path, change: Callable[[Any], object]) -> Path:
    shutil.copytree(scan, folder, dirs_exist_ok=True)
    dataset = pydicom.dcmread(folder / "0002.dcm")
    change(dataset)
    dataset.save_as(folder / "copy.dcm")
    return folder


def other_pixels(dataset: Any) -> None:
    dataset.PixelData = (dataset.pixel_array + 1).astype("<i2").tobytes()


def other_values(dataset: Any) -> None:
    dataset.RescaleIntercept = 5


def edited_pixels(dataset: Any) -> None:
    other_pixels(dataset)
    dataset.SeriesDescription = "edited"


def no_pixels(dataset: Any) -> None:
    dataset.PixelData = dataset.PixelData[:-4]


@pytest.mark.parametrize("change", [other_pixels, other_values, edited_pixels, no_pixels])
def test_other_values_of_the_same_instance_stay_refused(
    scan: Path, tmp_path: Path, change: Callable[[Any], object]
) -> None:
    with pytest.raises(InputError, match=r"0002.dcm and .*copy.dcm: two slices at the same position"):
        read(with_copy(scan, tmp_path, change))


def test_equal_slices_of_two_patients_are_no_copies(tmp_path: Path) -> None:
    for n in range(2):  # all UIDs repeat, and so does an empty slice at the end
        array = np.where(np.arange(4) == 3, 0, SCAN.array + 500 * n).astype(np.int16)
        for k, path in enumerate(write_dicom_series(SCAN.with_array(array), tmp_path / str(n), description="scan")):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = f"P{n}"
            dataset.StudyInstanceUID = dataset.SeriesInstanceUID = dataset.FrameOfReferenceUID = "1.2.3"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"
            dataset.save_as(path)
    volumes = list(read_all(tmp_path).values())
    assert [volume.array.shape for volume in volumes] == [GRID.shape] * 2
    assert [int(volume.array.max()) for volume in volumes] == [118, 618]


def test_pseudonymised_copy_of_a_whole_scan_is_left_out(scan: Path, tmp_path: Path) -> None:
    shutil.copytree(scan, tmp_path / "b")
    for path in (tmp_path / "b").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID = "A", "A"
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    shutil.copytree(scan, tmp_path / "z")
    (entry,) = inspect(tmp_path, headers=True).entries
    assert (entry.shape, entry.files, entry.copies) == (GRID.shape, 8, 4)
    assert len({frame.file.path.parent for frame in read(tmp_path).source.frames}) == 1


def test_the_given_copy(found: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = read(found / "slice-copy-in-other-encoding")
    i, j, k = np.indices((16, 12, 8))
    np.testing.assert_array_equal(volume.array, 3 * i + 50 * j + 700 * k)
    assert "copy.dcm: a copy of another file of the series; left out" in caplog.text
