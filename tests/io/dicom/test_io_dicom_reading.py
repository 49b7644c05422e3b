from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from handmade_dicom import bare_headers
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid
from scipy.spatial.transform import Rotation
from world import assert_same_in_world

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError, MissingPackageError
from volseg.io import read, read_all
from volseg.io.dicom import is_dicom, scan_dicom
from volseg.io.dicom.repair import plan_repair
from volseg.io.dicom.stack import make_stack
from volseg.io.dicom.writing import write_dicom_series


def phantom(grid: Grid) -> Volume:
    """Every voxel has another value, so that any flip, swap or shift shows."""
    return Volume(np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape) - 1000, grid, modality="CT")


@pytest.fixture
def axial() -> Volume:
    return phantom(Grid.from_spacing((6, 5, 8), (0.7, 0.9, 2.0), (10, -20, 30)))


@pytest.fixture
def files(axial: Volume, tmp_path: Path) -> list[Path]:
    return write_dicom_series(axial, tmp_path / "scan", description="phantom")


def edit(path: Path, change: Callable[[Any], object]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def read_with_sitk(files: list[Path]) -> tuple[NDArray[Any], Grid]:
    image = SimpleITK.ReadImage([str(file) for file in files])
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    array = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return array, Grid((array.shape[0], array.shape[1], array.shape[2]), RAS_TO_LPS @ affine)


# ------------------------------------------------------------------------------------------------ order and place


def test_names_and_instance_numbers_do_not_decide_the_order(oblique_grid: Grid, tmp_path: Path) -> None:
    expected = phantom(oblique_grid)
    order = np.random.default_rng(3).permutation(oblique_grid.shape[2])
    for number, path in zip(order, write_dicom_series(expected, tmp_path), strict=True):
        edit(path, lambda dataset, number=number: setattr(dataset, "InstanceNumber", int(number)))
        target = tmp_path / f"Ä {number}" / f"{number} noext"
        target.parent.mkdir()
        path.rename(target)
    volume = read(tmp_path)
    assert_same_in_world(volume, expected)
    assert volume.array.dtype == np.int16
    assert (volume.name, volume.modality, volume.unit) == ("volseg phantom", "CT", "HU")


def test_slices_ascend_along_their_normal_and_the_source_follows(axial: Volume, files: list[Path]) -> None:
    volume = read(files[0].parent)
    assert volume.grid.orientation == "RAS"
    assert_same_in_world(volume, axial)
    source = pickle.loads(pickle.dumps(volume.source))  # noqa: S301
    datasets = [pydicom.dcmread(frame.file.path) for frame in source.frames]
    heights = [float(dataset.ImagePositionPatient[2]) for dataset in datasets]
    assert heights == [volume.grid.to_world([0, 0, k])[2] for k in range(8)] == sorted(heights)
    assert [frame.sop_instance_uid for frame in source.frames] == [dataset.SOPInstanceUID for dataset in datasets]
    for k, frame in enumerate(source.frames):
        np.testing.assert_allclose(frame.plane @ [5, 4, 0, 1], [*volume.grid.to_world([5, 4, k]), 1], atol=1e-9)
    assert source.series_uid == pydicom.dcmread(files[0]).SeriesInstanceUID


def test_a_drift_below_half_a_pixel_is_kept_exactly(files: list[Path]) -> None:
    for k, path in enumerate(files):
        edit(path, lambda dataset, k=k: setattr(dataset, "ImagePositionPatient", [0, 0.045 * k, 2.0 * k]))
    volume = read(files[0].parent)
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 7]), [0, -0.315, 14], atol=1e-9)
    assert volume.array.shape == (6, 5, 8)


@pytest.mark.parametrize(
    "folder",
    [
        "brain_mr_t1post_oblique",
        "brain_mr_t1post_straight",
        "hippocampus_crop_1",
        "hippocampus_crop_2",
        "hippocampus_crop_3",
        "sarcoma_ct",
        "sarcoma_pet",
    ],
)
def test_real_series_are_where_simpleitk_puts_them(shared_data: Path, folder: str) -> None:
    (series,) = scan_dicom(shared_data / "dicom" / folder).readable()
    volume = read(shared_data / "dicom" / folder)
    array, grid = read_with_sitk([file.path for file in volume.source.files])
    assert len(series.frames) == grid.shape[2]
    assert volume.grid.distance_mm(grid) < 0.01
    np.testing.assert_allclose(volume.array, array, rtol=1e-6)


