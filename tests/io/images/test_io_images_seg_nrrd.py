"""Slicer's segmentations: names, colours, codes and layers in the header of a NRRD file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap, default_colour
from volseg.errors import InputError, OutputError, UsageError
from volseg.io import read, read_grid, read_label_layers, read_labels
from volseg.io.images.itk import read_seg_layers, write_seg_nrrd
from volseg.io.images.seg_nrrd import read_segments

SPINE, LIVER, ABSENT = (
    Label(3, "Wirbelsäule", (255, 0, 10)),
    Label(300, "liver", (1, 2, 3), "SCT:10200004"),
    Label(301, "gone", (9, 9, 9)),
)


@pytest.fixture
def labelmap(oblique_grid) -> LabelMap:
    array = np.zeros(oblique_grid.shape, np.int32)
    array[2:5, 3, 1:9] = SPINE.value
    array[19, 23, 9] = LIVER.value
    return LabelMap(array, oblique_grid, (SPINE, LIVER, ABSENT))


def layered_file(path, entries: str, *, layers: int = 2, type_: str = "unsigned char", size: int = 1) -> np.ndarray:
    """Write layers as Slicer does, on the grid diag(-1, -2, 3); return them as (layer, i, j, k)."""
    array = np.random.default_rng(0).integers(0, 3, (layers, 4, 3, 2)).astype(f"u{size}")
    header = (
        f"NRRD0004\n# Slicer\ntype: {type_}\ndimension: 4\nspace: left-posterior-superior\nsizes: {layers} 4 3 2\n"
        "space directions: none (1,0,0) (0,2,0) (0,0,3)\nkinds: list domain domain domain\nendian: little\n"
        f"encoding: raw\nspace origin: (-10,-20,30)\n{entries.strip()}\n\n"
    )
    path.write_bytes(header.encode() + array.tobytes(order="F"))
    return array


def segment(number: int, *, layer: int, value: int, name: str, tags: str = "") -> str:
    return (
        f"Segment{number}_ID:=Segment_{number + 1}\nSegment{number}_Name:={name}\nSegment{number}_Color:=1 0.5 0\n"
        f"Segment{number}_LabelValue:={value}\nSegment{number}_Layer:={layer}\nSegment{number}_Tags:={tags}\n"
        f"Segment{number}_Extent:=0 3 0 2 0 1\n"
    )


LIVER_TAGS = (
    "Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^|"
)
MASS_TAGS = (
    "TerminologyEntry:Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^4147007^Mass~SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^|"
)


def test_layers_are_label_maps_with_names_colours_and_codes(tmp_path):
    path = tmp_path / "a.seg.nrrd"
    entries = (
        segment(0, layer=0, value=1, name="liver", tags=LIVER_TAGS)
        + segment(1, layer=1, value=1, name="tumour", tags=MASS_TAGS)
        + segment(2, layer=0, value=2, name="spleen")
    )
    array = layered_file(path, entries)
    first, second = read_seg_layers(path)
    np.testing.assert_array_equal(first.array, array[0])
    np.testing.assert_array_equal(second.array, array[1])
    np.testing.assert_allclose(first.grid.to_world([1, 1, 1]), [9, 18, 33])
    assert second.grid is first.grid
    assert first.labels == (Label(1, "liver", (255, 128, 0), "SCT:10200004"), Label(2, "spleen", (255, 128, 0)))
    assert second.labels == (
        Label(1, "tumour", (255, 128, 0), "SCT:4147007"),
        Label(2, "label_2", default_colour(2)),
    )
    assert first.array.flags.f_contiguous


def test_files_of_older_slicers_have_a_mask_for_each_segment_and_no_values(tmp_path):
    path = tmp_path / "a.seg.nrrd"
    entries = "".join(f"Segment{n}_ID:=Segment_{n}\nSegment{n}_Name:=organ {n}\n" for n in range(3))
    array = layered_file(path, entries, layers=3, type_="unsigned short", size=2)
    layers = read_seg_layers(path)
    assert [label.name for layer in layers for label in layer.labels] == ["organ 0", "organ 1", "organ 2"]
    for n, layer in enumerate(layers):
        np.testing.assert_array_equal(layer.array, np.where(array[n] != 0, n + 1, 0))


def spatial_file(path, masks: np.ndarray, entries: str, *, space: str = "space dimension: 4") -> None:
    """Write masks (layer, i, j, k) as Slicer 4 did: layers along a fourth axis of space, in RAS, on diag(-1, -2, 3)."""
    header = (
        f"NRRD0004\ntype: unsigned char\ndimension: 4\n{space}\n"
        f"sizes: {' '.join(map(str, masks.shape[1:]))} {len(masks)}\n"
        "space directions: (-1,0,0,0) (0,-2,0,0) (0,0,3,0) (0,0,0,1)\nkinds: domain domain domain domain\n"
        f"encoding: raw\nspace origin: (10,20,-30,0)\n{entries.strip()}\n\n"
    )
    path.write_bytes(header.encode() + masks.transpose(1, 2, 3, 0).astype(np.uint8).tobytes(order="F"))


def old_entries(extents: list[str], *, extent: str = "") -> str:
    lines = [
        f"Segment{n}_ID:=id\nSegment{n}_Name:=organ {n}\nSegment{n}_DefaultColor:=0 {n} 1\nSegment{n}_Extent:={text}\n"
        for n, text in enumerate(extents)
    ]
    return "".join(lines) + (f"Segmentation_Extent:={extent}\n" if extent else "")


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    start=st.tuples(*[st.integers(-4, 300)] * 3),
    seed=st.integers(0, 99),
)
def test_layers_on_a_fourth_axis_of_space(tmp_path_factory, shape, start, seed):
    masks = np.random.default_rng(seed).random(shape) > 0.6
    extent = " ".join(f"{a} {a + n - 1}" for a, n in zip(start, shape[1:], strict=True))
    path = tmp_path_factory.mktemp("old") / "a.seg.nrrd"
    for text, first in (("", (0, 0, 0)), (extent, start)):
        spatial_file(path, masks, old_entries([extent] * len(masks), extent=text))
        layers = read_seg_layers(path)
        assert [label.name for layer in layers for label in layer.labels] == [f"organ {n}" for n in range(len(masks))]
        assert [label.colour for layer in layers for label in layer.labels][:2] == [(0, 0, 255), (0, 255, 255)][
            : shape[0]
        ]
        for layer, mask in zip(layers, masks, strict=True):
            np.testing.assert_array_equal(layer.array != 0, mask)
            np.testing.assert_allclose(layer.grid.origin, np.array([10, 20, -30]) + np.array(first) * [-1, -2, 3])
            assert layer.grid.spacing == (1, 2, 3)
            assert layer.grid.orientation == "LPS"


@pytest.mark.parametrize(("later", "expected"), [("", 10 - 7), ("Segmentation_ReferenceImageExtentOffset:=7 0 0", 10)])
def test_the_first_voxel_has_the_extent_of_the_file_only_where_the_origin_has_not(tmp_path, later, expected):
    entries = f"Segment0_ID:=a\nSegmentation_Extent:=7 10 0 2 0 1\n{later}\n"
    layered_file(tmp_path / "a.seg.nrrd", entries)
    assert read_seg_layers(tmp_path / "a.seg.nrrd")[0].grid.origin[0] == pytest.approx(expected)
    # An extent of another size than the file is ignored.
    layered_file(tmp_path / "a.seg.nrrd", entries.replace("7 10", "7 11"))
    assert read_seg_layers(tmp_path / "a.seg.nrrd")[0].grid.origin[0] == pytest.approx(10)


def test_four_axes_without_segments_are_no_segmentation(tmp_path):
    spatial_file(tmp_path / "a.nrrd", np.ones((2, 4, 3, 2)), "thing:=x")
    assert read_seg_layers(tmp_path / "a.nrrd") == ()


def test_masks_that_do_not_meet_are_one_label_map(tmp_path, caplog):
    masks = np.zeros((3, 4, 3, 2))
    masks[0, 0], masks[1, 1], masks[2, :2] = 1, 255, 1
    path = tmp_path / "a.seg.nrrd"
    spatial_file(path, masks, old_entries(["0 3 0 2 0 1"] * 3))
    first, second = read_label_layers(path)
    assert [label.name for label in first.labels] == ["organ 0", "organ 1"]
    np.testing.assert_array_equal(first.array[:, 0, 0], [1, 2, 0, 0])
    np.testing.assert_array_equal(second.array[:, 0, 0], [3, 3, 0, 0])
    assert read_labels(path, only=["organ 2"]).labels == second.labels
    assert read_labels(path, only=["organ 0", "organ 1"]).labels == first.labels
    assert "does not say how its axes lie in the patient (space); taken as RAS" in caplog.text


def test_a_segmentation_of_slicer_4(found):
    layers = read_label_layers(found / "segnrrd-old-4d" / "old4d.seg.nrrd")
    volumes = {
        label.name: layer.mask(label).sum() * layer.grid.voxel_volume_mm3 / 1000
        for layer in layers
        for label in layer.labels
    }
    assert volumes == pytest.approx({"A": 0.675, "B": 0.540})


def test_segments_without_a_colour_have_that_of_their_name_and_none_twice(tmp_path):
    names = ("liver", "spleen", "Liver")
    entries = "".join(
        f"Segment{n}_ID:=S{n}\nSegment{n}_Name:={m}\nSegment{n}_LabelValue:={n + 1}\n" for n, m in enumerate(names)
    )
    layered_file(
        tmp_path / "a.seg.nrrd", entries.replace("Segment1_ID", "Segment1_Color:=1 0.5 0\nSegment1_ID"), layers=1
    )
    liver, spleen, twin = read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels
    assert (liver.colour, spleen.colour) == (default_colour(1, "liver"), (255, 128, 0))
    assert twin.colour not in (liver.colour, spleen.colour)


def test_layers_without_segments_are_no_segmentation(tmp_path):
    layered_file(tmp_path / "a.nrrd", "thing:=x")
    assert read_seg_layers(tmp_path / "a.nrrd") == ()
    with pytest.raises(InputError, match="holds 2 volumes"):
        read(tmp_path / "a.nrrd")


# Damaged entries of the second of two segments, and the part that is left out: its colour, its name, or nothing.
ODD = {
    "Color": {"red": "colour", "inf 0 0": "colour", "nan 0 0": "colour", "255 0 0": "colour", "1 0": "colour", "": ""},
    "LabelValue": {"x": "name", "2.0": "name", "0": "name", "-4": "name", "": "name", "9" * 5000: "name", " 2 ": ""},
    "Layer": {"2": "name", "-1": "name", "x": "name", "": ""},
    "Extent": {"": "", "a b": "", "9 0 1e9 nan 0 0": "", "0 3": ""},
    "Tags": {"": "", "|||~^~^TerminologyEntry:~~~|": "", "x" * 10000: "", "\0": ""},
    "ID": {"": "", "  ": "", "\x1b": ""},
}


@pytest.mark.parametrize(
    ("key", "text", "lost"), [(k, t, lost) for k, texts in ODD.items() for t, lost in texts.items()]
)
@pytest.mark.parametrize("missing", [False, True])
def test_an_odd_entry_harms_nothing_else(tmp_path, caplog, key, text, lost, missing):
    good, bad = segment(0, layer=0, value=1, name="good"), segment(1, layer=0, value=2, name="bad", tags=LIVER_TAGS)
    lines = bad.splitlines()
    odd = [line for line in lines if f"_{key}:=" not in line] + ([] if missing else [f"Segment1_{key}:={text}"])
    array = layered_file(tmp_path / "a.seg.nrrd", good + "\n".join(odd))
    if missing:
        lost = "name" if key == "LabelValue" else ""
    first, second = read_seg_layers(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(first.array, array[0])
    np.testing.assert_array_equal(second.array, array[1])
    assert [label.name for label in first.labels] == ["good", "label_2" if lost == "name" else "bad"]
    assert first.labels[0].colour == (255, 128, 0)
    assert (first.labels[1].colour == (255, 128, 0)) == (not lost and (key != "Color"))
    said = [record.message for record in caplog.records if "not what 3D Slicer writes, left out: " in record.message]
    assert len(said) == bool(lost)
    assert not lost or ("bad (" in said[0] and ("the colour of bad" in said[0]) == (lost == "colour"))


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                key: st.text(alphabet="012 x.-~^|:=", max_size=6)
                for key in ("ID", "Name", "Color", "LabelValue", "Layer", "Tags", "Extent", "DefaultColor")
            },
        ),
        max_size=4,
    ),
    st.integers(1, 3),
)
def test_no_entries_whatever_refuse_the_voxels(entries, layers):
    header = {f"Segment{n}_{key}": text for n, segment in enumerate(entries) for key, text in segment.items()}
    found = read_segments(header, layers, Path("a.seg.nrrd"))
    assert (found is None) == (not any({"ID", "Name"} & segment.keys() for segment in entries))
    grid, array = Grid.from_spacing((3, 1, 1)), np.arange(3).reshape(3, 1, 1)
    for n, labels in enumerate(found.layers if found else ()):
        LabelMap.from_array(found.values_of(n, array), grid, labels=labels)


def test_of_two_segments_with_one_value_the_first_has_it(tmp_path, caplog):
    entries = segment(0, layer=0, value=1, name="x") + segment(1, layer=0, value=1, name="y")
    layered_file(tmp_path / "a.seg.nrrd", entries)
    assert [label.name for label in read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels] == ["x", "label_2"]
    assert "left out: y (has the value 1, as x has)" in caplog.text
    layered_file(tmp_path / "a.seg.nrrd", entries.replace("Segment0_LabelValue:=1\n", ""))
    assert [label.name for label in read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels] == ["y", "label_2"]


def test_names_are_one_plain_line(tmp_path):
    layered_file(tmp_path / "a.seg.nrrd", segment(0, layer=0, value=1, name="a\x1b[31mb\tc"))
    assert read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels[0].name == "a?[31mb c"


@pytest.mark.parametrize(
    "tags",
    [
        "",
        "|",
        "TerminologyEntry:|",
        "TerminologyEntry:a~b^c^d|",
        "TerminologyEntry:a~b^c^d~^^~^^~~^^~^^|",
        "x:~SCT^1^y~SCT^2^z",
    ],
)
def test_tags_without_a_code(tmp_path, tags):
    layered_file(tmp_path / "a.seg.nrrd", segment(0, layer=0, value=1, name="x", tags=tags))
    assert read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels[0].code is None


def test_names_that_are_not_utf8(tmp_path):
    path = tmp_path / "a.seg.nrrd"
    layered_file(path, segment(0, layer=0, value=1, name="Lebertum?r") + "K?y:=1")
    path.write_bytes(path.read_bytes().replace(b"?", b"\xfc"))
    assert read_seg_layers(path)[0].labels[0].name == "Lebertum\N{REPLACEMENT CHARACTER}r"


def test_written_layers_come_back(tmp_path, labelmap):
    overlapping = np.zeros(labelmap.array.shape, np.uint8)
    overlapping[2:9, 3, 1:9] = 3
    second = LabelMap(overlapping, labelmap.grid, (Label(3, "lesion", (7, 8, 9), "SCT:52988006"),))
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd([labelmap, second], path)
    for expected, found in zip((labelmap, second), read_seg_layers(path), strict=True):
        np.testing.assert_array_equal(found.array, expected.array)
        assert found.grid.is_close(labelmap.grid, tolerance_mm=1e-9)
        assert found.labels == expected.labels
    header = path.read_bytes().split(b"\n\n")[0].decode()
    assert "sizes: 2 20 24 10" in header
    assert "Segment3_ID:=Segment_1_3\n" in header
    assert "Segment3_Layer:=1\n" in header
    assert "Segment3_Extent:=2 8 3 3 1 8\n" in header


def test_layers_must_share_a_grid(tmp_path, labelmap):
    other = LabelMap(labelmap.array, labelmap.grid.crop((1, 0, 0), (21, 24, 10)), labelmap.labels)
    with pytest.raises(OutputError, match="layers lie on different grids"):
        write_seg_nrrd([labelmap, other], tmp_path / "a.seg.nrrd")
    with pytest.raises(UsageError, match="no label map is given"):
        write_seg_nrrd([], tmp_path / "a.seg.nrrd")


def test_codes_are_written_as_slicers_terminology(tmp_path):
    labels = (
        Label(1, "liver", (1, 1, 1), "SCT:10200004"),
        Label(2, "left kidney", (2, 2, 2), "SCT:64033007"),
        Label(3, "tumour", (3, 3, 3), "SCT:108369006"),
        Label(4, "mine|~^", (4, 4, 4), "99X:a1"),
        Label(5, "no code", (5, 5, 5)),
        Label(6, "Kidney_R", (6, 6, 6)),
    )
    array = np.arange(7, dtype=np.uint8).reshape(7, 1, 1)
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(LabelMap(array, Grid.from_spacing(array.shape), labels), path)
    # A known name without a code gets that of the table.
    assert read_seg_layers(path)[0].labels == (*labels[:5], replace(labels[5], code="SCT:64033007"))
    context = "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
    lines = path.read_bytes().split(b"\n\n")[0].decode().splitlines()
    tags = [line.split(":=")[1] for line in lines if "_Tags:=" in line]
    rest = "Anatomic codes - DICOM master list~^^~^^|"
    anatomy = f"{context}~SCT^123037004^Anatomical Structure"
    altered = f"{context}~SCT^49755003^Morphologically Altered Structure"
    assert tags == [
        f"{anatomy}~SCT^10200004^Liver~^^~{rest}",
        f"{anatomy}~SCT^64033007^Kidney~SCT^7771000^Left~{rest}",
        f"{altered}~SCT^108369006^Neoplasm~^^~{rest}",
        f"{anatomy}~99X^a1^mine___~^^~{rest}",
        "",
        f"{anatomy}~SCT^64033007^Kidney~SCT^24028007^Right~{rest}",
    ]


@pytest.mark.parametrize("code", ["7", "SCT:1|2", "SCT: 3", "a~b:c"])
def test_codes_of_another_form_are_not_written(tmp_path, code):
    array = np.ones((2, 1, 1), np.uint8)
    write_seg_nrrd(
        LabelMap(array, Grid.from_spacing((2, 1, 1)), (Label(1, "x", (1, 1, 1), code),)), tmp_path / "a.seg.nrrd"
    )
    assert read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels[0].code is None


@pytest.mark.parametrize("name", ["back\\slash", 'quo"te', "x:=y", "größe", "# hash"])
def test_any_name_comes_back(tmp_path, name):
    array = np.ones((2, 1, 1), np.uint8)
    write_seg_nrrd(LabelMap(array, Grid.from_spacing((2, 1, 1)), (Label(1, name, (1, 1, 1)),)), tmp_path / "a.seg.nrrd")
    assert read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels[0].name == name


def test_seg_nrrd_keeps_values_positions_names_and_colours(tmp_path, labelmap):
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(labelmap, path)
    volume = read(path)
    np.testing.assert_array_equal(volume.array, labelmap.array)
    assert volume.array.dtype == np.uint16
    assert volume.grid.is_close(labelmap.grid, tolerance_mm=1e-9)
    assert read_seg_layers(path)[0].labels == labelmap.labels
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
    assert read_grid(tmp_path / "a.seg.nrrd").is_close(sheared.grid, tolerance_mm=1e-6)


def test_label_values_that_do_not_fit_are_refused(tmp_path, labelmap):
    wide = LabelMap.from_array(labelmap.array * 1000, labelmap.grid)
    with pytest.raises(OutputError, match=r"300000; .*write \.nii\.gz"):
        write_seg_nrrd(wide, tmp_path / "a.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_a_segment_without_colour_and_value(tmp_path):
    image = sitk.Image(4, 3, 2, sitk.sitkUInt8)
    image.SetMetaData("Segment0_ID", "Tumour")
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    (label,) = read_seg_layers(tmp_path / "a.seg.nrrd")[0].labels
    assert (label.value, label.name) == (1, "Tumour")


def test_segments_of_one_name_are_told_apart(tmp_path, labelmap, caplog):
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(labelmap, path)
    path.write_bytes(path.read_bytes().replace(b"Segment2_Name:=gone", b"Segment2_Name:=liver"))
    assert [label.name for label in read_labels(path).labels] == ["Wirbelsäule", "liver_300", "liver_301"]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "a.seg.nrrd: several segments are called liver" in record.message
