from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError, UsageError
from volseg.io import read, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.verification import Verification, verify

GRID = Grid.from_spacing((20, 16, 12), (2, 1.5, 3), (-40, 30, 11))
ARRAY = np.zeros(GRID.shape, np.uint8)
ARRAY[3:12, 3:9, 3:9] = 1
LABELS = (Label(1, "liver", (200, 0, 0)),)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "scan.nii")[0]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    array = np.arange(ARRAY.size, dtype=np.int16).reshape(GRID.shape)
    write_dicom_series(Volume(array, GRID, modality="CT"), tmp_path / "slices")
    return tmp_path / "slices"


def saved(folder: Path, array: np.ndarray, affine: np.ndarray, name: str = "labels.nii") -> Path:
    nibabel.Nifti1Image(array, affine).to_filename(folder / name)
    return folder / name


def shifted(x_mm: float) -> np.ndarray:
    affine = GRID.affine.copy()
    affine[0, 3] += x_mm
    return affine


def test_same_grid(image: Path, tmp_path: Path) -> None:
    found = verify(image, saved(tmp_path, ARRAY, GRID.affine))
    assert found.agrees
    assert (found.relation, found.worst_corner_mm, found.outside_fraction) == ("same grid", 0, 0)
    assert found.label_extent == ((3, 11), (3, 8), (3, 8))
    assert (found.same_frame_of_reference, found.refers_to_image) == (None, None)
    assert "lies on the grid of the image (corners up to 0 mm apart)" in found.describe()
    assert "convert" not in found.describe()


def test_a_micrometre_agrees(image: Path, tmp_path: Path) -> None:
    found = verify(image, saved(tmp_path, ARRAY, shifted(1e-3)))
    assert found.agrees
    assert found.worst_corner_mm == pytest.approx(1e-3, rel=1e-3)


def test_flipped_storage_agrees(image: Path, tmp_path: Path) -> None:
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = GRID.shape[0] - 1
    found = verify(image, saved(tmp_path, ARRAY[::-1], GRID.affine @ flip))
    assert (found.agrees, found.relation) == (True, "other storage order")
    assert found.label_extent == ((3, 11), (3, 8), (3, 8))
    assert "stored in another order" in found.describe()


def test_a_millimetre_disagrees(image: Path, tmp_path: Path) -> None:
    path = saved(tmp_path, ARRAY, shifted(1))
    found = verify(image, path)
    assert (found.agrees, found.relation, found.shift_mm) == (False, "other grid", (1, 0, 0))
    text = found.describe()
    assert "is displaced by (1, 0, 0) mm (corners up to 1 mm apart); if it was drawn" in text
    assert not found
    assert "if it was drawn on this image, its header is wrong" in text
    assert f"`volseg convert {path} OUT --image {image}`" in text
    assert verify(image, path, tolerance_mm=1.5).agrees


def test_other_grids_disagree(image: Path, tmp_path: Path) -> None:
    coarse = verify(image, saved(tmp_path, ARRAY[::2], GRID.affine @ np.diag([2.0, 1, 1, 1])))
    assert (coarse.agrees, coarse.relation) == (False, "other grid")
    mirrored = verify(image, saved(tmp_path, ARRAY, np.diag([-1.0, -1, 1, 1]) @ GRID.affine))
    assert "is mirrored: left and right, front and back are exchanged, as if LPS had been taken for RAS" in (
        mirrored.describe()
    )
    lost = verify(image, saved(tmp_path, ARRAY, shifted(-10)))
    assert "22.2 % of it lies outside the image" in lost.describe()
    part = verify(image, saved(tmp_path, ARRAY[2:], GRID.crop((2, 0, 0), GRID.shape).affine))
    assert (part.agrees, part.relation) == (False, "part of the grid")
    assert "`volseg convert" in part.describe()
    apart = verify(image, saved(tmp_path, ARRAY, shifted(500)))
    assert (apart.relation, apart.outside_fraction) == ("apart", 1)
    assert "it belongs to another scan, or its header is wrong" in apart.describe()


def test_folder_of_a_predicted_case(image: Path, tmp_path: Path) -> None:
    write(LabelMap(ARRAY, GRID, LABELS), tmp_path / "case" / "labels.nii.gz")
    assert verify(image, tmp_path / "case").agrees


