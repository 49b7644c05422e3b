from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from world import assert_same_in_world

from volseg.conversion import ConversionOptions, convert, convert_all, put_on_grid
from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, GeometryError, InputError, OutputError, UsageError
from volseg.io import read, read_all, read_channels, read_label_layers, read_labels, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.images.itk import write_seg_nrrd
from volseg.io.images.nifti import write_nifti
from volseg.io.labels.table import write_label_table

LABELS = (Label(2, "liver", (221, 130, 101), "SCT:10200004"), Label(5, "lesion", (0, 151, 206)))
AS_SCAN = ["out.nii.gz", "out.nii", "out.nrrd", "out.mha", "out"]
AS_LABELS = ["out.nii.gz", "out.nii", "out.nrrd", "out.mha", "out.seg.nrrd", "seg.dcm", "labelmap.dcm", "rtstruct.dcm"]


@pytest.fixture
def scan(oblique_grid: Grid) -> Volume:
    shape = (11, 9, 7)
    array = np.random.default_rng(0).integers(-1000, 3000, shape).astype(np.int16)
    return Volume(array, Grid(shape, oblique_grid.affine), modality="MR")


@pytest.fixture
def slices(scan: Volume, tmp_path: Path) -> Path:
    write_dicom_series(scan, tmp_path / "slices", description="head")
    return tmp_path / "slices"


@pytest.fixture
def labelmap(scan: Volume) -> LabelMap:
    array = np.zeros(scan.grid.shape, np.uint8)
    array[1:6, 2:8, 1:5], array[7:10, 1:4, 3:6], array[3, 4:6, 2:4] = 2, 5, 0
    return LabelMap(array, scan.grid, LABELS)


@pytest.fixture
def labels_file(labelmap: LabelMap, tmp_path: Path) -> Path:
    return write(labelmap, tmp_path / "labels.nii.gz")[0]


def shifted(grid: Grid, *step_mm: float) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += step_mm
    return Grid(grid.shape, affine)


# ----------------------------------------------------------------------------------------------------------- scans


@pytest.mark.parametrize("name", AS_SCAN)
@pytest.mark.parametrize("back", ["back.nii.gz", "back.mha", "back"])
def test_a_scan_to_every_form_and_back(scan: Volume, slices: Path, tmp_path: Path, name: str, back: str) -> None:
    convert(slices, tmp_path / name)
    files = convert(tmp_path / name, tmp_path / back)
    assert all(file.is_file() for file in files)
    found = read(tmp_path / back)
    assert_same_in_world(found, scan)
    assert found.array.dtype == np.int16


