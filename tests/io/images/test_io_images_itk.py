from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, OutputError
from volseg.io import read, read_grid, write


@pytest.fixture
def image() -> sitk.Image:
    image = sitk.GetImageFromArray(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6))
    image.SetSpacing((0.7, 0.8, 3.0))
    image.SetOrigin((10, 20, 30))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    return image


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("compress", [False, True])
def test_values_lie_where_itk_says(tmp_path, image, name, compress):
    sitk.WriteImage(image, str(tmp_path / name), compress)
    volume = read(tmp_path / name)
    assert volume.array.shape == (6, 5, 4)
    assert volume.array.dtype == np.int16
    assert volume.name == "a"
    for ijk in [(0, 0, 0), (5, 1, 2), (3, 4, 3)]:
        x, y, z = image.TransformContinuousIndexToPhysicalPoint(ijk)
        np.testing.assert_allclose(volume.grid.to_world(ijk), [-x, -y, z], atol=1e-6)
        assert volume.array[ijk] == image[ijk]


def test_2d_is_one_slice(tmp_path, image):
    flat = image[:, :, 1]
    flat.SetDirection((1, 0, 0, 1))
    sitk.WriteImage(flat, str(tmp_path / "a.mha"))
    volume = read(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array[..., 0], sitk.GetArrayFromImage(flat).T)
    np.testing.assert_allclose(volume.grid.to_world([1, 1, 0]), [-10.7, -20.8, 0], atol=1e-6)


def test_float64_becomes_float32(tmp_path, image):
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat64), str(tmp_path / "a.nrrd"))
    assert read(tmp_path / "a.nrrd").array.dtype == np.float32