def test_empty_segmentation(image: Path, tmp_path: Path) -> None:
    found = verify(image, saved(tmp_path, ARRAY * 0, GRID.affine))
    assert (found.agrees, found.label_extent, found.outside_fraction) == (True, None, None)


@pytest.mark.parametrize(
    ("form", "relation"),
    [("seg", "part of the grid"), ("labelmap", "same grid"), ("rtstruct", "contours")],
)
def test_dicom_objects_agree_with_their_series(series: Path, tmp_path: Path, form: str, relation: str) -> None:
    path = tmp_path / "labels.dcm"
    write(LabelMap(ARRAY, GRID, LABELS), path, image=read(series), form=form)
    found = verify(series, path)
    assert (found.agrees, found.relation) == (True, relation)
    assert (found.same_frame_of_reference, found.refers_to_image) == (True, True)
    assert found.label_extent == ((3, 11), (3, 8), (3, 8))
    assert found.outside_fraction == 0
    assert found.contour_slices == (6 if form == "rtstruct" else None)


@pytest.mark.parametrize("tilted", [False, True])
def test_contours_lie_on_slices_not_on_a_grid(series: Path, tmp_path: Path, tilted: bool) -> None:
    for file in sorted(series.iterdir()) if tilted else ():
        dataset = pydicom.dcmread(file)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, round(y + 0.3 * (z - 11), 6), z]
        dataset.save_as(file)
    scan = read(series)
    array = np.zeros(scan.grid.shape, np.uint8)
    array[3:12, 3:9, 3:9] = 1
    path = tmp_path / "rs.dcm"
    write(LabelMap(array, scan.grid, LABELS), path, image=scan, form="rtstruct")
    found = verify(series, path)
    assert found.agrees
    assert "has contours in patient mm, on 6 slices of the image" in found.describe()


def test_contours_and_an_image_that_is_no_dicom(image: Path, series: Path, tmp_path: Path) -> None:
    path = tmp_path / "rs.dcm"
    write(LabelMap(ARRAY, GRID, LABELS), path, image=read(series), form="rtstruct")
    found = verify(image, path)
    assert (found.agrees, found.refers_to_image, found.contour_slices, found.contours_between) == (True, None, 6, 0)
    half = Grid.from_spacing(GRID.shape, GRID.spacing, (-40, 30, 12))
    between = verify(write(Volume(np.zeros(GRID.shape, np.int16), half), tmp_path / "half.nii")[0], path)
    assert (between.agrees, between.contour_slices, between.contours_between) == (False, 0, 6)
    assert "on 0 slices of the image, 6 of them between slices; it belongs to another scan" in between.describe()
    small = write(Volume(np.zeros((20, 16, 6), np.int16), GRID.crop((0, 0, 0), (20, 16, 6))), tmp_path / "small.nii")[0]
    outside = verify(small, path)
    assert (outside.agrees, outside.contour_slices, outside.outside_fraction) == (False, 3, 0.5)


def test_the_series_that_was_segmented_is_chosen(series: Path, tmp_path: Path) -> None:
    write(LabelMap(ARRAY, GRID, LABELS), tmp_path / "labels.dcm", image=read(series))
    write_dicom_series(Volume(np.zeros(GRID.shape, np.int16), GRID), series / "other", description="other")
    found = verify(series, tmp_path / "labels.dcm")
    assert (found.agrees, found.refers_to_image) == (True, True)
    text = verify(series, tmp_path / "labels.dcm", series="other").describe()
    assert f"was made on another series than {series}; on this one it has voxels of the image" in text
    assert text.endswith(found.made_on[0])


def test_a_scan_is_no_segmentation(image: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 300, GRID.shape).astype(np.int16)
    with pytest.raises(InputError, match="different values, as a scan has; if these are labels, give a table"):
        verify(image, saved(tmp_path, values, GRID.affine))


def test_another_patient_space_disagrees(series: Path, tmp_path: Path) -> None:
    write(LabelMap(ARRAY, GRID, LABELS), tmp_path / "labels.dcm", image=read(series))
    frame, uid = generate_uid(), generate_uid()
    for file in series.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.FrameOfReferenceUID, dataset.SeriesInstanceUID = frame, uid
        dataset.save_as(file)
    found = verify(series, tmp_path / "labels.dcm")
    assert (found.agrees, found.same_frame_of_reference, found.refers_to_image) == (False, False, False)
    assert "of another patient space (FrameOfReferenceUID)" in found.describe()