grids = st.builds(
    lambda turn, spacing, origin, count: Grid(
        (5, 7, count),
        np.vstack([np.c_[Rotation.from_euler("xyz", turn).as_matrix() * spacing, origin], [0, 0, 0, 1]]),
    ),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(0.1, 8)] * 3),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.integers(3, 9),
)


@given(grids, st.randoms(use_true_random=False))
def test_any_grid_is_found_again_from_shuffled_slices(grid: Grid, random: Any) -> None:
    slices = bare_headers(grid)
    random.shuffle(slices)
    stack = make_stack(slices)
    assert plan_repair(stack) is None
    assert stack.grid.is_close(grid, tolerance_mm=1e-6)
    assert [header.file.path.stem for header in stack.frames] == [str(k) for k in range(grid.shape[2])]


@given(grids, st.data())
def test_no_missing_inner_slice_goes_unseen(grid: Grid, data: st.DataObject) -> None:
    slices = bare_headers(grid.pad(2))
    del slices[data.draw(st.integers(1, len(slices) - 2))]
    repair = plan_repair(make_stack(slices))
    assert repair is not None
    assert "slices are missing (1)" in repair.what
    assert 0.39 * grid.spacing[2] <= repair.displacement_mm < grid.spacing[2]
    assert repair.grid.is_close(grid.pad(2), tolerance_mm=1e-3)


# ---------------------------------------------------------------------------------------------- broken stacks


def smooth(grid: Grid) -> NDArray[np.float64]:
    """A field that is linear in the patient's millimetres, so that linear interpolation is exact."""
    xyz = grid.to_world(np.stack(np.indices(grid.shape), axis=-1))
    return np.asarray(xyz @ [3.0, -5.0, 7.0])


def assert_smooth(volume: Volume, *, within: float, tolerance: float = 0.02) -> None:
    """Check the linear field where it is known: `within` of the volume's voxels, as the rest is background."""
    difference = np.abs(volume.array - smooth(volume.grid))
    assert (difference < tolerance).mean() >= within


def write_smooth(grid: Grid, folder: Path) -> list[Path]:
    return write_dicom_series(Volume(smooth(grid), grid, modality="MR"), folder)


def test_missing_slice_is_filled_at_the_true_positions_and_said(
    axial: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_smooth(axial.grid, tmp_path)
    files[3].unlink()
    volume = read(tmp_path)
    assert volume.grid.is_close(axial.grid)
    assert_smooth(volume, within=1.0)
    assert (
        "slices are missing (1): 4 mm from z = 34.00 mm (0003.dcm) to z = 38.00 mm (0005.dcm), 2 mm is usual; "
        "resampled at the true positions onto 8 straight slices 2 mm apart (stacked without resampling, slices "
        "would be off by up to 1 mm)"
    ) in caplog.text
    assert len(volume.source.frames) == 7
    with pytest.raises(InputError, match=r"slices are missing \(1\): .*; refused, as repairs are switched off"):
        read(tmp_path, strict=True)


def test_a_hole_of_more_than_three_spacings_is_refused(files: list[Path]) -> None:
    for path in files[3:6]:
        path.unlink()
    message = r"slices are missing: 8 mm from z = 34.00 mm \(0003.dcm\) to z = 42.00 mm .*expected 2 mm"
    with pytest.raises(InputError, match=message):
        read(files[0].parent)


def test_uneven_spacing_is_resampled_at_the_true_positions(
    axial: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heights = [0, 2, 4, 6.7, 8.7, 10.7]
    for number, height in enumerate(heights):
        one = Grid.from_spacing((6, 5, 1), axial.grid.spacing, (10, -20, 30 + height))
        (file,) = write_smooth(one, tmp_path / str(number))
        edit(file, lambda d: setattr(d, "SeriesInstanceUID", "1.2.3"))
        edit(file, lambda d: setattr(d, "FrameOfReferenceUID", "1.2.4"))
    volume = read(tmp_path)
    assert volume.grid.shape == (6, 5, 6)
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 5]), [10, -20, 40.7])
    assert_smooth(volume, within=1.0)
    assert "the spacing is uneven: 2.7 mm from z = 34.00 mm" in caplog.text


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("drift", [0.5, -0.8])
def test_tilted_gantry_is_straightened_at_the_true_positions(
    axial: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture, axis: int, drift: float
) -> None:
    affine = axial.grid.affine.copy()
    affine[axis, 2] = drift
    tilted = Grid((24, 20, 8), affine)
    folder = tmp_path / "tilted"
    template = write_smooth(Grid((24, 20, 8), axial.grid.affine), folder)
    values = smooth(tilted)
    for k, path in enumerate(template):

        def change(dataset: Any, k: int = k) -> None:
            slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
            stored = np.rint((values[:, :, k] - intercept) / slope).clip(-32768, 32767)
            dataset.PixelData = stored.astype("<i2").T.tobytes()
            dataset.ImagePositionPatient = list(RAS_TO_LPS[:3, :3] @ tilted.to_world([0, 0, k]))

        edit(path, change)
    volume = read(folder)
    assert not volume.grid.is_sheared
    assert volume.grid.spacing == pytest.approx(axial.grid.spacing)
    angle = np.degrees(np.arctan2(abs(drift), 2))
    assert f"the stack is tilted by {angle:.3g} degrees" in caplog.text
    assert f"off by up to {abs(drift) * 7:.3g} mm" in caplog.text
    assert_smooth(volume, within=24 * 20 * 8 / np.prod(volume.grid.shape) * 0.9, tolerance=0.2)
    # Every slice is where its header puts it.
    for k, frame in enumerate(volume.source.frames):
        np.testing.assert_allclose((frame.plane @ [0, 0, 0, 1])[:3], tilted.to_world([0, 0, k]), atol=1e-6)


