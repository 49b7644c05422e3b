from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap, present_values
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.inspection import inspect
from volseg.io import Catalogue, read, read_labels, read_scan_of, write
from volseg.io.dicom import scan_dicom, write_dicom_series
from volseg.verification import verify

GRID = Grid.from_spacing((6, 5, 4))
LABELS = (Label(2, "left kidney", (200, 0, 0)), Label(1, "liver", (0, 200, 0)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A series with a segmentation, a label map segmentation and a structure set beside it."""
    scan = Volume(np.arange(120, dtype=np.int16).reshape(GRID.shape), GRID, modality="CT")
    write_dicom_series(scan, tmp_path)
    array = np.zeros(GRID.shape, np.uint8)
    array[1:3, 1:3, 1:3], array[4, 2:4, 1:3] = 1, 2
    image = read(tmp_path)
    for form in ("seg", "labelmap", "rtstruct"):
        write(LabelMap(array, GRID, LABELS), tmp_path / f"{form}.dcm", image=image, form=form)
    return tmp_path


def scan_of(labels: Path, image: Path, series: str | None = None) -> Volume:
    return read_scan_of(Catalogue(labels), Catalogue(image), series=series)


def test_names_and_references(folder: Path) -> None:
    slices = pydicom.dcmread(folder / "0001.dcm")
    found = scan_dicom(folder).labels
    assert [header.file.name for header in found] == ["labelmap.dcm", "rtstruct.dcm", "seg.dcm"]
    assert [header.is_contours for header in found] == [False, True, False]
    for header in found:
        assert header.names == ("liver", "left kidney")
        assert header.reference.series_uids == (slices.SeriesInstanceUID,)
        assert header.reference.frame_of_reference_uid == slices.FrameOfReferenceUID


def test_frame_of_reference_of_structures_without_one_of_their_own(folder: Path) -> None:
    dataset = pydicom.dcmread(folder / "rtstruct.dcm")
    expected = dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    dataset.pop("FrameOfReferenceUID", None)
    dataset.pop("ReferencedFrameOfReferenceSequence", None)
    dataset.save_as(folder / "rtstruct.dcm")
    (labels,) = scan_dicom(folder / "rtstruct.dcm").labels
    reference = labels.reference
    assert (reference.series_uids, reference.frame_of_reference_uid) == ((), expected)


def test_damage_names_the_file(folder: Path) -> None:
    segment_number = b"\x62\x00\x04\x00"
    content = (folder / "seg.dcm").read_bytes()
    (folder / "seg.dcm").write_bytes(content.replace(segment_number + b"US", segment_number + b"FL"))
    (labels,) = scan_dicom(folder / "seg.dcm").labels
    assert (labels.problem or "").startswith("damaged DICOM object")
    (entry,) = inspect(folder / "seg.dcm", headers=True).entries
    assert f"{folder / 'seg.dcm'}: damaged DICOM object" in (entry.problem or "")
    with pytest.raises(InputError, match=r"seg.dcm: "):
        read_labels(folder / "seg.dcm")


def test_a_name_decides_before_the_content(folder: Path, tmp_path: Path) -> None:
    assert Catalogue(folder).is_dicom
    assert Catalogue(folder / "seg.dcm").is_dicom
    (folder / "seg.dcm").rename(folder / "seg.nii")
    assert not Catalogue(folder / "seg.nii").is_dicom
    assert not Catalogue(folder / "none").is_dicom


def test_the_one_object_of_a_path(folder: Path) -> None:
    assert Catalogue(folder).label_object is None  # three of them
    assert Catalogue(folder / "0001.dcm").label_object is None
    found = {name: Catalogue(folder / f"{name}.dcm").label_object for name in ("seg", "labelmap", "rtstruct")}
    assert {name: label and label.is_contours for name, label in found.items()} == {
        "seg": False,
        "labelmap": False,
        "rtstruct": True,
    }


def test_labels_choose_their_series(folder: Path) -> None:
    other = Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT")
    write_dicom_series(other, folder / "other", description="other")
    with pytest.raises(AmbiguousError, match="choose one"):
        scan_of(folder / "none.nii", folder)
    for name in ("seg.dcm", "rtstruct.dcm"):
        assert scan_of(folder / name, folder).array.max() == 119
        assert scan_of(folder / name, folder, series="other").array.max() == 0


@pytest.fixture
def shared_uid(tmp_path: Path) -> Path:
    """Two patients of one series UID, in the same places, in a folder `scan`; labels of each beside it."""
    for n in range(2):
        scan = Volume(np.full(GRID.shape, n, np.int16), GRID, modality="CT")
        for path in write_dicom_series(scan, tmp_path / "scan" / f"{n}", description="scan"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = f"P{n}"
            dataset.StudyInstanceUID = dataset.SeriesInstanceUID = dataset.FrameOfReferenceUID = "1.2.3"
            dataset.save_as(path)
        array = np.zeros(GRID.shape, np.uint8)
        array[1:3, 1:3, n : n + 2] = 1
        image = read(tmp_path / "scan", series=f"P{n}")
        for form in ("seg", "rtstruct"):
            write(LabelMap(array, GRID, LABELS[1:]), tmp_path / f"{form}{n}.dcm", image=image, form=form)
    return tmp_path


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
@pytest.mark.parametrize("n", [0, 1])
def test_labels_choose_the_volume_whose_slices_they_refer_to(shared_uid: Path, form: str, n: int) -> None:
    labels, scan = shared_uid / f"{form}{n}.dcm", shared_uid / "scan"
    assert scan_of(labels, scan).array.max() == n
    assert verify(scan, labels).agrees
    assert not verify(scan, labels, series=f"P{1 - n}").agrees
    shutil.move(labels, scan / "labels.dcm")
    assert present_values(read_labels(scan / "labels.dcm").array) == {1}
    *scans, entry = inspect(scan, headers=True).entries
    assert entry.refers_to == (scans[n].series,)


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_what_frames_and_contours_were_made_on_decides(shared_uid: Path, form: str) -> None:
    """Labels that list the instances of both volumes, as from writers that use the series UID."""
    labels = shared_uid / f"{form}1.dcm"
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in (shared_uid / "scan").rglob("*.dcm")]
    items = []
    for uid in uids:
        items.append(pydicom.Dataset())
        items[-1].ReferencedSOPClassUID, items[-1].ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    dataset = pydicom.dcmread(labels)
    if form == "seg":
        dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = items
    else:
        study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        study.RTReferencedSeriesSequence[0].ContourImageSequence = items
    dataset.save_as(labels)
    assert scan_of(labels, shared_uid / "scan").array.max() == 1


def test_a_structure_set_without_its_list_is_damaged(folder: Path) -> None:
    path = folder / "rtstruct.dcm"
    dataset = pydicom.dcmread(path)
    del dataset.StructureSetROISequence
    dataset.save_as(path)
    (entry,) = inspect(path).entries
    assert f"{path}: damaged DICOM object (it has no list of structures)" in (entry.problem or "")
