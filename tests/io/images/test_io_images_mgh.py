"""MGH files made by nibabel and then spoilt byte by byte."""

from __future__ import annotations

import gzip
import logging
import struct
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import AFFINE, VALUES, saved

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, GeometryError, InputError, OutputError
from volseg.io import count_volumes, read, read_all, read_grid, write
from volseg.io.images.mgh import open_image

DIMS, TYPE, ORIENTED, SIZES, COSINES, CENTRE = 4, 20, 28, 30, 42, 78


def mgh_bytes(array=VALUES, affine=AFFINE) -> bytearray:
    return bytearray(nib.MGHImage(array, affine).to_bytes())


def patched(offset: int, layout: str, *values) -> bytearray:
    """Bytes of the image with some of the header's replaced."""
    content = mgh_bytes()
    struct.pack_into(">" + layout, content, offset, *values)
    return content


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz", "a.mgh.gz", "A.MGZ"])
def test_the_content_says_whether_it_is_zipped(tmp_path, name):
    plain = bytes(mgh_bytes())
    for content in (plain, gzip.compress(plain)):
        volume = read(saved(tmp_path, content, name))
        np.testing.assert_array_equal(volume.array, VALUES)
        np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-5)
        assert volume.name == name[:1]


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_every_voxel_type(tmp_path, dtype):
    array = (VALUES - (0 if dtype == "u1" else 20)).astype(dtype)
    path = saved(tmp_path, mgh_bytes(array), "a.mgh")
    assert open_image(path).dtype == np.dtype(dtype).name
    values = read(path).array
    assert values.dtype == np.dtype(dtype)
    assert values.dtype.isnative
    np.testing.assert_array_equal(values, array)


def test_uint16_of_newer_programs_is_read(tmp_path):
    content = mgh_bytes(VALUES - 20)
    struct.pack_into(">i", content, TYPE, 10)
    np.testing.assert_array_equal(read(saved(tmp_path, content, "a.mgh")).array, (VALUES - 20).astype(np.uint16))


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("?", "u1"), ("i1", "i2"), ("u2", "i4"), ("u4", "i4"), ("i8", "i4"), ("f2", "f4"), ("f8", "f4"), (">i2", "i2")],
)
def test_types_that_mgh_lacks_are_written_as_the_next(tmp_path, dtype, stored):
    array = (VALUES % 2).astype(dtype)
    write(Volume(array, Grid(array.shape, AFFINE)), tmp_path / "a.mgz")
    values = read(tmp_path / "a.mgz").array
    assert values.dtype == np.dtype(stored)
    np.testing.assert_array_equal(values, VALUES % 2)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (2**31, "u4", "has values from 0 to 2147483648; MGZ holds integers of 32 bits, write .nii.gz"),
        (-(2**31) - 1, "i8", "has values from -2147483649 to 0; MGZ holds integers"),
        (2**64 - 1, "u8", "has values from 0 to 18446744073709551615; MGZ holds integers"),
        (1e39, "f8", r"has values from 0 to 1e\+39; MGZ holds float32, write .nii.gz"),
    ],
)
def test_values_that_mgh_cannot_hold_are_refused(tmp_path, value, dtype, message):
    array = np.zeros(VALUES.shape, dtype)
    array[1, 2, 1] = value
    with pytest.raises(OutputError, match=message):
        write(Volume(array, Grid(array.shape, AFFINE)), tmp_path / "a.mgz")
    assert list(tmp_path.iterdir()) == []


def test_a_grid_that_float32_cannot_hold_is_refused(tmp_path):
    grid = Grid.from_spacing(VALUES.shape, (1e-3, 1e-3, 1e-3), origin=(90_000.3, 0, 0))
    with pytest.raises(OutputError, match=r"a.mgz: MGZ does not hold the grid \(5x4x3 voxels, .*; write .nii.gz"):
        write(Volume(VALUES, grid), tmp_path / "a.mgz")
    assert list(tmp_path.iterdir()) == []


def test_nibabel_reads_what_is_written(tmp_path, oblique_grid):
    affine = oblique_grid.affine.copy()
    affine[:3, 2] += 0.3 * affine[:3, 0]
    array = np.random.default_rng(0).random(oblique_grid.shape, dtype=np.float32)
    for name in ("a.mgz", "b.mgz"):
        write(Volume(array, Grid(array.shape, affine)), tmp_path / name)
    image = nib.load(tmp_path / "a.mgz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), array)
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)
    assert read_grid(tmp_path / "a.mgz").is_sheared
    content = (tmp_path / "a.mgz").read_bytes()
    assert content[:2] == b"\x1f\x8b"
    assert content == (tmp_path / "b.mgz").read_bytes()


def test_cosines_that_are_not_of_length_1_are_a_warning(caplog) -> None:
    example = Path(nib.__file__).parent / "tests" / "data" / "test.mgz"
    image = nib.load(example)
    volumes = read_all(example)
    for number, volume in enumerate(volumes.values()):
        np.testing.assert_allclose(volume.grid.affine, image.affine, atol=1e-5)
        np.testing.assert_array_equal(volume.array, np.asanyarray(image.dataobj)[..., number])
    assert "says voxels of 1 x 1 x 1 mm, but its direction cosines are not of length 1" in caplog.text
    assert "they are 3.742 x 3.742 x 3.742 mm" in caplog.text


