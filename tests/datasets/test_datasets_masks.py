"""Training sets in which the label map of a case is a folder of masks, one a structure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import volseg
from volseg.config import load_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.datasets import Dataset, check_dataset, read_dataset, read_reference
from volseg.errors import DatasetError
from volseg.io.images.nifti import write_nifti
from volseg.io.labels.table import write_label_table

GRID = Grid.from_spacing((16, 14, 6), (1, 1, 3))
# Alphabetical order would number them otherwise in each case.
CASES = {"a": ["liver", "spleen"], "b": ["aorta", "liver", "spleen"], "c": ["liver", "stomach"]}
PLACES = {"aorta": 1, "liver": 4, "spleen": 8, "stomach": 12, "blob one": 1, "thing": 5}


def write_case(root: Path, image: str, folder: str, structures: list[str]) -> None:
    scan = np.random.default_rng(0).normal(0, 5, GRID.shape).astype(np.float32)
    for name in structures:
        mask = np.zeros(GRID.shape, np.uint8)
        mask[PLACES[name] : PLACES[name] + 3, 2:10, 1:5] = 1
        scan[mask == 1] = 100
        write_nifti(mask, GRID, root / folder / f"{name}.nii.gz")
    write_nifti(scan, GRID, root / image)


def write_plain(root: Path) -> Dataset:
    for case, structures in CASES.items():
        write_case(root, f"imagesTr/{case}.nii.gz", f"labelsTr/{case}", structures)
    return read_dataset(root)


def write_decathlon(root: Path) -> Dataset:
    write_plain(root)
    labels = {"background": 0, "aorta": 1, "liver": 2, "spleen": 3, "stomach": 4}
    training = [{"image": f"imagesTr/{case}.nii.gz", "label": f"labelsTr/{case}"} for case in CASES]
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": training}), encoding="utf-8")
    return read_dataset(root)


def write_csv(root: Path) -> Dataset:
    write_plain(root)
    lines = ["case,image,label", *(f"{case},imagesTr/{case}.nii.gz,labelsTr/{case}" for case in CASES)]
    (root / "set.csv").write_text("\n".join(lines), encoding="utf-8")
    return read_dataset(root / "set.csv")


def write_totalsegmentator(root: Path) -> Dataset:
    for case, structures in CASES.items():
        write_case(root, f"{case}/ct.nii.gz", f"{case}/segmentations", structures)
    return read_dataset(root, images="*/ct.nii.gz", labels="{}/segmentations")


LAYOUTS = [write_plain, write_decathlon, write_csv, write_totalsegmentator]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_labels_have_the_same_values_in_every_case(layout, tmp_path: Path) -> None:
    dataset = layout(tmp_path)
    assert [(label.value, label.name) for label in dataset.labels] == [
        (1, "aorta"), (2, "liver"), (3, "spleen"), (4, "stomach")
    ]  # fmt: skip
    check_dataset(dataset)
    values = {label.name: label.value for label in dataset.labels}
    for case in dataset.cases:
        found = read_reference(case)
        assert set(found.labels) <= set(dataset.labels)
        assert {label.name for label in found.labels} == set(CASES[case.name])
        for name in CASES[case.name]:
            assert (found.array[PLACES[name] : PLACES[name] + 3, 2:10, 1:5] == values[name]).all()


def test_masks_join_label_maps_of_files(tmp_path: Path) -> None:
    write_plain(tmp_path)
    array = np.zeros(GRID.shape, np.uint8)
    array[4:7, 2:10, 1:5] = 7
    write_nifti(array, GRID, tmp_path / "labelsTr" / "d.nii.gz")
    write_label_table([Label(7, "liver", (1, 2, 3))], tmp_path / "labelsTr" / "d.tsv")
    write_nifti(array.astype(np.float32), GRID, tmp_path / "imagesTr" / "d.nii.gz")
    dataset = read_dataset(tmp_path)
    assert {label.name: label.value for label in dataset.labels} == {"liver": 7, "aorta": 8, "spleen": 9, "stomach": 10}
    check_dataset(dataset)
    assert all((read_reference(case).array[4:7, 2:10, 1:5] == 7).all() for case in dataset.cases)


def test_names_that_only_the_table_of_the_dataset_knows(tmp_path: Path) -> None:
    for case in "ab":
        write_case(tmp_path, f"imagesTr/{case}.nii.gz", f"labelsTr/{case}", ["blob one", "thing"])
    write_label_table([Label(5, "thing", (1, 2, 3)), Label(3, "blob one", (4, 5, 6))], tmp_path / "labels.tsv")
    dataset = read_dataset(tmp_path)
    assert {label.name: label.value for label in read_reference(dataset.cases[0]).labels} == {"blob one": 3, "thing": 5}


def test_a_table_names_the_masks_to_train(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_plain(tmp_path)
    write_label_table([Label(5, "Liver", (1, 2, 3)), Label(2, "aorta", (4, 5, 6))], tmp_path / "labels.tsv")
    dataset = check_dataset(read_dataset(tmp_path))
    assert "masks of spleen, stomach are left out, as the table of labels does not name them" in caplog.text
    values = {}
    for case in dataset.cases:
        values[case.name] = {label.name: label.value for label in read_reference(case).labels}
    assert values == {
        "a": {"Liver": 5}, "b": {"Liver": 5, "aorta": 2}, "c": {"Liver": 5}
    }  # fmt: skip
    write_label_table([Label(2, "aorta", (4, 5, 6))], tmp_path / "labels.tsv")
    with pytest.raises(DatasetError, match=r"2 problems.*\n.*case a: .*none of its masks \(liver, spleen\) is a label"):
        check_dataset(read_dataset(tmp_path))


def test_each_mask_that_cannot_be_used_is_named_with_its_case(tmp_path: Path) -> None:
    write_plain(tmp_path)
    random = np.random.default_rng(0).random(GRID.shape)
    write_nifti(random.astype(np.float32), GRID, tmp_path / "labelsTr" / "a" / "liver.nii.gz")
    write_nifti((4 * random).astype(np.uint8), GRID, tmp_path / "labelsTr" / "b" / "liver.nii.gz")
    other = Grid.from_spacing(GRID.shape, (1, 1, 3), (0, 0, 2))
    write_nifti(np.ones(GRID.shape, np.uint8), other, tmp_path / "labelsTr" / "c" / "stomach.nii.gz")
    with pytest.raises(DatasetError, match="3 problems") as caught:
        check_dataset(read_dataset(tmp_path))
    text = str(caught.value)
    assert re.search(r"case a: .*liver.nii.gz: has the value 0\.\d+; labels are integers", text)
    assert re.search(r"case b: .*liver.nii.gz: holds 3 values beside 0, among masks; expected one", text)
    assert re.search(r"case c: .*stomach.nii.gz .*another grid than the other masks .* such as liver.nii.gz", text)


@pytest.mark.parametrize("values", [255, 1.0, 255.0])
def test_masks_of_any_one_value(tmp_path: Path, values: float) -> None:
    write_plain(tmp_path)
    for file in (tmp_path / "labelsTr").glob("*/*.nii.gz"):
        write_nifti(volseg.read(file).array * np.array(values, type(values)), GRID, file)
    dataset = check_dataset(read_dataset(tmp_path))
    assert (read_reference(dataset.cases[0]).array[4:7, 2:10, 1:5] == 2).all()


def test_training_and_scoring_on_masks(tmp_path: Path) -> None:
    dataset = write_plain(tmp_path / "set")
    short = ("network.width=2", "network.levels=1", "training.epochs=1", "training.minutes=null")
    config = load_config(overrides=short)
    (tmp_path / "set" / "splits_final.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))
    model = volseg.load_model(volseg.train(tmp_path / "set", tmp_path / "run", config=config))
    assert [label.name for label in model.labels] == [label.name for label in dataset.labels]
    case = next(case for case in dataset.cases if case.name == "c")
    assert case.label is not None
    prediction = volseg.predict(model, volseg.read(case.images[0])).labels
    found = volseg.evaluate({"c": prediction}, {"c": case.label})
    expected = volseg.evaluate({"c": prediction}, {"c": read_reference(case)})
    assert repr(found.rows) == repr(expected.rows)  # in which NaN is NaN
    assert {row.label: row.status for row in found.rows}["liver"] in ("both", "missed")
