from __future__ import annotations

import gzip
import logging
import struct

import nibabel as nib
import numpy as np
import pytest
from nifti_files import AFFINE, VALUES, nifti_bytes, patched, saved

from volseg.core.grid import Grid
from volseg.errors import AmbiguousError, GeometryError, InputError, OutputError
from volseg.io import count_volumes, read, read_all, read_grid
from volseg.io.images.nifti import write_nifti


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4"])
def test_written_values_and_world_positions_come_back(tmp_path, oblique_grid, suffix, dtype):
    array = np.arange(np.prod(oblique_grid.shape)).reshape(oblique_grid.shape).astype(dtype)
    write_nifti(array, oblique_grid, tmp_path / f"a{suffix}")
    volume = read(tmp_path / f"a{suffix}")
    assert volume.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.grid.to_world([3, 2, 1]), oblique_grid.to_world([3, 2, 1]), atol=1e-4)
    assert volume.grid.is_close(oblique_grid)
    assert volume.name == "a"


def test_nibabel_reads_what_is_written(tmp_path, oblique_grid):
    array = np.random.default_rng(0).random((*oblique_grid.shape, 2), dtype=np.float32)
    write_nifti(array, oblique_grid, tmp_path / "p.nii.gz")
    image = nib.load(tmp_path / "p.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), array)
    np.testing.assert_allclose(image.get_sform(coded=True)[0], oblique_grid.affine, atol=1e-5)
    np.testing.assert_allclose(image.get_qform(coded=True)[0], oblique_grid.affine, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_equal_arrays_make_equal_files(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(VALUES, Grid(VALUES.shape, AFFINE), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_shear_is_kept_by_the_sform_and_no_qform_contradicts_it(tmp_path):
    affine = AFFINE.copy()
    affine[1, 2] = 0.8
    write_nifti(VALUES, Grid(VALUES.shape, affine), tmp_path / "a.nii")
    np.testing.assert_allclose(read_grid(tmp_path / "a.nii").affine, affine, atol=1e-6)
    assert int(nib.load(tmp_path / "a.nii").header["qform_code"]) == 0


@pytest.mark.parametrize(("dtype", "stored"), [(bool, np.uint8), (np.float16, np.float32), (np.dtype(">i2"), np.int16)])
def test_types_that_nifti_lacks_are_written_as_the_next(tmp_path, dtype, stored):
    write_nifti((VALUES % 2).astype(dtype), Grid(VALUES.shape, AFFINE), tmp_path / "a.nii")
    volume = read(tmp_path / "a.nii")
    assert volume.array.dtype == stored
    np.testing.assert_array_equal(volume.array, VALUES % 2)


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_nifti(VALUES, Grid(VALUES.shape, AFFINE), tmp_path / "file" / "a.nii.gz")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti_1_and_2_and_content_against_name(tmp_path, kind):
    plain = bytes(nifti_bytes(kind=kind))
    for content, name in [(plain, "a.nii"), (plain, "b.nii.gz"), (gzip.compress(plain), "c.nii")]:
        np.testing.assert_array_equal(read(saved(tmp_path, content, name)).array, VALUES)


@pytest.mark.parametrize("asked", ["pair.hdr", "pair.img"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_pair(tmp_path, kind, asked):
    nib.save(kind(VALUES, AFFINE), tmp_path / "pair.img")
    volume = read(tmp_path / asked)
    np.testing.assert_array_equal(volume.array, VALUES)
    np.testing.assert_allclose(volume.grid.affine, AFFINE)
    (tmp_path / ("pair.img" if asked == "pair.hdr" else "pair.hdr")).unlink()
    with pytest.raises(InputError, match=r"half of a \.hdr/\.img pair"):
        read(tmp_path / asked)


def test_big_endian(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    image = nib.Nifti1Image(VALUES.astype(">i2"), AFFINE, header)
    volume = read(saved(tmp_path, image.to_bytes()))
    assert volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, VALUES)


def test_qform_is_used_where_the_sform_has_no_code(tmp_path):
    path = saved(tmp_path, nifti_bytes(change=lambda h: h.set_sform(None, 0)))
    np.testing.assert_allclose(read_grid(path).to_world([1, 2, 2]), [28, -17, 17], atol=1e-5)


def test_sform_wins_over_a_different_qform(tmp_path):
    path = saved(tmp_path, nifti_bytes(change=lambda h: h.set_qform(np.eye(4), 1)))
    np.testing.assert_allclose(read_grid(path).affine, AFFINE)


def test_no_orientation_is_a_warning(tmp_path, caplog):
    path = saved(tmp_path, patched(252, "2h", 0, 0))
    with caplog.at_level(logging.WARNING):
        grid = read_grid(path)
    np.testing.assert_allclose(grid.spacing, [2, 1.5, 3])
    assert "no orientation" in caplog.text


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("mm", 1), ("micron", 0.001), ("unknown", 1)])
def test_units_become_mm(tmp_path, unit, factor):
    affine = np.diag([1 / factor, 1 / factor, 1 / factor, 1]) @ AFFINE
    path = saved(tmp_path, nifti_bytes(affine=affine, change=lambda h: h.set_xyzt_units(unit)))
    np.testing.assert_allclose(read_grid(path).affine, AFFINE, rtol=1e-5)


@pytest.mark.parametrize(("slope", "intercept"), [(0, 5), (float("nan"), float("nan")), (1, 0), (1, float("nan"))])
def test_void_scaling_keeps_the_integers(tmp_path, slope, intercept):
    array = read(saved(tmp_path, patched(112, "2f", slope, intercept))).array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, VALUES)


def test_scaling_is_float32_and_does_not_overflow(tmp_path):
    array = read(saved(tmp_path, patched(112, "2f", 1000, -7))).array
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, VALUES.astype(float) * 1000 - 7)


def test_2d_is_one_slice_and_trailing_ones_vanish(tmp_path):
    flat = saved(tmp_path, nifti_bytes(VALUES[:, :, 0]), "flat.nii")
    assert read(flat).array.shape == (5, 4, 1)
    long = saved(tmp_path, nifti_bytes(VALUES[..., None, None]), "long.nii")
    assert read(long).array.shape == VALUES.shape


def test_2d_without_slice_thickness(tmp_path):
    content = nifti_bytes(VALUES[:, :, 0])
    struct.pack_into("<2h", content, 252, 0, 0)
    struct.pack_into("<f", content, 88, 0)
    path = saved(tmp_path, content)
    np.testing.assert_allclose(read(path).grid.spacing, [2, 1.5, 1])


def test_several_volumes(tmp_path):
    path = saved(tmp_path, nifti_bytes(np.stack([VALUES, VALUES + 100], axis=-1)))
    with pytest.raises(AmbiguousError, match=r"holds 2 volumes \(scan_0, scan_1\)"):
        read(path)
    volumes = read_all(path)
    assert list(volumes) == ["scan_0", "scan_1"]
    np.testing.assert_array_equal(volumes["scan_1"].array, VALUES + 100)


def test_nan_and_infinity_become_background_with_a_count(tmp_path, caplog):
    array = VALUES.astype(np.float32) - 20
    array[0, 0, :2] = np.nan, np.inf
    with caplog.at_level(logging.WARNING):
        values = read(saved(tmp_path, nifti_bytes(array))).array
    assert values[0, 0].tolist() == [-18, -18, -18]
    assert "2 of 60 voxels" in caplog.text
    with pytest.raises(InputError, match="every voxel is NaN"):
        read(saved(tmp_path, nifti_bytes(np.full((3, 3, 3), np.nan, np.float32))))


def test_complex_and_rgb_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="has complex64 voxels"):
        read(saved(tmp_path, nifti_bytes(VALUES.astype(np.complex64))))
    rgb = np.zeros((3, 3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="has RGB voxels"):
        read(saved(tmp_path, nifti_bytes(rgb)))


def test_five_dimensions_are_named_by_both_numbers(tmp_path):
    array = np.arange(3 * 2 * 2 * 2 * 3, dtype=np.int16).reshape(3, 2, 2, 2, 3)
    path = saved(tmp_path, nifti_bytes(array))
    volumes = read_all(path)
    assert list(volumes) == ["scan_0_0", "scan_1_0", "scan_0_1", "scan_1_1", "scan_0_2", "scan_1_2"]
    for t, u in np.ndindex(2, 3):
        np.testing.assert_array_equal(volumes[f"scan_{t}_{u}"].array, array[..., t, u])
        np.testing.assert_array_equal(read(path, series=f"scan_{t}_{u}").array, array[..., t, u])
    with pytest.raises(AmbiguousError, match=r"holds 6 volumes \(scan_0_0, scan_1_0, scan_0_1, \.\.\.\)"):
        read(path)
    assert count_volumes(path) == 6


def test_a_vector_image_keeps_its_single_time_in_the_names(tmp_path):
    path = saved(tmp_path, nifti_bytes(np.zeros((3, 2, 2, 1, 2), np.int16)))
    assert list(read_all(path)) == ["scan_0_0", "scan_0_1"]


def test_six_dimensions_and_absurdly_many_volumes_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"6 dimensions \[2, 2, 2, 1, 1, 3\]; expected at most 5"):
        read_all(saved(tmp_path, nifti_bytes(np.zeros((2, 2, 2, 1, 1, 3), np.int16))))
    with pytest.raises(InputError, match="holds 1073676289 volumes; expected at most 100000"):
        read_all(saved(tmp_path, patched(40, "8h", 5, 1, 1, 1, 32767, 32767, 1, 1)))


def test_one_of_many_volumes_is_read_alone(tmp_path):
    array = np.arange(3 * 2 * 2 * 300, dtype=">i2").reshape(3, 2, 2, 300)
    content = bytes(nifti_bytes(array))
    for name, body in [("scan.nii", content), ("scan.nii.gz", gzip.compress(content))]:
        path = saved(tmp_path, body, name)
        volume = read(path, series="scan_271")
        np.testing.assert_array_equal(volume.array, array[..., 271])
        assert volume.name == "scan_271"
        assert volume.array.base.nbytes == 24
        with pytest.raises(InputError, match="has no volume 'scan_300'; expected one of scan_0, scan_1, scan_2, "):
            read(path, series="scan_300")


def test_the_volumes_of_a_file_share_its_memory(tmp_path):
    volumes = list(read_all(saved(tmp_path, nifti_bytes(np.zeros((3, 2, 2, 300), np.int16)))).values())
    assert len(volumes) == 300
    assert all(np.shares_memory(volumes[0].array.base, volume.array) for volume in volumes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is not an image" * 30, "is not NIfTI"),
        (bytes(nifti_bytes()[:200]), "is not NIfTI"),
        (bytes(nifti_bytes()[:344]) + bytes(200), "is Analyze"),
        (bytes(nifti_bytes()[:-7]), "cut off"),
        (bytes(patched(40, "8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)), "asks for"),
        (bytes(patched(42, "h", -5)), "has dimensions"),
        (bytes(patched(40, "h", 9)), "has dimensions"),
        (bytes(patched(108, "f", 1e9)), "asks for"),
        (bytes(patched(108, "f", 0)), "start at byte 0"),
        (bytes(patched(108, "f", float("nan"))), "start at byte nan"),
        (bytes(patched(70, "h", 64)), "16 bits a voxel"),
        (bytes(patched(70, "h", -9510)), "unknown voxel type"),
        (bytes(patched(68, "h", 3001)), "is CIFTI"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, content, message):
    for body, name in [(content, "a.nii"), (gzip.compress(content), "a.nii.gz")]:
        with pytest.raises(InputError, match=message) as caught:
            read(saved(tmp_path, body, name))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched(280, "4f", float("nan"), 0, 0, 0), "finite"),
        (patched(280, "12f", *[0] * 12), "singular"),
        (patched(280, "4f", 1e30, 0, 0, 0), "spacing is"),
        (patched(80, "3f160x2h", 0, 0, 0, 0, 0), "singular"),  # no form, and voxels of size zero
    ],
)
def test_impossible_geometry(tmp_path, content, message):
    with pytest.raises(GeometryError, match=message) as caught:
        read(saved(tmp_path, content))
    assert "scan.nii" in str(caught.value)


def test_impossible_qform(tmp_path):
    content = nifti_bytes(change=lambda h: h.set_sform(None, 0))
    struct.pack_into("<f", content, 80, -2.0)
    with pytest.raises(InputError, match="impossible qform"):
        read(saved(tmp_path, content))


def test_gzip_damage(tmp_path):
    whole = gzip.compress(bytes(nifti_bytes(np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16))))
    with pytest.raises(InputError, match="cut off"):
        read(saved(tmp_path, whole[: len(whole) // 2], "half.nii.gz"))
    with pytest.raises(InputError, match="CRC"):
        read(saved(tmp_path, whole[:-8] + b"\1\2\3\4" + whole[-4:], "sum.nii.gz"))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    with pytest.raises(InputError, match="damaged"):
        read(saved(tmp_path, bytes(flipped), "bit.nii.gz"))


def test_zeros_behind_the_image_in_a_gzip_are_not_kept(tmp_path):
    path = saved(tmp_path, gzip.compress(bytes(nifti_bytes()) + bytes(1 << 25), 1), "bomb.nii.gz")
    np.testing.assert_array_equal(read(path).array, VALUES)


def test_real_ct(shared_data):
    path = shared_data / "ct" / "example_ct.nii.gz"
    volume, image = read(path), nib.load(path)
    np.testing.assert_array_equal(volume.array, np.asanyarray(image.dataobj))
    np.testing.assert_allclose(volume.grid.affine, image.affine)
