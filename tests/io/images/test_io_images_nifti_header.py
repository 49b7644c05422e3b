"""Headers that contradict themselves, their file or this machine's memory."""

from __future__ import annotations

import gzip
import logging
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from nifti_files import AFFINE, VALUES, nifti_bytes, patched, saved

from volseg.errors import GeometryError, InputError
from volseg.files import streams
from volseg.io import read, read_grid


def rotated(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ AFFINE


@pytest.mark.parametrize(("degrees", "warned"), [(0, False), (0.2, False), (90, True)])
def test_a_qform_that_contradicts_the_sform_is_reported_in_mm(tmp_path, caplog, degrees, warned):
    path = saved(tmp_path, nifti_bytes(change=lambda h: h.set_qform(rotated(degrees), 1)))
    grid = read_grid(path)
    np.testing.assert_allclose(grid.affine, AFFINE)
    assert bool(caplog.records) == warned
    if warned:
        # The farthest corner from the axis of rotation, voxel (-0.5, -0.5): 31 mm right, 20.75 mm behind.
        message = f"sform (code 1) and qform (code 1) differ by up to {2**0.5 * np.hypot(31, 20.75):.3g} mm; the sform"
        assert message in caplog.text


def test_a_qform_without_code_is_not_compared(tmp_path, caplog):
    saved(tmp_path, nifti_bytes(change=lambda h: h.set_qform(rotated(90), 0)))
    read_grid(tmp_path / "scan.nii")
    assert caplog.records == []


@pytest.mark.parametrize(("offset", "values"), [(80, (-2.0,)), (256, (3.0, 3.0, 3.0)), (76 + 4, (float("nan"),))])
def test_an_impossible_qform_beside_a_sform_is_only_a_warning(tmp_path, caplog, offset, values):
    path = saved(tmp_path, patched(offset, f"{len(values)}f", *values))
    np.testing.assert_allclose(read_grid(path).affine, AFFINE)
    assert "(that is its qform; the sform is used)" in caplog.text


@pytest.mark.parametrize("qfac", [-1, 1, 0, 7])
def test_any_qfac_but_minus_one_is_one(tmp_path, qfac):
    content = nifti_bytes(change=lambda h: h.set_sform(None, 0))
    struct.pack_into("<f", content, 76, qfac)
    # nibabel wrote this left-handed affine as half a turn about y with qfac -1, which turns the third axis again.
    z = 14 if qfac == -1 else 8
    np.testing.assert_allclose(read_grid(saved(tmp_path, content)).to_world([1, 1, 1]), [28, -18.5, z], atol=1e-5)


def test_shear_negative_determinant_and_oblique_axes_are_kept(tmp_path):
    affine = rotated(25)
    affine[0, 2] = 0.8
    grid = read_grid(saved(tmp_path, nifti_bytes(affine=affine, change=lambda h: h.set_qform(None, 0))))
    assert grid.is_sheared
    assert grid.handedness == -1
    np.testing.assert_allclose(grid.to_world([4, 3, 2]), affine[:3] @ [4, 3, 2, 1], atol=1e-5)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_every_voxel_type_in_both_byte_orders(tmp_path, kind, dtype, order):
    array = (VALUES - (0 if dtype[0] == "u" else 20)).astype(order + dtype)
    header = kind.header_class(endianness=order)
    volume = read(saved(tmp_path, kind(array, AFFINE, header, dtype=array.dtype).to_bytes()))
    assert volume.array.dtype == (np.float32 if dtype == "f8" else np.dtype(dtype))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.grid.affine, AFFINE)


def test_float128_is_read_where_the_machine_has_it_and_else_refused_by_name(tmp_path):
    content = patched(70, "2h", 1536, 128)
    content[352:] = bytes(16 * VALUES.size)
    path = saved(tmp_path, content)
    if np.finfo(np.longdouble).nmant == 112:
        assert read(path).array.dtype == np.float32
    else:
        with pytest.raises(InputError, match="has float128 voxels; this machine's floats are at most float64"):
            read(path)


def test_int16_scaled_beyond_float32_is_counted_and_replaced(tmp_path, caplog):
    array = read(saved(tmp_path, patched(112, "2f", 3e38, 0))).array
    assert np.isfinite(array).all()
    assert "58 of 60 voxels are NaN or infinite" in caplog.text


def extended(*chain: bytes, flag: bytes = b"\1\0\0\0", gap: int = 0) -> bytes:
    body = nifti_bytes()
    struct.pack_into("<f", body, 108, 352 + len(b"".join(chain)) + gap)
    return bytes(body[:348]) + flag + b"".join(chain) + bytes(gap) + bytes(body[352:])


def extension(size: int, content: int | None = None) -> bytes:
    return struct.pack("<2i", size, 6) + b"x" * ((size if content is None else content) - 8)


@pytest.mark.parametrize(
    "content",
    [
        extended(extension(16)),
        extended(extension(32), extension(4096), extension(16)),
        extended(extension(32), gap=48),
        extended(extension(32), gap=8),
        extended(gap=160),
        extended(extension(30), flag=bytes(4)),
        extended(extension(40)),
    ],
)
def test_header_extensions_lie_before_the_voxels(tmp_path, content):
    for body, name in [(content, "a.nii"), (gzip.compress(content), "a.nii.gz")]:
        np.testing.assert_array_equal(read(saved(tmp_path, body, name)).array, VALUES)