def test_values_of_a_file_stay_as_they_are(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    write(Volume(array, Grid.from_spacing(array.shape)), tmp_path / "in.nii")
    assert convert(tmp_path / "in.nii", tmp_path / "out.nii.gz") == [tmp_path / "out.nii.gz"]
    np.testing.assert_array_equal(read(tmp_path / "out.nii.gz").array, array)


def test_one_of_several_series(scan: Volume, slices: Path, tmp_path: Path) -> None:
    write_dicom_series(scan.with_array(scan.array // 2), slices / "other", description="half")
    with pytest.raises(AmbiguousError, match="choose one by number"):
        convert(slices, tmp_path / "out.nii")
    convert(slices, tmp_path / "out.nii", series="half")
    found = read(tmp_path / "out.nii")
    assert_same_in_world(found, scan.with_array(scan.array // 2))


def test_strict_refuses_repairs(slices: Path, tmp_path: Path) -> None:
    sorted(slices.iterdir())[2].unlink()
    with pytest.raises(InputError, match="repairs are switched off"):
        convert(slices, tmp_path / "out.nii", strict=True)
    convert(slices, tmp_path / "out.nii")
    assert read(tmp_path / "out.nii").grid.shape == (11, 9, 7)


def test_every_volume_becomes_a_file(scan: Volume, slices: Path, tmp_path: Path) -> None:
    write_dicom_series(scan.with_array(scan.array // 2), slices / "other", description="HEAD")
    for file in write_dicom_series(scan, slices / "placeless", description="lost"):
        dataset = pydicom.dcmread(file)
        del dataset.ImagePositionPatient
        dataset.save_as(file)
    good, half, lost = convert_all(slices, tmp_path / "out", form="nrrd")
    assert good.files == (tmp_path / "out" / "head.nrrd",)
    assert half.files == (tmp_path / "out" / "HEAD_1.nrrd",)  # by its number, also apart where case does not count
    assert half.origin.startswith("series 1 'HEAD' MR 11x9x7 [...")
    assert (lost.name, lost.files) == ("lost", ())
    assert "ImagePositionPatient is missing" in str(lost.error)
    assert_same_in_world(read(half.files[0]), scan.with_array(scan.array // 2))


def test_every_volume_of_a_4d_file(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 99, (4, 5, 6, 3)).astype(np.int16)
    write_nifti(array, Grid.from_spacing((4, 5, 6)), tmp_path / "film.nii.gz")
    results = list(convert_all(tmp_path / "film.nii.gz", tmp_path / "out", form="dicom"))
    assert [result.name for result in results] == ["film_0", "film_1", "film_2"]
    for number in range(3):
        np.testing.assert_array_equal(read(tmp_path / "out" / f"film_{number}").array, array[..., number])


def test_other_images_of_a_folder_are_converted_too(
    scan: Volume, slices: Path, labels_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(scan, tmp_path / "more" / "a.nii.gz")
    write(scan, tmp_path / "more" / "b.mha")
    (tmp_path / "more" / "cut.nii").write_bytes(b"cut")
    for _ in range(2):  # the written files are not inputs of the second
        results = list(convert_all(tmp_path, tmp_path / "out", overwrite=True))
        assert [result.name for result in results] == ["head", "a", "b", "cut"]
    assert [bool(result.error) for result in results] == [False, False, False, True]
    assert results[1].origin == str(tmp_path / "more" / "a.nii.gz")
    assert_same_in_world(read(results[2].files[0]), scan)
    assert "labels.nii.gz: is a label map, not a scan; left out" in caplog.text


def test_a_folder_without_dicom_says_what_it_holds(scan: Volume, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write(scan, tmp_path / "two" / name)
    with pytest.raises(InputError, match=r"two: holds 2 NIfTI, .* files \(a.nii.gz, b.nii.gz\), no DICOM; give one"):
        convert(tmp_path / "two", tmp_path / "out.nii.gz")
    assert len(list(convert_all(tmp_path / "two", tmp_path / "out"))) == 2


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_the_one_image_of_a_folder_is_what_is_meant(scan: Volume, tmp_path: Path, kind: type) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    nibabel.save(kind(scan.array, scan.grid.affine), folder / "scan.hdr")
    for _ in range(2):  # the files written beside it are not inputs of the second
        convert(folder, folder / "out.nii.gz", overwrite=True)
        assert_same_in_world(read(folder / "out.nii.gz"), scan)


def test_names_are_those_of_read_all(scan: Volume, slices: Path, tmp_path: Path) -> None:
    write_dicom_series(scan, slices / "other", description="head")
    results = convert_all(slices, tmp_path / "out")
    assert [result.files[0].name for result in results] == [f"{name}.nii.gz" for name in read_all(slices)]


def test_all_needs_a_folder(slices: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out.seg.nrrd: is the name of a file; all volumes \(--all\) go into"):
        list(convert_all(slices, tmp_path / "out.seg.nrrd"))


def test_unknown_format_of_all(slices: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format is 'png'; expected one of"):
        list(convert_all(slices, tmp_path / "out", form="png"))


@pytest.mark.parametrize("modality", ["CT", "mr", None])
def test_modality_of_a_series_is_chosen_or_that_of_the_values(
    scan: Volume, tmp_path: Path, modality: str | None
) -> None:
    write(scan, tmp_path / "scan.nii.gz")  # whose values are a little like those of CT
    files = convert(tmp_path / "scan.nii.gz", tmp_path / "out", modality=modality)
    (every,) = convert_all(tmp_path / "scan.nii.gz", tmp_path / "all", form="dicom", modality=modality)
    expected = (modality or "MR").upper()
    assert {pydicom.dcmread(file).Modality for file in (*files, *every.files)} == {expected}
    assert {read(tmp_path / "out").modality, read(tmp_path / "all" / "scan").modality} == {expected}


def test_modality_stands_in_the_json_file_of_dcm2niix(
    scan: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(scan, tmp_path / "scan.nii.gz")
    sidecar = tmp_path / "scan.json"
    sidecar.write_text('{"Modality": "CT"}')
    convert(tmp_path / "scan.nii.gz", tmp_path / "ct")
    assert not caplog.records
    convert(tmp_path / "scan.nii.gz", tmp_path / "mr", modality="MR")
    assert (read(tmp_path / "ct").modality, read(tmp_path / "mr").modality) == ("CT", "MR")
    for number, content in enumerate(['{"Modality": "PT"}', "[1]", '{"Modality": ["CT"]}', "{", '{"Modality": 7}']):
        sidecar.write_text(content)
        convert(tmp_path / "scan.nii.gz", tmp_path / f"{number}")
        assert read(tmp_path / f"{number}").modality == "MR"


def test_a_modality_against_that_of_the_source_is_said(
    slices: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    convert(slices, tmp_path / "out", modality="CT")
    assert "is MR, but is written as CT as chosen" in caplog.text
    assert read(tmp_path / "out").modality == "CT"


@pytest.mark.parametrize(
    ("target", "modality", "message"),
    [
        ("out", "PT", "modality is 'PT'; expected CT or MR"),
        ("out.nii.gz", "CT", "is only for writing a DICOM series"),
        ("out.seg.nrrd", "CT", "is only for writing a DICOM series"),
    ],
)
def test_modalities_that_cannot_be(scan: Volume, tmp_path: Path, target: str, modality: str, message: str) -> None:
    write(scan, tmp_path / "scan.nii.gz")
    with pytest.raises(UsageError, match=message):
        convert(tmp_path / "scan.nii.gz", tmp_path / target, modality=modality)
    assert not (tmp_path / target).exists()


# ---------------------------------------------------------------------------------------------------------- labels


def _form(name: str) -> str | None:
    return Path(name).stem if name.endswith(".dcm") else None


@pytest.mark.parametrize("name", AS_LABELS)
@pytest.mark.parametrize("back", ["back.nii.gz", "back.seg.nrrd", "back.mha"])
def test_labels_to_every_form_and_back(
    labelmap: LabelMap, labels_file: Path, slices: Path, tmp_path: Path, name: str, back: str
) -> None:
    form = _form(name)
    convert(labels_file, tmp_path / name, form=form, image=slices if form else None)
    files = convert(tmp_path / name, tmp_path / back, image=slices if form else None)
    assert all(file.is_file() for file in files)
    found = read_labels(tmp_path / back)
    assert_same_in_world(found, labelmap)
    assert [(label.value, label.name) for label in found.labels] == [(2, "liver"), (5, "lesion")]
    assert found.labels[0].code == "SCT:10200004"
    for label, expected in zip(found.labels, LABELS, strict=True):
        assert np.abs(np.subtract(label.colour, expected.colour)).max() <= 3  # through CIELab and 16 bits


def test_label_table_goes_along(labels_file: Path, tmp_path: Path) -> None:
    files = convert(labels_file, tmp_path / "new" / "out_dseg.nii.gz")
    assert [file.name for file in files] == ["out_dseg.nii.gz", "out_dseg.tsv", "out_dseg.json"]
    assert read_labels(files[0]).labels == LABELS


def test_folder_of_a_predicted_case(labels_file: Path, tmp_path: Path) -> None:
    assert convert(tmp_path, tmp_path / "out.seg.nrrd") == [tmp_path / "out.seg.nrrd"]
    # Slicer's form codes a known name that had no code.
    assert read_labels(tmp_path / "out.seg.nrrd").labels == (LABELS[0], replace(LABELS[1], code="SCT:52988006"))


def test_label_table_can_be_given(labelmap: LabelMap, tmp_path: Path) -> None:
    write_nifti(labelmap.array, labelmap.grid, tmp_path / "plain.nii")
    write_label_table([Label(2, "Leber", (1, 2, 3)), Label(5, "Herd", (4, 5, 6))], tmp_path / "names.tsv")
    convert(tmp_path / "plain.nii", tmp_path / "out.nii", labels=tmp_path / "names.tsv")
    assert [label.name for label in read_labels(tmp_path / "out.nii").labels] == ["Leber", "Herd"]


def test_without_a_table_a_file_is_a_scan(labelmap: LabelMap, tmp_path: Path) -> None:
    write_nifti(labelmap.array, labelmap.grid, tmp_path / "plain.nii")
    (tmp_path / "plain.tsv").write_text("onset\tduration\n1\t2\n", encoding="utf-8")
    assert convert(tmp_path / "plain.nii", tmp_path / "out.nii") == [tmp_path / "out.nii"]


def test_overlapping_labels_become_several_files(labelmap: LabelMap, slices: Path, tmp_path: Path) -> None:
    array = np.zeros_like(labelmap.array)
    array[2:5, 3:6, 2:6] = 1
    other = LabelMap(array, labelmap.grid, (Label(1, "tumour", (9, 9, 9)),))
    write_seg_nrrd([labelmap, other], tmp_path / "in.seg.nrrd")
    files = convert(tmp_path / "in.seg.nrrd", tmp_path / "out.nii.gz")
    assert [file.name for file in files] == ["out_1.nii.gz", "out_1.tsv", "out_2.nii.gz", "out_2.tsv"]
    assert_same_in_world(read_labels(files[2]), other)
    assert convert(tmp_path / "in.seg.nrrd", tmp_path / "out.seg.nrrd") == [tmp_path / "out.seg.nrrd"]
    assert len(read_label_layers(tmp_path / "out.seg.nrrd")) == 2
    objects = convert(tmp_path / "in.seg.nrrd", tmp_path / "out.dcm", image=slices)
    assert [file.name for file in objects] == ["out_1.dcm", "out_2.dcm"]
    with pytest.raises(OutputError, match=r"out_1.nii.gz: is there already"):
        convert(tmp_path / "in.seg.nrrd", tmp_path / "out.nii.gz")


def test_labels_come_onto_the_voxels_of_the_image(labelmap: LabelMap, slices: Path, tmp_path: Path) -> None:
    part = LabelMap(labelmap.array[1:, ::-1], _flipped(labelmap.grid.crop((1, 0, 0), labelmap.grid.shape)), LABELS)
    path = write(part, tmp_path / "part.nii.gz")[0]
    files = convert(path, tmp_path / "out.nii.gz", image=slices)
    found = read_labels(files[0])
    assert found.grid.is_close(read(slices).grid)
    assert_same_in_world(found, labelmap)


def _flipped(grid: Grid) -> Grid:
    flip = np.diag([1.0, -1, 1, 1])
    flip[1, 3] = grid.shape[1] - 1
    return Grid(grid.shape, grid.affine @ flip)


def test_another_grid_is_said_with_its_distance(
    labelmap: LabelMap, slices: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = LabelMap(labelmap.array, shifted(labelmap.grid, 0.4, 0, 0), LABELS)
    path = write(moved, tmp_path / "moved.nii.gz")[0]
    for name in ("out.dcm", "out.nii.gz"):
        caplog.clear()
        convert(path, tmp_path / name, image=slices)
        assert "lies on another grid than the image" in caplog.text
        assert "corners up to 0.4 mm apart" in caplog.text


def test_labels_that_are_lost_are_said(
    labelmap: LabelMap, slices: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    array = labelmap.array.copy()
    array[array == 5] = 0
    array[0, 0, 0] = 5
    grid = labelmap.grid
    moved = LabelMap(array, shifted(grid, *(grid.to_world([-2, 0, 0]) - grid.to_world([0, 0, 0]))), LABELS)
    convert(write(moved, tmp_path / "m.nii")[0], tmp_path / "out.nii", image=slices)
    assert "% of the labelled voxels lie outside the image and are lost" in caplog.text
    assert "no voxel of the image has the label lesion" in caplog.text


@pytest.mark.parametrize("name", ["out.dcm", "out.nii.gz"])
def test_labels_outside_the_image_are_refused(labelmap: LabelMap, slices: Path, tmp_path: Path, name: str) -> None:
    path = write(LabelMap(labelmap.array, shifted(labelmap.grid, 0, 900, 0), LABELS), tmp_path / "far.nii.gz")[0]
    with pytest.raises(GeometryError, match=r"displaced by \(0, 900, 0\) mm \(corners up to 900 mm apart\), 100 % of"):
        convert(path, tmp_path / name, image=slices)
    assert not (tmp_path / name).exists()


def test_labels_mirrored_out_of_the_image_are_refused_with_the_cause(
    labelmap: LabelMap, slices: Path, tmp_path: Path
) -> None:
    mirrored = Grid(labelmap.grid.shape, RAS_TO_LPS @ labelmap.grid.affine)
    path = write(LabelMap(labelmap.array, mirrored, LABELS), tmp_path / "mirrored.nii.gz")[0]
    with pytest.raises(GeometryError, match=r"is mirrored: .* LPS had been taken for RAS .*; give the scan that"):
        convert(path, tmp_path / "out.nii.gz", image=slices)
    assert convert(path, tmp_path / "out.nii.gz")


def test_a_dicom_segmentation_of_another_place_is_refused(
    labelmap: LabelMap, labels_file: Path, slices: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    convert(labels_file, tmp_path / "seg.dcm", image=slices)
    near, far = (
        write(labelmap_image(shifted(labelmap.grid, 0, step, 0)), tmp_path / f"{step}.nii")[0] for step in (0.4, 6)
    )
    with pytest.raises(GeometryError, match="% of the labelled voxels lie outside the image; give the scan that"):
        convert(tmp_path / "seg.dcm", tmp_path / "out.nii.gz", image=far)
    convert(tmp_path / "seg.dcm", tmp_path / "out.nii.gz", image=near)
    assert "lies on another grid than the image" in caplog.text


def labelmap_image(grid: Grid) -> Volume:
    return Volume(np.zeros(grid.shape, np.int16), grid)


def test_a_scan_is_not_taken_for_labels(scan: Volume, slices: Path, tmp_path: Path) -> None:
    path = write(scan.with_array(scan.array.astype(np.int32) + 1000), tmp_path / "scan.nii.gz")[0]
    for name in ("out.seg.nrrd", "out.dcm"):
        with pytest.raises(InputError, match="different values, as a scan has"):
            convert(path, tmp_path / name, image=slices)


def test_nearest_voxel_and_half_a_voxel_beyond(labelmap: LabelMap) -> None:
    fine = np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = -0.25
    grid = labelmap.grid
    doubled = put_on_grid(labelmap, Grid(tuple(2 * n for n in grid.shape), grid.affine @ fine))  # type: ignore[arg-type]
    np.testing.assert_array_equal(doubled.array, labelmap.array.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert put_on_grid(labelmap, shifted(grid, 1000, 0, 0)).array.max() == 0


def test_a_folder_with_scan_and_labels_is_a_scan(
    labels_file: Path, slices: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    convert(labels_file, slices / "seg.dcm", image=slices)
    with caplog.at_level(logging.INFO, "volseg.conversion"):
        with pytest.raises(InputError, match="no DICOM series 'other'"):
            convert(slices, tmp_path / "scan.nii", series="other")
        assert not caplog.records
        convert(slices, tmp_path / "scan.nii")
    (note,) = caplog.records
    assert note.levelno == logging.INFO
    assert "seg.dcm: labels of this scan; they are converted on their own" in note.getMessage()
    assert read(tmp_path / "scan.nii").array.min() < 0
    convert(slices / "seg.dcm", tmp_path / "seg.nii")
    assert [label.name for label in read_labels(tmp_path / "seg.nii").labels] == ["liver", "lesion"]


def test_a_structure_set_finds_its_scan_beside_it(labelmap: LabelMap, labels_file: Path, slices: Path) -> None:
    convert(labels_file, slices / "rs.dcm", image=slices, form="rtstruct")
    (file,) = convert(slices / "rs.dcm", slices.parent / "rs.seg.nrrd")
    assert_same_in_world(read_labels(file), labelmap)


# --------------------------------------------------------------------------------------------------- probabilities


def test_probabilities_to_dicom_and_back(labelmap: LabelMap, slices: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 0.5, (*labelmap.grid.shape, 2)).astype(np.float32)
    write_nifti(values, labelmap.grid, tmp_path / "probabilities.nii.gz")
    write_label_table(LABELS, tmp_path / "labels.tsv")  # as `volseg predict` leaves them
    fractional = ConversionOptions(form="fractional", image=slices)
    assert convert(tmp_path / "probabilities.nii.gz", tmp_path / "p.dcm", **fractional) == [tmp_path / "p.dcm"]
    files = convert(tmp_path / "p.dcm", tmp_path / "back.nii.gz", **fractional)
    assert [file.name for file in files] == ["back.nii.gz", "back.tsv"]
    for number, volume in enumerate(read_channels([files[0]])):
        ijk = np.rint(volume.grid.to_voxel(labelmap.grid.to_world(np.argwhere(values[..., number] >= 0)))).astype(int)
        np.testing.assert_allclose(volume.array[tuple(ijk.T)], values[..., number].ravel(), atol=0.51 / 255)
    assert "liver" in files[1].read_text(encoding="utf-8")


def test_probabilities_need_names_and_an_image(labelmap: LabelMap, slices: Path, tmp_path: Path) -> None:
    write_nifti(np.zeros((*labelmap.grid.shape, 2), np.float32), labelmap.grid, tmp_path / "p.nii")
    fractional = ConversionOptions(form="fractional", image=slices)
    with pytest.raises(UsageError, match=r"give the scan as image \(--image"):
        convert(tmp_path / "p.nii", tmp_path / "p.dcm", form="fractional")
    with pytest.raises(UsageError, match="no table of label names lies beside it; give one as labels"):
        convert(tmp_path / "p.nii", tmp_path / "p.dcm", **fractional)
    write_label_table(LABELS[:1], tmp_path / "p.tsv")
    with pytest.raises(InputError, match=r"holds 2 volumes, but .*p.tsv names 1 labels"):
        convert(tmp_path / "p.nii", tmp_path / "p.dcm", **fractional)
    with pytest.raises(UsageError, match=r"probabilities are written as .dcm from NIfTI"):
        convert(tmp_path / "p.nii", tmp_path / "p.nrrd", **fractional)
    write_nifti(labelmap.array, labelmap.grid, tmp_path / "one.nii")
    with pytest.raises(UsageError, match=r"needs probabilities, .*one.nii is a 3D label map; use --as seg"):
        convert(tmp_path / "one.nii", tmp_path / "p.dcm", **fractional)
    write_nifti(np.full((*labelmap.grid.shape, 2), 0.25, np.float32), labelmap.grid, tmp_path / "q.nii")
    with pytest.raises(AmbiguousError, match=r"not all are masks .* \(--series\), .*--all\), or .*--as fractional"):
        convert(tmp_path / "q.nii", tmp_path / "p.dcm", image=slices)
    with pytest.raises(UsageError, match="needs one DICOM segmentation; found 0"):
        convert(slices, tmp_path / "r.nii", **fractional)


# ------------------------------------------------------------------------------------------------------- contradictions


def test_what_is_there_stays(slices: Path, labels_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out.nii.gz").write_bytes(b"mine")
    (tmp_path / "other.tsv").write_text("mine", encoding="utf-8")
    with pytest.raises(
        OutputError, match=r"out.nii.gz: is there already; overwrite it \(--overwrite\), or choose another name"
    ):
        convert(slices, tmp_path / "out.nii.gz")
    with pytest.raises(OutputError, match=r"other.tsv: is there already"):
        convert(labels_file, tmp_path / "other.nii.gz")
    with pytest.raises(OutputError, match="slices: is there already"):
        convert(labels_file, slices)
    assert (tmp_path / "out.nii.gz").read_bytes() == b"mine"
    assert not any(result.error for result in convert_all(slices, tmp_path / "x"))
    assert "is there already" in str(next(iter(convert_all(slices, tmp_path / "x"))).error)
    convert(slices, tmp_path / "out.nii.gz", overwrite=True)
    assert read(tmp_path / "out.nii.gz").grid.shape == (11, 9, 7)


def test_the_input_is_never_replaced(labels_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the input;"):
        convert(labels_file, labels_file, overwrite=True)
    with pytest.raises(UsageError, match="is the input;"):
        convert(labels_file, tmp_path / "x" / ".." / "labels.nii.gz", overwrite=True)


def test_contradictions_are_usage_errors(labels_file: Path, slices: Path, tmp_path: Path) -> None:
    cases = [
        (tmp_path / "out.dcm", ConversionOptions(), r"give the scan as image \(--image"),
        (tmp_path / "out.dcm", ConversionOptions(image=labels_file), "is not DICOM"),
        (tmp_path / "out.nii", ConversionOptions(form="seg"), r"form \(--as\) seg is only for a .dcm file of labels"),
        (tmp_path / "out", ConversionOptions(image=slices), "labels cannot be a DICOM series"),
        (tmp_path / "out.png", ConversionOptions(), "cannot be written as .png"),
    ]
    for target, options, words in cases:
        with pytest.raises(UsageError, match=words):
            convert(labels_file, target, **options)
        assert not target.exists()
    with pytest.raises(InputError, match="has no volume '1'; expected one of labels"):
        convert(labels_file, tmp_path / "out.seg.nrrd", series="1")
    convert(labels_file, tmp_path / "rs.dcm", image=slices, form="rtstruct")
    with pytest.raises(UsageError, match=r"series \(--series\) chooses a scan; for labels that is the image"):
        convert(tmp_path / "rs.dcm", tmp_path / "out.nii", series="1")


def test_another_patient_is_refused_by_its_labels(labels_file: Path, slices: Path, tmp_path: Path) -> None:
    convert(labels_file, tmp_path / "rs.dcm", image=slices, form="rtstruct")
    for file in slices.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.FrameOfReferenceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.4"
        dataset.save_as(file)
    with pytest.raises(InputError, match="frame of reference"):
        convert(tmp_path / "rs.dcm", tmp_path / "out.nii", image=slices)


def test_nothing_is_logged_for_what_fits(
    labels_file: Path, slices: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        convert(labels_file, tmp_path / "out.dcm", image=slices)
        convert(tmp_path / "out.dcm", tmp_path / "back.nii.gz", image=slices)
    assert not caplog.records
    assert len(read_all(tmp_path / "back.nii.gz")) == 1


# ----------------------------------------------------------------------------------------------------------- masks

MASK_GRID = Grid.from_spacing((6, 5, 4), (1, 2, 3), (7, 8, 9))


def write_masks(folder: Path, sizes: dict[str, int], grid: Grid = MASK_GRID) -> list[Path]:
    """Write masks that begin at the first voxel and have so many."""
    files = []
    for name, size in sizes.items():
        array = np.zeros(grid.shape, np.uint8)
        array.reshape(-1)[:size] = 255
        files.append(folder / f"{name}.nii.gz")
        write_nifti(array, grid, files[-1])
    return files


@pytest.mark.parametrize("names", [("liver", "tumor", "vessel"), ("b", "a", "c")])
@pytest.mark.parametrize("given", ["folder", "files"])
def test_masks_are_merged_and_what_it_costs_is_said(
    tmp_path: Path, given: str, names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    files = write_masks(tmp_path / "in", dict(zip(names, (60, 30, 10), strict=True)))
    written = convert(files if given == "files" else tmp_path / "in", tmp_path / "out.nii.gz", merge=True)
    assert [path.name for path in written] == ["out.nii.gz", "out.tsv"]
    found = read_labels(tmp_path / "out.nii.gz")
    # A folder has its files in alphabetical order.
    order = list(names) if given == "files" else sorted(names)
    assert [(label.value, label.name) for label in found.labels] == list(enumerate(order, 1))
    shares = {label.name: int(found.mask(label).sum()) for label in found.labels}
    assert shares == dict(zip(names, (30, 20, 10), strict=True))
    large, middle, small = names
    assert f"{large} gives 30 of its 60 voxels (50 %) to {middle} (20), {small} (10)" in caplog.text
    assert f"{middle} gives 10 of its 30 voxels (33.3 %) to {small} (10)" in caplog.text
    assert found.grid.is_close(MASK_GRID)


def test_masks_that_overlap_become_several_files_without_merging(tmp_path: Path) -> None:
    files = write_masks(tmp_path, {"liver": 60, "tumor": 30})
    written = convert(files, tmp_path / "out.nii.gz")
    assert [path.name for path in written] == ["out_1.nii.gz", "out_1.tsv", "out_2.nii.gz", "out_2.tsv"]


def test_the_case_is_no_part_of_the_names_of_masks(tmp_path: Path) -> None:
    convert(write_masks(tmp_path, {"case_1_liver": 60, "case_1_spleen": 30}), tmp_path / "out.nii.gz", merge=True)
    assert [label.name for label in read_labels(tmp_path / "out.nii.gz").labels] == ["liver", "spleen"]


def test_masks_with_a_table_a_choice_and_an_image(scan: Volume, slices: Path, tmp_path: Path) -> None:
    files = write_masks(tmp_path, {"liver": 60, "tumor": 30, "cyst": 9}, scan.grid)
    write_label_table([Label(7, "Tumor", (1, 2, 3))], tmp_path / "names.tsv")
    options = {"labels": tmp_path / "names.tsv", "only": ["liver", "tumor"], "image": slices}
    convert(files, tmp_path / "out.nii.gz", merge=True, **options)
    found = read_labels(tmp_path / "out.nii.gz")
    assert {label.name: (label.value, int(found.mask(label).sum())) for label in found.labels} == {
        "Tumor": (7, 30), "liver": (8, 30)
    }  # fmt: skip
    assert convert(files, tmp_path / "out.dcm", image=slices, merge=True) == [tmp_path / "out.dcm"]


def test_segments_with_one_value_are_merged(labelmap: LabelMap, tmp_path: Path) -> None:
    array = np.zeros_like(labelmap.array)
    array[2:5, 3:6, 2:6] = 1
    write_seg_nrrd(
        [labelmap, LabelMap(array, labelmap.grid, (Label(1, "tumour", (9, 9, 9)),))], tmp_path / "a.seg.nrrd"
    )
    convert(tmp_path / "a.seg.nrrd", tmp_path / "out.nii.gz", merge=True)
    found = read_labels(tmp_path / "out.nii.gz")
    assert {label.name for label in found.labels} == {"tumour", *(label.name for label in labelmap.labels)}
    (tumour,) = [label for label in found.labels if label.name == "tumour"]
    assert found.mask(tumour).sum() == 36


def test_what_masks_cannot_be(tmp_path: Path) -> None:
    files = write_masks(tmp_path / "a", {"liver": 60, "spleen": 30})
    other = write_masks(tmp_path / "b", {"liver": 60})
    far = write_masks(tmp_path / "c", {"cyst": 60}, Grid.from_spacing((6, 5, 4), (1, 2, 3), (7, 8, 9.5)))
    close = write_masks(tmp_path / "d", {"cyst": 9}, Grid.from_spacing((6, 5, 4), (1, 2, 3), (7, 8, 9.001)))
    out = tmp_path / "out.nii.gz"
    with pytest.raises(UsageError, match=r"a.liver.nii.gz and .*b.liver.nii.gz: masks are told apart by their names"):
        convert([*files, *other], out)
    with pytest.raises(UsageError, match="of several sources each is the file of a mask"):
        convert([*files, tmp_path / "b"], out)
    with pytest.raises(InputError, match=r"cyst.nii.gz .*lies on another grid than the other masks of its case"):
        convert([*files, *far], out)
    with pytest.raises(UsageError, match="is the input; choose another name"):
        convert(files, files[1])
    with pytest.raises(UsageError, match="no source is given"):
        convert([], out)
    with pytest.raises(InputError, match=r"gone.nii.gz: no such file"):
        convert([*files, tmp_path / "gone.nii.gz"], out)
    assert not out.exists()
    convert([*files, *close], out, merge=True)


def test_a_thousandth_of_a_millimetre_is_the_same_grid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write_masks(tmp_path, {"liver": 60})
    grid = Grid.from_spacing((6, 5, 4), (1, 2, 3.0001), (7.001, 7.999, 9))
    write(Volume(np.zeros(grid.shape, np.int16), grid), tmp_path / "scan.nii.gz")
    convert(files[0], tmp_path / "out.nii.gz", image=tmp_path / "scan.nii.gz")
    found = read_labels(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(found.array != 0, read(files[0]).array != 0)
    np.testing.assert_allclose(found.grid.affine, grid.affine, atol=1e-5)
    assert not caplog.records
