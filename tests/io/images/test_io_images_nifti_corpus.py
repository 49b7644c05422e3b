"""Real and spoilt files, compared voxel by voxel with nibabel; the affine of every volume too."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nifti_files import AFFINE, nifti_bytes, saved

from volseg.errors import InputError, VolsegError
from volseg.io import read_all, read_labels

NEAR = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
UNITS = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


@pytest.mark.parametrize(
    "name",
    [
        "nii-4d-scaled/functional.nii",
        "nii-4d-oblique/example4d.nii.gz",
        "nii2-4d/example_nifti2.nii.gz",
        "nii-2d-extension/minimal_extended_hdr.nii",
        "nii-big-endian-int16/anatomical.nii",
        "nii-float-be-ras/reoriented_anat_moved.nii",
        "nii-uint8-sform-only-noncubic/standard.nii.gz",
    ],
)
def test_every_volume_has_the_values_and_places_that_nibabel_gives(shared_data, name):
    path = shared_data / "hard" / "nifti" / name
    image = nib.load(path)
    values = np.asanyarray(image.dataobj)
    values = values.reshape((*values.shape, 1, 1)[: max(values.ndim, 3)])
    volumes = read_all(path)
    if values.ndim == 3:
        assert len(volumes) == 1
        values = values[..., None]
    else:
        assert list(volumes) == [f"{path.name.split('.')[0]}_{t}" for t in range(values.shape[3])]
    corners = [[0, 0, 0], [i - 1 for i in values.shape[:3]]]
    for volume, expected in zip(volumes.values(), np.moveaxis(values, -1, 0), strict=True):
        assert volume.grid.shape == expected.shape
        np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
        if image.header["sform_code"] or image.header["qform_code"]:
            places = nib.affines.apply_affine(image.affine, corners)
            np.testing.assert_allclose(volume.grid.to_world(corners), places, atol=1e-3)


def label_image(change) -> np.ndarray:
    labels = np.zeros((20, 16, 12), np.float32)
    labels[3:9, 3:9, 3:9] = 1
    labels[9:12, 3:9, 3:9] = 2
    return change(labels)


@pytest.mark.parametrize(
    ("change", "values", "dtype"),
    [
        (lambda m: m, {1, 2}, np.uint8),
        (lambda m: m + np.float32(1e-6), {1, 2}, np.uint8),
        (lambda m: m.astype(np.float64) * 40000, {40000, 80000}, np.uint32),
        (lambda m: (m * 150).astype(np.int16), {150, 300}, np.uint16),
        (lambda m: (m * 0).astype(np.uint8), set(), np.uint8),
        (lambda m: np.ones(m.shape, np.uint8), {1}, np.uint8),
    ],
)
def test_label_values_are_kept_and_noise_is_rounded(tmp_path, change, values, dtype):
    array = label_image(change)
    labelmap = read_labels(saved(tmp_path, nifti_bytes(array)))
    assert {label.value for label in labelmap.labels} == values
    assert labelmap.array.dtype == dtype
    np.testing.assert_array_equal(labelmap.array, np.rint(array))
    np.testing.assert_allclose(labelmap.grid.affine, AFFINE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m / 2, r"has the value 0\.5; labels are integers"),
        (lambda m: (m - 1).astype(np.int16), "has the label -1; expected 0 for background"),
        (lambda m: m * np.float32(1.01), r"has the value 1\.01"),
    ],
)
def test_what_is_no_label_map(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_labels(saved(tmp_path, nifti_bytes(label_image(change))))


@st.composite
def images(draw):
    """Values of any type and order, and an affine that a scan may have."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=5)))
    dtype = np.dtype(draw(st.sampled_from("<>")) + draw(st.sampled_from(["u1", "i1", "i2", "u2", "i4", "f4", "f8"])))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        array = rng.normal(0, 1000, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        array = rng.integers(limits.min, limits.max, shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(dtype)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = (
        rotation @ (np.eye(3) + np.triu(rng.uniform(-0.3, 0.3, (3, 3)), 1)) @ np.diag(rng.uniform(0.3, 6, 3))
    )
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    return array, affine


@NEAR
@given(
    images(),
    st.sampled_from(sorted(UNITS)),
    st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    st.sampled_from([".nii", ".nii.gz"]),
)
def test_what_nibabel_writes_comes_back_at_the_same_places(tmp_path, image, unit, kind, suffix):
    array, affine = image
    stored = np.diag([1 / UNITS[unit]] * 3 + [1]) @ affine
    made = kind(array, stored, kind.header_class(endianness=array.dtype.byteorder.replace("|", "<")))
    made.header.set_xyzt_units(unit)
    made.set_data_dtype(array.dtype)
    nib.save(made, tmp_path / f"a{suffix}")
    volumes = list(read_all(tmp_path / f"a{suffix}").values())
    expected = array.reshape((*array.shape, *[1] * (3 - array.ndim)) if array.ndim < 3 else array.shape)
    expected = expected.reshape((*expected.shape[:3], -1), order="F")
    assert len(volumes) == expected.shape[3]
    corner = [n - 1 for n in expected.shape[:3]]
    for n, volume in enumerate(volumes):
        np.testing.assert_array_equal(volume.array, expected[..., n].astype(volume.array.dtype))
        if array.dtype.kind != "f":
            assert volume.array.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_allclose(volume.grid.to_world(corner), affine[:3] @ [*corner, 1], atol=1e-3)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_spoilt_headers_give_a_sound_volume_or_a_reason(tmp_path, kind):
    rng = np.random.default_rng(4)
    sound = nifti_bytes(kind=kind)
    length = kind.header_class.sizeof_hdr + 4
    refused = 0
    for _ in range(1500):
        content = bytearray(sound)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(length))
            size = int(rng.choice([1, 1, 2, 4, 8]))
            value = rng.choice([0, 1, 127, 255]) if rng.random() < 0.5 else rng.integers(256)
            content[at : at + size] = bytes([int(value)]) * min(size, length - at)
        path = saved(tmp_path, bytes(content))
        try:
            volumes = read_all(path)
        except VolsegError:
            refused += 1
            continue
        for volume in volumes.values():
            assert math.prod(volume.array.shape) <= len(content)
            assert np.isfinite(volume.array).all()
            assert volume.grid.voxel_volume_mm3 > 0
    assert 100 < refused < 1400