@pytest.mark.parametrize(
    "content",
    [
        extended(),
        extended(extension(0x7FFFFFF0, 32)),
        extended(extension(-16, 32)),
        extended(extension(8, 16)),
        extended(extension(16), extension(48, 32)),
        extended(*[extension(16)] * 1001),
    ],
)
def test_header_extensions_that_run_into_the_voxels_are_refused(tmp_path, content):
    for body, name in [(content, "a.nii"), (gzip.compress(content), "a.nii.gz")]:
        with pytest.raises(InputError, match="header extensions that do not fit between byte 352 and its first voxel"):
            read(saved(tmp_path, body, name))


def test_extensions_of_nifti_2_and_big_endian_files(tmp_path):
    for kind, order in [(nib.Nifti2Image, "<"), (nib.Nifti1Image, ">")]:
        image = kind(VALUES, AFFINE, kind.header_class(endianness=order))
        image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"a note that is longer than 16 bytes"))
        path = saved(tmp_path, image.to_bytes())
        np.testing.assert_array_equal(read(path).array, VALUES)


@pytest.mark.parametrize("offset", [351, 352.5, -1, float("inf")])
def test_voxels_cannot_start_there(tmp_path, offset):
    with pytest.raises(InputError, match=r"voxels start at byte .*; expected a whole number of at least 352"):
        read(saved(tmp_path, patched(108, "f", offset)))


def test_nifti_2_voxels_start_behind_its_longer_header(tmp_path):
    content = nifti_bytes(kind=nib.Nifti2Image)
    struct.pack_into("<q", content, 168, 352)
    with pytest.raises(InputError, match="at least 544"):
        read(saved(tmp_path, content))


@pytest.mark.parametrize("sizes", [(0, 0, 0), (2, 0, 3), (2, float("nan"), 3)])
def test_voxel_sizes_that_are_none_with_no_form(tmp_path, sizes):
    content = patched(252, "2h", 0, 0)
    struct.pack_into("<3f", content, 80, *sizes)
    with pytest.raises(GeometryError, match=r"singular|finite"):
        read(saved(tmp_path, content))


def test_negative_voxel_sizes_with_no_form_are_sizes(tmp_path, caplog):
    content = patched(252, "2h", 0, 0)
    struct.pack_into("<3f", content, 80, -2, -1.5, 3)
    grid = read_grid(saved(tmp_path, content))
    np.testing.assert_allclose(grid.to_world([1, 1, 1]), [2, 1.5, 3])
    assert "left and right may be swapped" in caplog.text


def test_an_absurd_position(tmp_path):
    with pytest.raises(GeometryError, match=r"origin is \(1000000000\.0, .*expected at most 1e\+06 away"):
        read(saved(tmp_path, patched(292, "f", 1e9)))


def test_numbers_whose_square_overflows(tmp_path):
    content = nifti_bytes(kind=nib.Nifti2Image)
    struct.pack_into("<4d", content, 400, 1e300, 0, 0, 0)
    with pytest.raises(GeometryError, match="singular"):
        read(saved(tmp_path, content))


def test_a_file_that_swells_is_refused_before_memory_is_taken(tmp_path):
    content = patched(40, "8h", 3, 1024, 1024, 1024, 1, 1, 1, 1)
    member = gzip.compress(bytes(1 << 26))
    path = saved(tmp_path, gzip.compress(bytes(content[:352])) + member * 32, "scan.nii.gz")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"would become 2\.0 GiB, 10\d\d times as much; .*uncompressed \(gunzip"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 21
    tracemalloc.stop()


def test_a_bomb_behind_the_voxels_is_not_inflated(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(streams, "_LONGEST_TAIL", 1 << 20)
    monkeypatch.setattr(streams, "_CHUNK", 1 << 16)
    image = bytes(nifti_bytes())
    path = saved(tmp_path, gzip.compress(image + bytes(1 << 23)), "bomb.nii.gz")
    np.testing.assert_array_equal(read(path).array, VALUES)
    assert "more than 1 MiB follow the voxels" in caplog.text
    caplog.clear()
    short = gzip.compress(image + bytes(1 << 19))
    np.testing.assert_array_equal(read(saved(tmp_path, short, "tail.nii.gz")).array, VALUES)
    assert caplog.records == []
    with pytest.raises(InputError, match="CRC"):
        read(saved(tmp_path, short[:-8] + b"\1\2\3\4" + short[-4:], "sum.nii.gz"))


def test_the_checksum_is_checked_behind_the_other_volumes(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_LONGEST_TAIL", 0)
    content = gzip.compress(bytes(nifti_bytes(np.stack([VALUES] * 50, axis=-1))))
    with pytest.raises(InputError, match="CRC"):
        read(saved(tmp_path, content[:-8] + b"\1\2\3\4" + content[-4:], "a.nii.gz"), series="a_3")


def test_more_than_the_memory(tmp_path, monkeypatch):
    empty = np.empty

    def full(shape, *more, **options):
        if np.prod(shape) == VALUES.size:
            raise MemoryError
        return empty(shape, *more, **options)

    path = saved(tmp_path, nifti_bytes())
    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(InputError, match=r"needs 0\.0 GiB of memory, more than is available"):
        read(path)


def test_warnings_name_the_file_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read(saved(tmp_path, patched(252, "2h", 0, 0)))
    assert len(caplog.records) == 1
    assert "scan.nii: has no orientation" in caplog.text
