from __future__ import annotations

import subprocess
import sys

import numpy as np
import pydicom
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError, OutputError, UsageError
from volseg.io import read, read_all, read_grid, read_labels, write
from volseg.io.images.nifti import write_nifti

LABELS = (Label(1, "liver", (255, 0, 0)), Label(5, "tumour", (0, 99, 0), "SCT:108369006"))


@pytest.fixture
def labelmap(oblique_grid) -> LabelMap:
    array = np.zeros(oblique_grid.shape, np.int64)
    array[4:9, 5:11, 2:7] = 1
    array[6, 7, 4] = 5
    return LabelMap(array, oblique_grid, LABELS)


@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nii", "labels.seg.nrrd"])
def test_label_map_round_trip(tmp_path, labelmap, name):
    written = write(labelmap, tmp_path / name)
    assert all(path.is_file() for path in written)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    back = read_labels(tmp_path / name)
    np.testing.assert_array_equal(back.array, labelmap.array)
    assert back.array.dtype == np.uint8
    assert back.grid.is_close(labelmap.grid)
    assert [(label.value, label.name, label.colour) for label in back.labels] == [
        (1, "liver", (255, 0, 0)),
        (5, "tumour", (0, 99, 0)),
    ]


def test_given_table_wins_over_the_sidecar_and_unnamed_values_get_a_name(tmp_path, labelmap):
    write(labelmap, tmp_path / "labels.nii.gz")
    (tmp_path / "mine.tsv").write_text("index\tname\n1\tmine\n")
    names = [label.name for label in read_labels(tmp_path / "labels.nii.gz", labels=tmp_path / "mine.tsv").labels]
    assert names == ["mine", "label_5"]


def test_one_slice_of_labels(tmp_path):
    plane = LabelMap.from_array(np.eye(6, dtype=np.uint8)[..., None], Grid.from_spacing((6, 6, 1)))
    write(plane, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii.gz").array, plane.array)


def test_integer_valued_floats_are_labels(tmp_path):
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1], array[2, 2, 2] = 300.0004, 1e-6
    write_nifti(array, Grid.from_spacing(array.shape), tmp_path / "a.nii")
    labels = read_labels(tmp_path / "a.nii")
    assert labels.array.dtype == np.uint16
    assert [label.value for label in labels.labels] == [300]


@pytest.mark.parametrize(("value", "message"), [(0.5, "has the value 0.5"), (-1.0, "has the label -1"), (1e30, "1e")])
def test_numbers_that_are_no_labels(tmp_path, value, message):
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = value
    write_nifti(array, Grid.from_spacing(array.shape), tmp_path / "a.nii")
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "a.nii")


def test_a_table_that_contradicts_itself_names_the_file(tmp_path, labelmap):
    write(labelmap, tmp_path / "a.nii")
    (tmp_path / "a.tsv").write_text("index\tname\n1\tlabel_5\n")
    with pytest.raises(InputError, match=r"a\.nii: label names given twice"):
        read_labels(tmp_path / "a.nii")