@pytest.mark.parametrize(("offset", "layout", "values"), [(SIZES, "f", (-2.0,)), (COSINES, "3f", (-2, 0, 0))])
def test_sizes_that_contradict_the_cosines_are_a_warning(tmp_path, caplog, offset, layout, values):
    path = saved(tmp_path, bytes(patched(offset, layout, *values)), "a.mgh")
    np.testing.assert_allclose(read_grid(path).affine, nib.MGHImage.from_bytes(path.read_bytes()).affine, atol=1e-5)
    assert "a.mgh: says voxels of" in caplog.text


def test_several_volumes(tmp_path):
    content = bytes(mgh_bytes(np.stack([VALUES, VALUES + 100, VALUES + 200], axis=-1)))
    for name, body in [("scan.mgh", content), ("scan.mgz", gzip.compress(content))]:
        path = saved(tmp_path, body, name)
        with pytest.raises(AmbiguousError, match=r"holds 3 volumes \(scan_0, scan_1, scan_2\)"):
            read(path)
        assert count_volumes(path) == 3
        np.testing.assert_array_equal(read(path, series="1").array, VALUES + 100)
        np.testing.assert_array_equal(read_all(path)["scan_2"].array, VALUES + 200)


def test_the_end_is_optional_and_tags_are_passed_over(tmp_path):
    content = bytes(mgh_bytes())
    for body in (content[:-20], content + b"\0\0\0\3" + b"mri_convert" * 99):
        np.testing.assert_array_equal(read(saved(tmp_path, body, "a.mgh")).array, VALUES)


def test_no_orientation_is_freesurfers_default_and_a_warning(tmp_path, caplog):
    path = saved(tmp_path, patched(ORIENTED, "h", 0), "a.mgh")
    with caplog.at_level(logging.WARNING):
        grid = read_grid(path)
    np.testing.assert_allclose(grid.affine, [[-1, 0, 0, 2.5], [0, 0, 1, -1.5], [0, -1, 0, 2], [0, 0, 0, 1]])
    assert "a.mgh: has no orientation (goodRASFlag 0); taken as coronal with voxels of 1 mm" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected"),
        (b"hello, this is not an image" * 30, "is not MGH; expected a header"),
        (mgh_bytes()[:283], "is not MGH; expected a header of 284 bytes"),
        (patched(0, "i", 2), "is not MGH"),
        (patched(0, "i", -255), "is not MGH"),
        (patched(0, "i", 6 << 8 | 1), "holds numbers of kind 6, such as a warp"),
        (patched(DIMS, "i", -5), r"has dimensions \[-5, 4, 3, 1\]; expected 4 of at least 1"),
        (patched(DIMS, "4i", 5, 4, 3, 0), r"has dimensions \[5, 4, 3, 0\]"),
        (patched(DIMS, "4i", 9999, 9999, 9999, 99), "asks for"),
        (patched(DIMS, "4i", 1, 1, 1, 2**31 - 1), "holds 2147483647 volumes; expected at most 100000"),
        (patched(DIMS, "4i", 642, 1, 1, 1), "values at the vertices of a surface; expected a volume"),
        (patched(TYPE, "i", 2), r"has voxels of type 2; expected 0 \(uint8\)"),
        (patched(TYPE, "i", -1), "has voxels of type -1"),
        (patched(ORIENTED, "h", -7), "has goodRASFlag -7; expected 0 or 1"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, content, message):
    for body, name in [(bytes(content), "a.mgh"), (gzip.compress(content), "a.mgz")]:
        path = saved(tmp_path, body, name)
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_one_voxel_too_few_is_refused(tmp_path):
    content = bytes(patched(DIMS, "i", 6))
    with pytest.raises(InputError, match="asks for 428 bytes, the file has"):
        open_image(saved(tmp_path, content, "a.mgh"))
    with pytest.raises(InputError, match="bytes are missing"):  # a gzip does not say how much it holds
        read(saved(tmp_path, gzip.compress(content), "a.mgz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched(SIZES, "f", 0), "singular"),
        (patched(COSINES, "9f", *[0] * 9), "singular"),
        (patched(COSINES, "9f", *[1] * 9), "singular"),
        (patched(SIZES, "f", float("nan")), "finite"),
        (patched(CENTRE, "f", float("inf")), "finite"),
        (patched(SIZES, "3f", 1e30, 1e30, 1e30), "spacing is"),
        (patched(CENTRE, "f", 1e9), "origin is"),
    ],
)
def test_impossible_geometry(tmp_path, content, message):
    with pytest.raises(GeometryError, match=message) as caught:
        read(saved(tmp_path, content, "scan.mgh"))
    assert "scan.mgh" in str(caught.value)


def test_gzip_damage(tmp_path):
    noise = np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16)
    whole = gzip.compress(bytes(mgh_bytes(noise)))
    with pytest.raises(InputError, match="cut off"):
        read(saved(tmp_path, whole[: len(whole) // 2], "half.mgz"))
    with pytest.raises(InputError, match="CRC"):
        read(saved(tmp_path, whole[:-8] + b"\1\2\3\4" + whole[-4:], "sum.mgz"))


def test_a_bomb_takes_no_memory(tmp_path):
    header = bytes(patched(DIMS, "4i", 2000, 2000, 2000, 1)[:284])
    bomb = saved(tmp_path, gzip.compress(header + bytes(1 << 24)), "bomb.mgz")
    tail = saved(tmp_path, gzip.compress(bytes(mgh_bytes()) + bytes(1 << 25), 1), "tail.mgz")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"bomb.mgz: its header asks for 16000000284 bytes"):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read(tail).array, VALUES)