def test_slice_shifted_sideways_is_put_where_its_header_says(
    files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    edit(files[4], lambda d: setattr(d, "ImagePositionPatient", [-9.3, 20, d.ImagePositionPatient[2]]))
    stored = pydicom.dcmread(files[4]).pixel_array
    volume = read(files[0].parent)
    assert "slices are shifted sideways by up to 0.7 mm" in caplog.text
    i, j, k = np.rint(volume.grid.to_voxel([9.3, -20, 38])).astype(int)
    assert volume.array[i, j, k] == stored[0, 0]


def test_slices_beside_each_other_are_refused(files: list[Path]) -> None:
    edit(files[4], lambda d: setattr(d, "ImagePositionPatient", [-90, 20, d.ImagePositionPatient[2]]))
    with pytest.raises(InputError, match="the slices lie side by side, up to 80 mm apart"):
        read(files[0].parent)


def test_turned_slice_is_refused(files: list[Path]) -> None:
    edit(files[4], lambda d: setattr(d, "ImageOrientationPatient", [-0.99996875, 0.0079, 0, -0.0079, -0.99996875, 0]))
    for path in files:
        edit(path, lambda d: setattr(d, "PixelSpacing", [9, 9]))
    with pytest.raises(InputError, match=r"0005.dcm: the slice at z = 38.00 mm is rotated against the first"):
        read(files[0].parent)


def test_other_pixel_spacing_in_one_slice_is_an_image_of_its_own(
    files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    edit(files[4], lambda d: setattr(d, "PixelSpacing", [0.9, 0.8]))
    assert read(files[0].parent).grid.shape == (6, 5, 8)
    assert "slices are missing (1)" in caplog.text
    assert "left out, beside the series that is read: 1 'phantom' CT 6x5x1" in caplog.text


def test_rounding_of_positions_is_no_gap(axial: Volume, files: list[Path]) -> None:
    for k, path in enumerate(files):
        edit(path, lambda d, k=k: setattr(d, "ImagePositionPatient", [-10, 20, 30 + 2 * k + 0.004 * (-1) ** k]))
    assert read(files[0].parent).grid.distance_mm(axial.grid) < 0.01


def test_byte_identical_copy_is_dropped_with_a_note(files: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(files[2], files[2].with_name("copy.dcm"))
    assert read(files[0].parent).grid.shape == (6, 5, 8)
    assert "copy.dcm: a copy of another file of the series; left out" in caplog.text


def test_same_position_twice_is_refused(files: list[Path]) -> None:
    other = files[2].with_name("other.dcm")
    shutil.copy(files[2], other)
    edit(other, lambda d: setattr(d, "SOPInstanceUID", generate_uid()))
    with pytest.raises(InputError, match=r"0003.dcm and .*other.dcm: two slices at the same position \(z = 34.00 mm\)"):
        read(files[0].parent)


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_names_tag_and_file(files: list[Path], tag: str) -> None:
    for path in files:
        edit(path, lambda d: delattr(d, tag))
    with pytest.raises(InputError, match=rf"0001.dcm: {tag} is missing"):
        read(files[0].parent)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("PixelSpacing", [0, 0.7], "PixelSpacing is .*; expected two numbers above 0"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "expected two perpendicular unit vectors"),
        ("ImageOrientationPatient", [1, 0, 0], "expected 6 finite number"),
        ("RescaleSlope", 0, "RescaleSlope is 0"),
        ("Rows", 0, "Rows is 0 or missing; expected at least 1"),
        ("Rows", 500, "0001.dcm: damaged DICOM file.* asks for 6000 bytes of pixels, the file has"),
        ("SamplesPerPixel", 3, "a colour image .MONOCHROME2. is not a scan"),
        ("PhotometricInterpretation", "PALETTE COLOR", "a colour image .PALETTE COLOR. is not a scan"),
        ("NumberOfFrames", 10**7, "its header asks for 600000000 bytes of pixels"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "MOSAIC"], "it is a mosaic without a number of slices"),
    ],
)
def test_unusable_value_is_refused_by_name(files: list[Path], tag: str, value: object, message: str) -> None:
    for path in files:
        edit(path, lambda d: setattr(d, tag, value))
    with pytest.raises(InputError, match=message):
        read(files[0].parent)