def test_another_series_of_the_same_space_agrees(series: Path, tmp_path: Path) -> None:
    write(LabelMap(ARRAY, GRID, LABELS), tmp_path / "labels.dcm", image=read(series))
    uid = generate_uid()
    for file in series.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = uid
        dataset.save_as(file)
    found = verify(series, tmp_path / "labels.dcm")
    assert (found.agrees, found.same_frame_of_reference, found.refers_to_image) == (True, True, False)


def test_segmentation_of_a_tilted_stack_belongs_to_it(series: Path, tmp_path: Path) -> None:
    for file in sorted(series.iterdir()):
        dataset = pydicom.dcmread(file)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, round(y + 0.3 * (z - 11), 6), z]
        dataset.save_as(file)
    image = read(series)
    array = np.zeros(image.grid.shape, np.uint8)
    array[5:9, 8:14, 4:9] = 1
    write(LabelMap(array, image.grid, LABELS), tmp_path / "seg.dcm", image=image)
    found = verify(series, tmp_path / "seg.dcm")
    assert (found.agrees, found.relation, found.refers_to_image) == (True, "slices of a scan", True)
    write(LabelMap(array, image.grid, LABELS), tmp_path / "labels.nii.gz")
    assert verify(series, tmp_path / "labels.nii.gz").relation == "same grid"  # as volseg reads the scan


def test_json_has_the_documented_keys(image: Path, tmp_path: Path) -> None:
    content = verify(image, saved(tmp_path, ARRAY, shifted(1))).to_dict()
    assert json.loads(json.dumps(content, allow_nan=False))["shift_mm"] == [1, 0, 0]
    assert all(key in str(Verification.__doc__) for key in content)


def test_what_is_no_segmentation_is_refused(image: Path, series: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has the value 0\.5"):
        verify(image, saved(tmp_path, ARRAY / np.float32(2), GRID.affine))
    with pytest.raises(InputError, match="holds no DICOM segmentation or structure set"):
        verify(image, series)
    with pytest.raises(InputError, match=r"none.nii: no such file"):
        verify(image, tmp_path / "none.nii")


def test_real_mask_of_another_grid(shared_data: Path) -> None:
    hard = shared_data / "hard"
    mask = hard / "nifti" / "nii-mask-other-grid" / "PET_mask.nii.gz"
    if not mask.is_file():
        pytest.skip("the hard cases are not here")
    found = verify(hard / "dicom" / "ct-ibsi-sts002", mask)
    assert (found.agrees, found.relation) == (False, "other grid")
    assert found.worst_corner_mm == pytest.approx(6.94, abs=0.01)
    assert verify(hard / "dicom" / "pet-ibsi-per-slice-rescale", mask).agrees
    structures = verify(hard / "dicom" / "ct-ibsi-sts002", hard / "seg" / "rtstruct-ibsi-pet" / "RS.dcm")
    assert (structures.agrees, structures.same_frame_of_reference) == (False, True)
    assert "was made on another series" in structures.describe()


def test_several_volumes_are_masks_or_one_is_chosen(image: Path, tmp_path: Path) -> None:
    assert verify(
        image, saved(tmp_path, np.stack([ARRAY > 0, ARRAY > 0], axis=-1).astype(np.uint8), GRID.affine)
    ).agrees
    path = saved(tmp_path, np.stack([ARRAY + 1, ARRAY], axis=-1), GRID.affine)
    with pytest.raises(AmbiguousError, match=r"holds 2 volumes .*, and not all are masks .*choose one by its name"):
        verify(image, path)
    assert verify(image, path, series="labels_1").agrees


@pytest.mark.parametrize("tolerance", [float("inf"), float("nan"), -1.0])
def test_a_tolerance_that_is_none_is_refused(tmp_path, tolerance):
    with pytest.raises(UsageError, match="expected millimetres of at least 0"):
        verify(tmp_path / "a.nii", tmp_path / "b.nii", tolerance_mm=tolerance)