def test_a_tilted_gantry_keeps_its_shear(tmp_path):
    header = (
        "NRRD0005\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 4 3 2\n"
        "space directions: (2,0,0) (0,1.5,0) (0,0.8,3)\nspace origin: (10,20,30)\nendian: little\nencoding: raw\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + np.arange(24, dtype="<i2").tobytes())
    np.testing.assert_allclose(read(tmp_path / "a.nrrd").grid.to_world([1, 1, 1]), [12, 22.3, 33], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda im: sitk.Compose(im, im), "holds 2 volumes"),
        (lambda im: sitk.JoinSeries(im, im), "holds 2 volumes"),
        (lambda im: sitk.JoinSeries(sitk.JoinSeries(im), sitk.JoinSeries(im)), "5 dimensions"),
        (lambda im: sitk.RealAndImaginaryToComplex(*[sitk.Cast(im, sitk.sitkFloat32)] * 2), "numbers a voxel|complex"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(tmp_path, image, make, message):
    sitk.WriteImage(make(image), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.nrrd")


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("damage", ["short", "half", "junk", "empty", "missing"])
def test_damage_is_one_line_and_nothing_leaks(tmp_path, image, capfd, name, compress, damage):
    sitk.WriteImage(image, str(tmp_path / name), compress)
    content = (tmp_path / name).read_bytes()
    cut = {"short": content[:-60], "half": content[: -len(content) // 4], "junk": b"junk" * 99, "empty": b""}
    if damage == "missing":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(cut[damage])
    with pytest.raises(InputError, match=name) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_flipped_byte_in_a_compressed_metaimage(tmp_path, image, capfd):
    sitk.WriteImage(image, str(tmp_path / "a.mha"), True)
    content = bytearray((tmp_path / "a.mha").read_bytes())
    content[-20] ^= 255
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "a.mha")
    assert capfd.readouterr().err == ""


def test_absurd_spacing(tmp_path, image):
    image.SetSpacing((1e7, 1, 1))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(GeometryError, match="spacing is"):
        read_grid(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("unit", "mm"), [('"mm" "mm" "mm"', 1), ('"um" "um" "um"', 0.001), ('"µm" "µm" "µm"', 0.001), ('"m" "m" "m"', 1000)]
)
def test_the_unit_of_a_nrrd(tmp_path, unit, mm):
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: RAS\nsizes: 4 3 2\nspace directions: (2,0,0) (0,1.5,0) (0,0,3)\n"
        f"space origin: (10,20,30)\nspace units: {unit}\nencoding: raw\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(24))
    np.testing.assert_allclose(read_grid(tmp_path / "a.nrrd").to_world([1, 1, 1]), [12 * mm, 21.5 * mm, 33 * mm])


def test_the_unit_of_a_metaimage(tmp_path, image):
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    inside = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(inside.replace(b"DimSize", b"DistanceUnits = um\nDimSize"))
    np.testing.assert_allclose(read_grid(tmp_path / "a.mha").spacing, [0.0007, 0.0008, 0.003])
    (tmp_path / "a.mha").write_bytes(inside.replace(b"DimSize", b"DistanceUnits = furlong\nDimSize"))
    with pytest.raises(InputError, match="has the unit 'furlong'; expected one of mm, cm, m or um"):
        read_grid(tmp_path / "a.mha")


def test_a_nrrd_that_does_not_say_how_the_patient_lies_is_a_warning(tmp_path, caplog):
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nspacings: 2 1.5 3\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(24))
    np.testing.assert_allclose(read_grid(tmp_path / "a.nrrd").to_world([1, 1, 1]), [-2, -1.5, 3])
    assert "a.nrrd: does not say how its axes lie in the patient" in caplog.text


@pytest.mark.parametrize("content", ["a.mha", "a.nrrd"])
def test_the_content_says_which_format_it_is(tmp_path, image, content):
    sitk.WriteImage(image, str(tmp_path / content))
    other = (tmp_path / content).rename(tmp_path / ("b.nrrd" if content == "a.mha" else "b.mha"))
    np.testing.assert_array_equal(read(other).array, sitk.GetArrayFromImage(image).T)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "v1.2.mha"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2"])
def test_a_written_scan_has_its_type_values_and_places(tmp_path, oblique_grid, name, dtype):
    array = np.random.default_rng(0).integers(0, 120, oblique_grid.shape).astype(dtype)
    write(Volume(array, oblique_grid), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    volume = read(tmp_path / name)
    assert volume.array.dtype == (np.float32 if dtype == "f8" else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(volume.array, array)
    assert volume.grid.is_close(oblique_grid, tolerance_mm=1e-9)
    stored = sitk.ReadImage(str(tmp_path / name))
    assert sitk.GetArrayViewFromImage(stored).dtype == np.dtype(dtype).newbyteorder("=")
    x, y, z = stored.TransformIndexToPhysicalPoint((19, 3, 7))
    np.testing.assert_allclose([-x, -y, z], oblique_grid.to_world([19, 3, 7]))


@pytest.mark.parametrize(("dtype", "stored"), [(bool, np.uint8), (np.float16, np.float32), (np.longdouble, np.float32)])
def test_types_that_itk_lacks_are_written_as_the_next(tmp_path, oblique_grid, dtype, stored):
    write(Volume(np.ones(oblique_grid.shape, dtype), oblique_grid), tmp_path / "a.nrrd")
    array = read(tmp_path / "a.nrrd").array
    assert array.dtype == stored
    assert (array == 1).all()


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_scan_on_a_sheared_grid_is_not_written(tmp_path, oblique_grid, name):
    affine = oblique_grid.affine.copy()
    affine[1, 2] += 0.7
    sheared = Grid(oblique_grid.shape, affine)
    with pytest.raises(OutputError, match=r"not perpendicular .*write \.nii\.gz, or resample"):
        write(Volume(np.zeros(sheared.shape, np.uint8), sheared), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_upper_case_suffix_would_split_the_file(tmp_path, oblique_grid):
    with pytest.raises(OutputError, match=r"lower case, \.mha"):
        write(Volume(np.zeros(oblique_grid.shape, np.uint8), oblique_grid), tmp_path / "a.MHA")


def test_a_grid_that_does_not_come_back_is_not_written(tmp_path, oblique_grid, monkeypatch):
    monkeypatch.setattr(sitk.Image, "SetDirection", lambda *_: None)
    with pytest.raises(OutputError, match=r"does not hold the grid \(20x24x10 voxels, .*exactly"):
        write(Volume(np.zeros(oblique_grid.shape, np.uint8), oblique_grid), tmp_path / "a.nrrd")
    assert list(tmp_path.iterdir()) == []