# -------------------------------------------------------------------------------------- files that do not belong


def test_single_file_is_one_slice(axial: Volume, files: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    volume = read(files[3])
    assert volume.grid.is_close(axial.grid.crop((0, 0, 3), (6, 5, 4)))
    np.testing.assert_array_equal(volume.array, axial.array[:, :, 3:4])
    edit(files[3], lambda d: (delattr(d, "SliceThickness"), delattr(d, "SpacingBetweenSlices")))
    assert read(files[3]).grid.spacing[2] == 1.0
    assert "a single slice without SliceThickness; taken as 1 mm thick" in caplog.text


def test_objects_without_image_are_never_stacked(files: list[Path]) -> None:
    for uid, name in [("1.2.840.10008.5.1.4.1.1.66.4", "seg.dcm"), ("1.2.840.10008.5.1.4.1.1.481.3", "rt.dcm")]:
        shutil.copy(files[0], files[0].with_name(name))
        edit(files[0].with_name(name), lambda d, uid=uid: setattr(d, "SOPClassUID", uid))
    (files[0].parent / "notes.txt").write_text("not DICOM", encoding="utf-8")
    (files[0].parent / "._0001.dcm").write_bytes(b"resource fork")
    assert read(files[0].parent).grid.shape == (6, 5, 8)
    with pytest.raises(InputError, match=r"seg.dcm: no DICOM image series; found only Segmentation"):
        read(files[0].with_name("seg.dcm"))


def test_two_series_are_listed_and_chosen(axial: Volume, files: list[Path]) -> None:
    other = axial.with_array(axial.array + 7)
    for path in write_dicom_series(other, files[0].parent / "deep", description="second"):
        edit(path, lambda d: setattr(d, "SeriesNumber", 42))
    root = files[0].parent
    with pytest.raises(AmbiguousError, match=r"2 DICOM series; choose one .* 1 'phantom' CT 6x5x8 .* 42 'second' CT"):
        read(root)
    uid = pydicom.dcmread(path).SeriesInstanceUID
    for wanted in ("42", "second", uid, uid[-9:]):
        np.testing.assert_array_equal(read(root, series=wanted).array, other.array)
    with pytest.raises(InputError, match="no DICOM series 'third'; expected one of: 1 'phantom'"):
        read(root, series="third")
    assert list(read_all(root)) == ["phantom", "second"]


def test_series_of_one_name_get_unique_names(axial: Volume, files: list[Path]) -> None:
    for folder in ("b", "c"):
        write_dicom_series(axial, files[0].parent / folder, description="phantom")
    assert list(read_all(files[0].parent)) == ["phantom", "phantom_1", "phantom_1_2"]
    with pytest.raises(AmbiguousError, match="3 DICOM series that match 'phantom'"):
        read(files[0].parent, series="phantom")


def test_two_orientations_of_one_series_are_two_entries(files: list[Path]) -> None:
    for path in files[5:]:
        edit(path, lambda d: setattr(d, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]))
        edit(path, lambda d: setattr(d, "ImagePositionPatient", list(d.ImagePositionPatient)[::-1]))
    uid = pydicom.dcmread(files[0]).SeriesInstanceUID
    assert [series.id for series in scan_dicom(files[0].parent).readable()] == [f"{uid}#1", f"{uid}#2"]
    assert read(files[0].parent, series=f"{uid}#2").grid.shape == (6, 5, 3)
    with pytest.raises(AmbiguousError, match="2 volumes in 1 DICOM series that match"):
        read(files[0].parent, series=uid)