def test_one_of_several_volumes(tmp_path):
    array = np.stack([np.zeros((3, 3, 3)), np.ones((3, 3, 3))], axis=-1).astype(np.float32)
    path = tmp_path / "a.nii.gz"
    write_nifti(array, Grid.from_spacing((3, 3, 3)), path)
    with pytest.raises(AmbiguousError, match="a_0, a_1"):
        read(path)
    assert read(path, series="a_1").array.min() == 1
    with pytest.raises(InputError, match="expected one of a_0, a_1"):
        read(path, series="b")
    assert read_grid(path).shape == (3, 3, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nii.gz", None, "no such file or folder"),
        ("a.nii.gz", b"", "is empty"),
        ("a.nii", b"not an image" * 99, "is not NIfTI"),
        ("a.nrrd", b"not an image" * 99, "is not a NRRD"),
        ("a.mnc", b"not an image" * 99, "unknown type of file; readable are NIfTI"),
        ("folder", "folder", "no DICOM files in this folder"),
    ],
)
def test_bad_input_is_one_line(tmp_path, name, content, message):
    if content == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    for function in (read, read_all, read_grid, read_labels):
        with pytest.raises(InputError, match=message) as caught:
            function(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_what_cannot_be_written(tmp_path, labelmap, oblique_grid):
    with pytest.raises(
        UsageError, match=r"written as \.foo; use \.nii, \.nii\.gz, \.nrrd, \.mha, \.mgz, \.seg\.nrrd, \.dcm"
    ):
        write(labelmap, tmp_path / "a.foo")
    with pytest.raises(UsageError, match=r"\.seg\.nrrd; use \.nii, \.nii\.gz, \.nrrd, \.mha, \.mgz, or a folder"):
        write(Volume(np.zeros(oblique_grid.shape), oblique_grid), tmp_path / "a.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_dicom_goes_to_its_door(shared_data):
    folder = shared_data / "dicom" / "hippocampus_crop_1"
    assert read(folder).grid.shape == read_grid(folder).shape
    with pytest.raises(InputError, match="holds no DICOM segmentation or structure set; it is a scan"):
        read_labels(folder)


def test_doors_are_opened_late():
    heavy = "{'nibabel', 'SimpleITK', 'pydicom', 'torch', 'pydantic'}"
    code = f"import sys, volseg.io; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""


def test_labels_outside_the_image_are_said_or_refused(tmp_path, caplog):
    grid = Grid.from_spacing((8, 6, 5), (1, 1, 2))
    write(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), tmp_path / "scan")
    array = np.zeros(grid.shape, np.uint8)
    array[4:8, 1:3, 1:3] = 1
    moved = LabelMap.from_array(array, Grid.from_spacing(grid.shape, grid.spacing, (2, 0, 0)))
    write(moved, tmp_path / "seg.dcm", image=tmp_path / "scan", form="rtstruct")
    assert "seg.dcm: 50 % of the labelled voxels lie outside the image and are left out" in caplog.text
    away = LabelMap.from_array(array, Grid.from_spacing(grid.shape, grid.spacing, (20, 0, 0)))
    for form in ("seg", "labelmap", "rtstruct"):
        with pytest.raises(OutputError, match="100 % of the labelled voxels lie outside the image; give the scan"):
            write(away, tmp_path / "away.dcm", image=tmp_path / "scan", form=form)
    with pytest.raises(UsageError, match="got ndarray; expected a Volume or LabelMap"):
        write(array, tmp_path / "a.nii.gz")


def test_manual_contours_stay_manual(tmp_path):
    grid = Grid.from_spacing((8, 6, 5), (1, 1, 2))
    write(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), tmp_path / "scan")
    array = np.zeros(grid.shape, np.uint8)
    array[2:6, 1:3, 1:3], array[2:6, 4:6, 1:3] = 1, 2
    labels = (Label(1, "drawn", (9, 9, 9), algorithm="MANUAL"), Label(2, "found", (9, 9, 9)))
    for form in ("rtstruct", "seg", "labelmap"):
        write(LabelMap(array, grid, labels), tmp_path / f"{form}.dcm", image=tmp_path / "scan", form=form)
        found = read_labels(tmp_path / f"{form}.dcm", image=tmp_path / "scan").labels
        assert [label.algorithm for label in found] == ["MANUAL", None]


def test_labels_return_whole_onto_a_scan_with_a_missing_slice(tmp_path):
    grid = Grid.from_spacing((8, 6, 12), (1, 1, 2))
    files = write(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), tmp_path / "scan")
    files[4].unlink()
    image = read(tmp_path / "scan")
    assert image.grid.is_close(grid)
    array = np.zeros(grid.shape, np.uint8)
    array[2:6, 1:5, 1:11] = 1
    for form in ("seg", "labelmap"):
        write(LabelMap.from_array(array, grid), tmp_path / f"{form}.dcm", image=image, form=form)
        found = read_labels(tmp_path / f"{form}.dcm", image=image)
        np.testing.assert_array_equal(found.array, array)


def test_every_second_slice_stays_every_second_slice(tmp_path):
    grid = Grid.from_spacing((8, 6, 9), (1, 1, 2))
    write(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), tmp_path / "scan")
    array = np.zeros(grid.shape, np.uint8)
    array[2:6, 1:5, 1:8:2] = 1
    write(LabelMap.from_array(array, grid), tmp_path / "seg.dcm", image=tmp_path / "scan", form="seg")
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    del measures.SpacingBetweenSlices
    dataset.save_as(tmp_path / "seg.dcm")
    found = read_labels(tmp_path / "seg.dcm", image=tmp_path / "scan")
    np.testing.assert_array_equal(found.array, array)


def test_hostile_segmentation_is_refused_before_memory_is_taken(tmp_path):
    grid = Grid.from_spacing((8, 6, 5), (1, 1, 2))
    write(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), tmp_path / "scan")
    labels = LabelMap.from_array(np.ones(grid.shape, np.uint8), grid)
    for form in ("seg", "labelmap"):
        write(labels, tmp_path / "seg.dcm", image=tmp_path / "scan", form=form)
        dataset = pydicom.dcmread(tmp_path / "seg.dcm")
        dataset.Rows = dataset.Columns = 65535
        dataset.save_as(tmp_path / "seg.dcm")
        with pytest.raises(InputError, match=r"its header asks for \d+ bytes of pixels"):
            read_labels(tmp_path / "seg.dcm")


def test_contours_of_a_number_that_repeats_are_nobodys(tmp_path):
    grid = Grid.from_spacing((8, 6, 5), (1, 1, 2))
    write(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), tmp_path / "scan")
    array = np.zeros(grid.shape, np.uint8)
    array[1:3, 1:3], array[4:6, 1:3] = 1, 2
    write(LabelMap.from_array(array, grid), tmp_path / "rs.dcm", image=tmp_path / "scan", form="rtstruct")
    dataset = pydicom.dcmread(tmp_path / "rs.dcm")
    dataset.ROIContourSequence[1].ReferencedROINumber = 1
    dataset.save_as(tmp_path / "rs.dcm")
    with pytest.raises(InputError, match="ROI 1 is drawn twice, so its contours are ambiguous"):
        read_labels(tmp_path / "rs.dcm", image=tmp_path / "scan")
