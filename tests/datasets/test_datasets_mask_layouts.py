"""Training sets with a file for each mask, or with segments whose values differ: layouts, names, overlaps and grids."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.datasets import (
    Case,
    Dataset,
    check_dataset,
    describe_patients,
    label_map_file,
    read_dataset,
    read_reference,
    split,
)
from volseg.errors import DatasetError
from volseg.io import read, read_labels, write
from volseg.io.dicom import write_dicom_series
from volseg.io.images.itk import write_seg_nrrd
from volseg.io.images.nifti import write_nifti
from volseg.io.labels import write_label_table

GRID = Grid.from_spacing((16, 14, 6), (1, 1, 3), (5, 6, 7))
# Not all structures in every case; numbered in each case on its own, liver would have the values 1, 2 and 1.
CASES = {"case_1": ["liver", "spleen"], "case_1_b": ["aorta", "liver"], "case_2": ["liver", "my blob"]}
VALUES = {"aorta": 1, "liver": 2, "my blob": 3, "spleen": 4}
FIRST = {"aorta": 1, "liver": 4, "spleen": 8, "my blob": 12}


def mask(name: str) -> np.ndarray:
    array = np.zeros(GRID.shape, np.uint8)
    array[FIRST[name] : FIRST[name] + 3, 2:10, 1:5] = 1
    return array


def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 9, GRID.shape).astype(np.float32)


def write_files(root: Path, image: str, label: str) -> None:
    """Write images and masks; ``{}`` is the case and ``*`` the structure."""
    for case, structures in CASES.items():
        write_nifti(scan(), GRID, root / image.replace("{}", case))
        for name in structures:
            write_nifti(mask(name), GRID, root / label.replace("{}", case).replace("*", name))


def expect(dataset: Dataset, cases: tuple[str, ...] = tuple(CASES)) -> None:
    """Compare each case with its masks."""
    assert {label.name: label.value for label in dataset.labels} == VALUES
    assert tuple(case.name for case in dataset.cases) == cases
    for case in check_dataset(dataset).cases:
        expected = np.zeros(GRID.shape, np.uint8)
        for name in CASES[case.name]:
            expected[mask(name) == 1] = VALUES[name]
        for found in (read_reference(case), read_reference(dataset.cases[cases.index(case.name)])):
            np.testing.assert_array_equal(found.array, expected)
            assert found.grid.is_close(GRID)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/{}.nii.gz", "masks/{}/*.nii.gz"),
        ("images/{}.nii.gz", "masks/{}/{}_*.nii.gz"),
        ("images/{}.nii.gz", "masks/{}_*.nii.gz"),
        ("images/{}.nii.gz", "masks/*/{}.nii.gz"),
        ("images/{}.nii.gz", "masks/*_{}.nii.gz"),
        ("all/{}_ct.nii.gz", "all/{}_*.nii.gz"),
        ("{}.nii.gz", "{}_*.nii.gz"),
        ("{}/ct.nii.gz", "{}/*.nii.gz"),
        ("{}/ct.nii.gz", "{}/seg/mask_*.nii.gz"),
    ],
)
def test_patterns(tmp_path: Path, image: str, label: str) -> None:
    write_files(tmp_path, image, label)
    if image == "{}.nii.gz":  # case_1_b.nii.gz could be the mask "b" of case_1 there
        for file in tmp_path.glob("case_1_b*"):
            file.unlink()
        dataset = read_dataset(tmp_path, images="*.nii.gz", labels=label)
        assert [case.name for case in dataset.cases] == ["case_1", "case_2"]
        assert [[name for name, _ in case.masks] for case in dataset.cases] == [CASES["case_1"], CASES["case_2"]]
        return
    expect(read_dataset(tmp_path, images=image.replace("{}", "*"), labels=label))


def test_masks_without_an_image_and_images_without_masks(tmp_path: Path) -> None:
    write_files(tmp_path, "images/{}.nii.gz", "masks/{}/*.nii.gz")
    (tmp_path / "images" / "case_2.nii.gz").unlink()
    for file in (tmp_path / "masks" / "case_1").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match="2 problems") as caught:
        check_dataset(read_dataset(tmp_path, images="images/*.nii.gz", labels="masks/{}/*.nii.gz"))
    assert re.search(r"case case_1: image .*case_1.nii.gz has no label map", str(caught.value))
    assert re.search(r"case case_2: mask .*liver.nii.gz has no image", str(caught.value))


def test_a_column_for_each_structure(tmp_path: Path) -> None:
    write_files(tmp_path, "{}.nii.gz", "masks/*/{}.nii.gz")
    lines = ["case,image,patient,liver,my blob,spleen,aorta"]
    for case, structures in CASES.items():
        cells = [f"masks/{name}/{case}.nii.gz" if name in structures else "" for name in lines[0].split(",")[3:]]
        lines.append(f"{case},{case}.nii.gz,p,{','.join(cells)}")
    (tmp_path / "set.csv").write_text("\n".join(lines), encoding="utf-8")
    dataset = read_dataset(tmp_path / "set.csv")
    expect(dataset)
    assert describe_patients(dataset.cases) == "1 patient of 3 scans, by column patient"


def test_a_column_that_holds_no_masks_is_named_by_its_content(tmp_path: Path) -> None:
    write_files(tmp_path, "{}.nii.gz", "masks/*/{}.nii.gz")
    rows = "\n".join(f"{case}.nii.gz,63,masks/liver/{case}.nii.gz" for case in CASES)
    (tmp_path / "set.csv").write_text(f"image,age,liver\n{rows}\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"case case_1: .*63: no such file"):
        check_dataset(read_dataset(tmp_path / "set.csv"))


@pytest.mark.parametrize("folder", ["segmentations", "labelsTr"])
def test_folders_of_masks_need_no_known_names(tmp_path: Path, folder: str) -> None:
    if folder == "segmentations":
        write_files(tmp_path, "{}/ct.nii.gz", "{}/segmentations/*.nii.gz")
    else:
        write_files(tmp_path, "imagesTr/{}.nii.gz", "labelsTr/{}/{}_*.nii.gz")
    expect(read_dataset(tmp_path))


def test_scans_of_one_patient_are_known_beside_their_masks(tmp_path: Path) -> None:
    for number in range(12):
        case = f"patient{number // 2:03}_frame{number % 2}"
        write_nifti(scan(), GRID, tmp_path / f"{case}.nii.gz")
        write_nifti(mask("liver"), GRID, tmp_path / f"{case}_liver.nii.gz")
    dataset = read_dataset(tmp_path, images="*.nii.gz", labels="{}_*.nii.gz")
    assert describe_patients(dataset.cases) == "6 patients of 12 scans, by names like patient001_frame01"
    for fold in range(5):
        training, held_out = ({case.name[:10] for case in cases} for cases in split(dataset, fold))
        assert not training & held_out


def test_predictions_are_compared_with_what_was_trained(tmp_path: Path) -> None:
    write_files(tmp_path, "imagesTr/{}.nii.gz", "labelsTr/{}/*.nii.gz")
    case = read_dataset(tmp_path).cases[0]
    file = label_map_file(case, tmp_path / "references")
    assert file == tmp_path / "references" / "case_1.nii.gz"
    np.testing.assert_array_equal(read_labels(file).array, read_reference(case).array)
    assert {label.name: label.value for label in read_labels(file).labels} == {"liver": 2, "spleen": 4}
    plain = Case("case_1", case.images, file)
    assert label_map_file(plain, tmp_path / "other") == file


def test_one_mask_is_enough(tmp_path: Path) -> None:
    write_files(tmp_path, "imagesTr/{}.nii.gz", "labelsTr/{}/*.nii.gz")
    for file in tmp_path.glob("labelsTr/*/[!l]*"):
        file.unlink()
    dataset = check_dataset(read_dataset(tmp_path))
    assert [label.name for label in dataset.labels] == ["liver"]


# --------------------------------------------------------------------------------------------------------- names


def test_spellings_of_one_name_are_one_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for case, names in {"a": ["Liver", "kidney_left"], "b": ["liver", "Left Kidney"], "c": ["LIVER"]}.items():
        write_nifti(scan(), GRID, tmp_path / f"images/{case}.nii")
        for place, name in enumerate(names):
            write_nifti(np.roll(mask("liver"), 4 * place, axis=0), GRID, tmp_path / f"masks/{case}/{name}.nii")
    dataset = check_dataset(read_dataset(tmp_path, images="images/*.nii", labels="masks/{}/*.nii"))
    assert [(label.value, label.name) for label in dataset.labels] == [(1, "LIVER"), (2, "Left Kidney")]
    assert "LIVER, Liver, liver are taken for names of one structure, as they differ only in spelling" in caplog.text
    assert "Left Kidney, kidney_left are taken for names of one structure" in caplog.text
    assert all((read_reference(case).array[4:7, 2:10, 1:5] == 1).all() for case in dataset.cases)


def test_two_masks_of_one_structure_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path, "images/{}.nii.gz", "masks/{}/*.nii.gz")
    write_nifti(mask("spleen"), GRID, tmp_path / "masks/case_1/Liver.nii.gz")
    with pytest.raises(DatasetError, match=r"case case_1: .*liver.nii.gz and .*Liver.nii.gz are both masks of 'Liver'"):
        check_dataset(read_dataset(tmp_path, images="images/*.nii.gz", labels="masks/{}/*.nii.gz"))


def test_synonyms_side_by_side_are_two_structures(tmp_path: Path) -> None:
    write_nifti(scan(), GRID, tmp_path / "images/a.nii")
    for name, like in {"GTV": "liver", "GTVp": "spleen"}.items():
        write_nifti(mask(like), GRID, tmp_path / f"masks/a/{name}.nii")
    dataset = read_dataset(tmp_path, images="images/*.nii", labels="masks/{}")
    assert [label.name for label in check_dataset(dataset).labels] == ["GTV", "GTVp"]


# ------------------------------------------------------------------------------------------------------ overlaps


def overlapping(root: Path, cases: dict[str, dict[str, int]]) -> Dataset:
    """Write masks that begin at the first voxel and have so many."""
    for case, sizes in cases.items():
        write_nifti(scan(), GRID, root / f"images/{case}.nii")
        for name, size in sizes.items():
            array = np.zeros(GRID.shape, np.uint8)
            array.reshape(-1)[:size] = 1
            write_nifti(array, GRID, root / f"masks/{case}/{name}.nii")
    return read_dataset(root, images="images/*.nii", labels="masks/{}/*.nii")


def test_the_smaller_structure_takes_the_voxels_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = overlapping(tmp_path, {"a": {"liver": 500, "tumor": 300, "vessel": 20}, "b": {"liver": 500, "tumor": 10}})
    checked = check_dataset(dataset)
    assert "liver gives 310 of its 1000 voxels (31 %) to tumor (290), vessel (20) in 2 of 2 cases: a, b" in caplog.text
    assert "tumor gives 20 of its 310 voxels (6.45 %) to vessel (20) in 1 of 2 cases: a" in caplog.text
    for cases in (dataset.cases, checked.cases):
        array = read_reference(cases[0]).array.reshape(-1)
        assert (array[:20] == 3).all()
        assert (array[20:300] == 2).all()
        assert (array[300:500] == 1).all()


def test_a_label_that_would_lose_most_of_itself_is_refused(tmp_path: Path) -> None:
    dataset = overlapping(tmp_path, {"a": {"liver": 500, "tumor": 400}, "b": {"liver": 500, "tumor": 300}})
    with pytest.raises(DatasetError, match=r"1 problem.*\n  liver would lose most of itself, 700 of its 1000 voxels"):
        check_dataset(dataset)
    # One such case among others is what it is: a large tumour.
    check_dataset(overlapping(tmp_path, {"c": {"liver": 500, "tumor": 2}}))


def test_a_label_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    dataset = overlapping(tmp_path, {"a": {"liver": 90, "spleen": 90}, "b": {"liver": 500}, "c": {"spleen": 500}})
    with pytest.raises(DatasetError, match="case a: nothing is left of spleen: spleen gives 90 of its 90 voxels"):
        check_dataset(dataset)


# --------------------------------------------------------------------------------- segments numbered in each case


def segments(case: str) -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    labels = []
    for value, name in enumerate(CASES[case], 1):
        array[mask(name) == 1] = value
        labels.append(Label(value, name, (value, 2, 3)))
    return LabelMap(array, GRID, tuple(labels))


def test_seg_nrrd_is_matched_by_name_where_its_values_differ(tmp_path: Path) -> None:
    for case in CASES:
        write_nifti(scan(), GRID, tmp_path / f"imagesTr/{case}.nii.gz")
        write(segments(case), tmp_path / f"labelsTr/{case}.seg.nrrd")
    expect(read_dataset(tmp_path))
    table = [Label(value, name.upper(), (1, 2, 3)) for name, value in VALUES.items()]
    write_label_table(table, tmp_path / "labels.tsv")
    for case in check_dataset(read_dataset(tmp_path)).cases:
        assert {label.name for label in read_reference(case).labels} == {name.upper() for name in CASES[case.name]}


def test_seg_nrrd_with_equal_values_keeps_them(tmp_path: Path) -> None:
    for case in CASES:
        write_nifti(scan(), GRID, tmp_path / f"imagesTr/{case}.nii.gz")
        labels = tuple(Label(9 - VALUES[name], name, (1, 2, 3)) for name in CASES[case])
        array = sum(label.value * mask(label.name) for label in labels)
        write(LabelMap(array, GRID, labels), tmp_path / f"labelsTr/{case}.seg.nrrd")
    assert {label.name: label.value for label in check_dataset(read_dataset(tmp_path)).labels} == {
        name: 9 - value for name, value in VALUES.items()
    }


def test_segments_that_overlap_are_merged(tmp_path: Path) -> None:
    layers = []
    for name in ("liver", "spleen"):
        array = mask(name)
        array[6:9, 2:4, 1:5] = 1
        layers.append(LabelMap(array, GRID, (Label(1, name, (1, 2, 3)),)))
    (tmp_path / "labelsTr").mkdir()
    write_seg_nrrd(layers, tmp_path / "labelsTr" / "a.seg.nrrd")
    write_nifti(scan(), GRID, tmp_path / "imagesTr/a.nii.gz")
    dataset = check_dataset(read_dataset(tmp_path))
    assert [label.name for label in dataset.labels] == ["liver", "spleen"]
    assert set(np.unique(read_reference(dataset.cases[0]).array)) == {0, 1, 2}


@pytest.mark.parametrize("form", ["seg", "rtstruct", "one each"])
def test_dicom_objects_of_a_case(tmp_path: Path, form: str) -> None:
    for case in CASES:
        volume = Volume(scan().astype(np.int16), GRID, modality="CT")
        write_dicom_series(volume, tmp_path / case / "ct", description=case)
        image = read(tmp_path / case / "ct")
        (tmp_path / case / "seg").mkdir()
        if form != "one each":
            write(segments(case), tmp_path / case / "seg" / "labels.dcm", image=image, form=form)
            continue
        for name in CASES[case]:
            labels = LabelMap(mask(name), GRID, (Label(1, name, (1, 2, 3)),))
            write(labels, tmp_path / case / "seg" / f"{name}.dcm", image=image)
    dataset = read_dataset(tmp_path, images="*/ct", labels="{}/seg")
    assert {label.name: label.value for label in dataset.labels} == VALUES
    for case in check_dataset(dataset).cases:
        found = read_reference(case)
        for label in found.labels:
            points = GRID.to_world(np.argwhere(mask(label.name)))
            ijk = np.rint(found.grid.to_voxel(points)).astype(int)
            assert (found.array[tuple(ijk.T)] == VALUES[label.name]).all()
            assert found.mask(label).sum() == mask(label.name).sum()


# --------------------------------------------------------------------------------------------------------- grids


def test_a_thousandth_of_a_millimetre_is_the_same_grid(tmp_path: Path) -> None:
    write_files(tmp_path, "images/{}.nii.gz", "masks/{}/*.nii.gz")
    moved = Grid.from_spacing(GRID.shape, (1, 1, 3.0001), (5.001, 5.999, 7))
    write_nifti(mask("spleen"), moved, tmp_path / "masks/case_1/spleen.nii.gz")
    expect(read_dataset(tmp_path, images="images/*.nii.gz", labels="masks/{}/*.nii.gz"))
