from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from volseg.errors import GeometryError, InputError, OutputError
from volseg.geometry import Grid
from volseg.io import read_labels
from volseg.io.itk import read_itk, read_itk_grid, read_segments, write_seg_nrrd
from volseg.labelmap import Label, LabelMap

SPINE, LIVER, ABSENT = (
    Label(3, "Wirbelsäule", (255, 0, 10)),
    Label(300, "liver", (1, 2, 3)),
    Label(301, "gone", (9, 9, 9)),
)


@pytest.fixture
def labelmap(oblique_grid) -> LabelMap:
    array = np.zeros(oblique_grid.shape, np.int32)
    array[2:5, 3, 1:9] = SPINE.value
    array[19, 23, 9] = LIVER.value
    return LabelMap(array, oblique_grid, (SPINE, LIVER, ABSENT))


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
    volume = read_itk(tmp_path / name)
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
    volume = read_itk(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array[..., 0], sitk.GetArrayFromImage(flat).T)
    np.testing.assert_allclose(volume.grid.to_world([1, 1, 0]), [-10.7, -20.8, 0], atol=1e-6)


def test_float64_becomes_float32(tmp_path, image):
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat64), str(tmp_path / "a.nrrd"))
    assert read_itk(tmp_path / "a.nrrd").array.dtype == np.float32


def test_a_tilted_gantry_keeps_its_shear(tmp_path):
    header = (
        "NRRD0005\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 4 3 2\n"
        "space directions: (2,0,0) (0,1.5,0) (0,0.8,3)\nspace origin: (10,20,30)\nendian: little\nencoding: raw\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + np.arange(24, dtype="<i2").tobytes())
    np.testing.assert_allclose(read_itk(tmp_path / "a.nrrd").grid.to_world([1, 1, 1]), [12, 22.3, 33], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda im: sitk.Compose(im, im), "2 numbers a voxel"),
        (lambda im: sitk.JoinSeries(im, im), "4 dimensions"),
        (lambda im: sitk.RealAndImaginaryToComplex(*[sitk.Cast(im, sitk.sitkFloat32)] * 2), "numbers a voxel|complex"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(tmp_path, image, make, message):
    sitk.WriteImage(make(image), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match=message):
        read_itk(tmp_path / "a.nrrd")


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
        read_itk(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_flipped_byte_in_a_compressed_metaimage(tmp_path, image, capfd):
    sitk.WriteImage(image, str(tmp_path / "a.mha"), True)
    content = bytearray((tmp_path / "a.mha").read_bytes())
    content[-20] ^= 255
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_itk(tmp_path / "a.mha")
    assert capfd.readouterr().err == ""


def test_absurd_spacing(tmp_path, image):
    image.SetSpacing((1e7, 1, 1))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(GeometryError, match="spacing is"):
        read_itk_grid(tmp_path / "a.nrrd")


def test_seg_nrrd_keeps_values_positions_names_and_colours(tmp_path, labelmap):
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(labelmap, path)
    volume = read_itk(path)
    np.testing.assert_array_equal(volume.array, labelmap.array)
    assert volume.array.dtype == np.uint16
    assert volume.grid.is_close(labelmap.grid, tolerance_mm=1e-9)
    assert read_segments(path) == labelmap.labels
    assert volume.name == "a"


def test_seg_nrrd_has_what_slicer_reads(tmp_path, labelmap):
    write_seg_nrrd(labelmap, tmp_path / "a.seg.nrrd")
    header = (tmp_path / "a.seg.nrrd").read_bytes().split(b"\n\n")[0].decode().splitlines()
    assert "encoding: gzip" in header
    assert "space: left-posterior-superior" in header
    assert "Segment0_ID:=Segment_3" in header
    assert "Segment0_LabelValue:=3" in header
    assert "Segment0_Layer:=0" in header
    assert "Segment0_Extent:=2 4 3 3 1 8" in header
    assert "Segment2_Extent:=0 -1 0 -1 0 -1" in header
    assert "Segment1_Color:=0.00392157 0.00784314 0.0117647" in header


def test_seg_nrrd_keeps_shear(tmp_path, labelmap):
    affine = labelmap.grid.affine.copy()
    affine[1, 2] += 0.7
    sheared = LabelMap(labelmap.array, Grid(labelmap.grid.shape, affine), labelmap.labels)
    write_seg_nrrd(sheared, tmp_path / "a.seg.nrrd")
    assert read_itk_grid(tmp_path / "a.seg.nrrd").is_close(sheared.grid, tolerance_mm=1e-6)


def test_label_values_that_do_not_fit_are_refused(tmp_path, labelmap):
    wide = LabelMap.from_array(labelmap.array * 1000, labelmap.grid)
    with pytest.raises(OutputError, match=r"300000; .*write \.nii\.gz"):
        write_seg_nrrd(wide, tmp_path / "a.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_damaged_segment_entry(tmp_path, labelmap):
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(labelmap, path)
    path.write_bytes(path.read_bytes().replace(b"Segment0_LabelValue:=3", b"Segment0_LabelValue:=x"))
    with pytest.raises(InputError, match="damaged segment entry"):
        read_segments(path)


def test_a_segment_without_colour_and_value(tmp_path, image):
    image.SetMetaData("Segment0_ID", "Tumour")
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    (label,) = read_segments(tmp_path / "a.seg.nrrd")
    assert (label.value, label.name) == (1, "Tumour")


def test_segments_of_one_name_are_told_apart(tmp_path, labelmap, caplog):
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(labelmap, path)
    path.write_bytes(path.read_bytes().replace(b"Segment2_Name:=gone", b"Segment2_Name:=liver"))
    assert [label.name for label in read_labels(path).labels] == ["Wirbelsäule", "liver_300", "liver_301"]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "a.seg.nrrd: several segments are called liver" in record.message