def test_reading_all_leaves_out_what_is_no_volume(
    axial: Volume, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    for file in write_dicom_series(axial, files[0].parent / "b", description="gappy")[2:6]:
        file.unlink()
    assert list(read_all(files[0].parent)) == ["phantom"]
    assert "left out" in caplog.text
    with pytest.raises(InputError, match="slices are missing"):
        read_all(files[0].parent / "b")


@pytest.mark.parametrize("content", [b"", b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\4\0\xff\xff\xff\xff"])
def test_damaged_file_is_named(files: list[Path], content: bytes) -> None:
    files[0].write_bytes(content)
    with pytest.raises(InputError, match=r"0001.dcm: damaged DICOM file: .*; copy it again or move it away"):
        read(files[0].parent)


def test_truncated_pixels_name_the_file(files: list[Path]) -> None:
    files[4].write_bytes(files[4].read_bytes()[:-20])
    with pytest.raises(InputError, match=r"0005.dcm: the pixels cannot be decoded"):
        read(files[0].parent)


def test_what_is_dicom(files: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("short", encoding="utf-8")
    assert is_dicom(files[0])
    assert is_dicom(tmp_path)
    assert not is_dicom(text)
    assert not is_dicom(tmp_path / "absent")
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "absent")


# ---------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_slices_have_the_same_values(axial: Volume, files: list[Path], syntax: str) -> None:
    for path in files:
        edit(path, lambda d: d.compress(syntax))
    assert_same_in_world(read(files[0].parent), axial)


def test_missing_decoder_names_the_package(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    none = SimpleNamespace(is_available=False, missing_dependencies=["pyjpegls - requires numpy"])
    monkeypatch.setattr("volseg.io.dicom.decoder.get_decoder", lambda syntax: none)
    with pytest.raises(MissingPackageError, match=r"0001.dcm: the pixels are compressed .*; install pyjpegls"):
        read(files[0].parent)


def test_rescale_differs_per_slice(axial: Volume, files: list[Path]) -> None:
    for k, path in enumerate(files):
        edit(path, lambda d, k=k: (setattr(d, "RescaleSlope", 0.5 + k), setattr(d, "RescaleIntercept", k / 4)))
    volume = read(files[0].parent)
    k = np.arange(8)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, (axial.array * (0.5 + k) + k / 4).astype(np.float32))


@pytest.mark.parametrize(
    ("bits", "signed", "intercept", "lowest", "highest", "dtype"),
    [
        (12, 0, -1024, -1024, 3071, np.int16),
        (16, 0, 0, 0, 65535, np.int32),
        (16, 0, -32768, -32768, 32767, np.int16),
        (16, 1, -1000, -33768, 31767, np.int32),
        (12, 1, 0, -2048, 2047, np.int16),
    ],
)
def test_whole_numbers_stay_exact(
    files: list[Path], bits: int, signed: int, intercept: int, lowest: int, highest: int, dtype: type
) -> None:
    def change(dataset: Any) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, signed
        dataset.RescaleIntercept = intercept
        values = np.resize([lowest, highest], (5, 6)) - intercept
        dataset.PixelData = values.astype("<i2" if signed else "<u2").tobytes()

    edit(files[0], change)
    volume = read(files[0])
    assert volume.array.dtype == dtype
    assert (volume.array.min(), volume.array.max()) == (lowest, highest)


def test_monochrome1_keeps_values_with_a_note(
    axial: Volume, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    for path in files:
        edit(path, lambda d: setattr(d, "PhotometricInterpretation", "MONOCHROME1"))
    with caplog.at_level(logging.WARNING):
        assert_same_in_world(read(files[0].parent), axial)
    assert "MONOCHROME1" in caplog.text


def test_values_that_overflow_are_replaced_with_a_note(files: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    for path in files:
        edit(path, lambda d: setattr(d, "RescaleSlope", "4e35"))
    volume = read(files[0].parent)
    assert np.isfinite(volume.array).all()
    assert "voxels are NaN or infinite; taken as background" in caplog.text


def test_empty_modality_table_is_none(axial: Volume, files: list[Path]) -> None:
    for path in files:
        edit(path, lambda d: (setattr(d, "ModalityLUTSequence", []), setattr(d, "RescaleSlope", 2)))
    np.testing.assert_array_equal(read(files[0].parent).array, axial.array * 2.0)


def test_32_bits_survive_a_repair(files: list[Path]) -> None:
    for k, path in enumerate(files):

        def change(dataset: Any, k: int = k) -> None:
            dataset.BitsAllocated = dataset.BitsStored = 32
            dataset.HighBit = 31
            dataset.PixelData = np.full((5, 6), 2**31 - 1 - k, "<i4").tobytes()

        edit(path, change)
    files[4].unlink()
    volume = read(files[0].parent)
    assert volume.array.dtype == np.int32
    assert volume.array[2, 2].tolist() == [2**31 - 1 - k for k in range(8)]


def test_volumes_a_hundredth_of_a_millimetre_apart_are_two(axial: Volume, files: list[Path]) -> None:
    for k, path in enumerate(write_dicom_series(axial, files[0].parent / "b", description="phantom")):
        source = pydicom.dcmread(files[k])

        def change(dataset: Any, source: Any = source, k: int = k) -> None:
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
                setattr(dataset, keyword, source[keyword].value)
            dataset.ImagePositionPatient = [-10, 20, 30.01 + 2 * k]
            dataset.InstanceNumber = 100 + k

        edit(path, change)
    assert [volume.grid.shape[2] for volume in read_all(files[0].parent).values()] == [8, 8]
    for path in files[0].parent.rglob("*.dcm"):
        edit(path, lambda d: delattr(d, "InstanceNumber"))
    with pytest.raises(InputError, match="many nearly share a position"):
        read(files[0].parent)


def test_positions_rounded_to_a_tenth_keep_their_count(files: list[Path]) -> None:
    for k, path in enumerate(files):
        edit(path, lambda d, k=k: setattr(d, "ImagePositionPatient", [-10, 20, round(30 + 1.248 * k, 1)]))
    grid = read(files[0].parent).grid
    assert grid.shape[2] == 8
    assert grid.spacing[2] == pytest.approx(1.248, abs=0.02)


@pytest.mark.parametrize("spacing", [["1e308", "1e-300"], ["0.5", "1e-8"]])
def test_pixel_spacing_of_no_patient_is_refused(files: list[Path], spacing: list[str]) -> None:
    for path in files:
        edit(path, lambda d: setattr(d, "PixelSpacing", spacing))
    with pytest.raises(InputError, match="expected millimetres of a patient"):
        read(files[0].parent)


def test_unreadable_numbers_that_nothing_depends_on_are_no_matter(axial: Volume, files: list[Path]) -> None:
    for path in files:
        data = path.read_bytes()
        number = data.index(b"\x20\x00\x13\x00IS")
        path.write_bytes(data[: number + 8] + b"7A" + data[number + 10 :])
    assert_same_in_world(read(files[0].parent), axial)


def test_a_colour_map_beside_the_scan_does_not_hide_it(axial: Volume, files: list[Path]) -> None:
    for path in write_dicom_series(axial, files[0].parent / "map", description="map"):
        edit(path, lambda d: setattr(d, "PhotometricInterpretation", "RGB"))
    assert_same_in_world(read(files[0].parent), axial)


def test_a_damaged_file_blocks_the_series_of_its_folder_only(
    axial: Volume, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    damaged = write_dicom_series(axial, files[0].parent / "other", description="other")[2]
    damaged.write_bytes(damaged.read_bytes()[:300])
    assert_same_in_world(read(files[0].parent, series="phantom"), axial)
    assert "other/0003.dcm: damaged DICOM file: " in caplog.text.replace("\\", "/")
    assert list(read_all(files[0].parent)) == ["phantom"]
    with pytest.raises(InputError, match=r"0003.dcm: damaged DICOM file: .* may be a slice of the series beside it"):
        read(files[0].parent, series="other")
