from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.resample import Reorientation
from volseg.datasets import check_dataset, read_dataset, read_images, split
from volseg.errors import DatasetError, InputError, UsageError
from volseg.io.images.nifti import write_nifti

GRID = Grid.from_spacing((4, 4, 4))
DECATHLON = {"name": "Toy", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ"}}
NNUNET = {"channel_names": {"0": "T1", "1": "PET"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}


def image(path: Path, *, grid: Grid = GRID, volumes: int = 1) -> Path:
    array = np.zeros((*grid.shape, volumes), np.int16)
    array[..., 1:] = 7
    write_nifti(array[..., 0] if volumes == 1 else array, grid, path)
    return path


def label(path: Path, *, value: int = 1, grid: Grid = GRID) -> Path:
    array = np.zeros(grid.shape, np.uint8)
    array[1:3, 1:3, 1:3] = value
    write_nifti(array, grid, path)
    return path


def plain_folder(root: Path, names: str = "abcdef") -> Path:
    for name in names:
        image(root / "imagesTr" / f"{name}.nii.gz")
        label(root / "labelsTr" / f"{name}.nii.gz")
    return root


def decathlon(root: Path, training=None, **changes) -> Path:
    plain_folder(root, "ab")
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in "ba"]
    content = DECATHLON | {"training": pairs if training is None else training} | changes
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def nnunet(root: Path, **changes) -> Path:
    for name in "ab":
        image(root / "imagesTr" / f"{name}_0000.nii.gz")
        image(root / "imagesTr" / f"{name}_0001.nii.gz")
        label(root / "labelsTr" / f"{name}.nii.gz")
    (root / "dataset.json").write_text(json.dumps(NNUNET | changes))
    return root


def test_decathlon(tmp_path):
    dataset = read_dataset(decathlon(tmp_path))
    assert dataset.name == "Toy"
    assert [case.name for case in dataset.cases] == ["a", "b"]
    assert dataset.cases[0].images == (tmp_path / "imagesTr" / "a.nii.gz",)
    assert dataset.cases[0].label == tmp_path / "labelsTr" / "a.nii.gz"
    assert [(label.value, label.name) for label in dataset.labels] == [(1, "organ")]
    assert (dataset.channel_names, dataset.modalities) == (("CT",), ("CT",))
    assert read_dataset(tmp_path / "dataset.json").cases == dataset.cases
    check_dataset(dataset)


def test_decathlon_with_channels_in_one_4d_file(tmp_path):
    root = decathlon(tmp_path, modality={"0": "FLAIR", "1": "T1w"})
    for name in "ab":
        image(root / "imagesTr" / f"{name}.nii.gz", volumes=2)
    dataset = read_dataset(root)
    check_dataset(dataset)
    assert [volume.array.max() for volume in read_images(dataset.cases[0])] == [0, 7]


@pytest.mark.parametrize("outside", ["../../etc/passwd", "/etc/passwd", "C:\\x.nii", "a/..\\..\\b.nii"])
def test_paths_stay_inside_the_folder(tmp_path, outside):
    decathlon(tmp_path, training=[{"image": outside, "label": "labelsTr/a.nii.gz"}])
    with pytest.raises(DatasetError, match="leads outside"):
        read_dataset(tmp_path)


def test_hidden_files_are_left_out(tmp_path):
    pairs = [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in ("a", "._b", "_c")]
    assert [case.name for case in read_dataset(decathlon(tmp_path, training=pairs)).cases] == ["a"]
    root = plain_folder(tmp_path / "plain", "a")
    (root / "imagesTr" / "._a.nii.gz").touch()
    (root / "labelsTr" / ".DS_Store").touch()
    assert [case.name for case in read_dataset(root).cases] == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"training": [', "is not JSON"),
        ('{"training": "x", "labels": [1]}', "labels: .*training: "),
        ('{"training": [{"image": "a"}], "labels": {}}', r"training\.0\.label"),
        ("[]", "expected 'training'"),
    ],
)
def test_damaged_dataset_json(tmp_path, content, message):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises((DatasetError, InputError), match=message):
        read_dataset(tmp_path)


def test_nnunet(tmp_path):
    dataset = read_dataset(nnunet(tmp_path))
    assert [path.name for path in dataset.cases[1].images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert [(label.value, label.name) for label in dataset.labels] == [(1, "organ")]
    assert (dataset.channel_names, dataset.modalities) == (("T1", "PET"), (None, "PT"))
    assert len(read_images(dataset.cases[0])) == 2
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("labels", "message"),
    [({"a": 1, "whole": [1, 2]}, "'whole' is a region"), ({"a": 1, "ignore": 2}, "'ignore' label is not supported")],
)
def test_nnunet_specials_are_refused_by_name(tmp_path, labels, message):
    with pytest.raises(InputError, match=message):
        read_dataset(nnunet(tmp_path, labels=labels))


def test_nnunet_case_without_a_channel(tmp_path):
    (nnunet(tmp_path) / "imagesTr" / "b_0001.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"case b: has 1 channels, starting with b_0000.*expected 2: T1, PET"):
        check_dataset(read_dataset(tmp_path))


def test_plain_folder_names_its_labels_by_a_table(tmp_path):
    dataset = read_dataset(plain_folder(tmp_path))
    assert [label.name for label in dataset.labels] == ["label_1"]
    assert dataset.channel_names == ("image",)
    (tmp_path / "labels.tsv").write_text("index\tname\n1\tGTV\n")
    assert [label.name for label in read_dataset(tmp_path).labels] == ["GTV"]


def test_numbered_cases_are_no_channels(tmp_path):
    names = [f"case_{n:04d}" for n in range(3)]
    for name in names:
        image(tmp_path / "zero" / "imagesTr" / f"{name}.nii.gz")
        label(tmp_path / "zero" / "labelsTr" / f"{name}.nii.gz")
        if name != names[0]:
            image(tmp_path / "one" / "imagesTr" / f"{name}.nii.gz")
    label(tmp_path / "one" / "labelsTr" / f"{names[1]}.nii.gz")
    assert [(case.name, len(case.images)) for case in read_dataset(tmp_path / "zero").cases] == [(n, 1) for n in names]
    check_dataset(read_dataset(tmp_path / "zero"))
    dataset = read_dataset(tmp_path / "one")
    assert [case.name for case in dataset.cases] == names[1:]
    with pytest.raises(DatasetError, match=r"1 problem in the dataset:\n  case case_0002: image .* has no label map"):
        check_dataset(dataset)


def test_channels_of_a_plain_folder(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        image(tmp_path / "imagesTr" / f"{name}.nii.gz")
        label(tmp_path / "labelsTr" / f"{name[0]}.nii.gz")
    dataset = read_dataset(tmp_path)
    assert [path.name for path in dataset.cases[1].images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert dataset.channel_names == ("image_0", "image_1")
    check_dataset(dataset)


def test_csv(tmp_path):
    image(tmp_path / "x" / "one.nii.gz")
    image(tmp_path / "x" / "two.nii.gz")
    label(tmp_path / "y.nii.gz")
    table = tmp_path / "pairs.csv"
    table.write_text(f"case, image_0,image_1,label\nA, x/one.nii.gz,{tmp_path / 'x' / 'two.nii.gz'},y.nii.gz\n")
    dataset = read_dataset(table)
    assert dataset.name == "pairs"
    assert dataset.cases[0].name == "A"
    assert [path.name for path in dataset.cases[0].images] == ["one.nii.gz", "two.nii.gz"]
    assert dataset.channel_names == ("image_0", "image_1")
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scan,label\na,b\n", "expected image"),
        ("image,mask\na,b\n", "expected image"),
        ("image_1,label\na,b\n", "expected image"),
        ("image,label\na,b\n,c\n,d\n", "line 3: image is empty; line 4: image is empty"),
    ],
)
def test_damaged_csv(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "a.csv")


def test_patterns(tmp_path):
    for name in ("p1", "p2"):
        image(tmp_path / name / "ct.nii.gz")
        label(tmp_path / name / f"{name}_seg.nii.gz")
    label(tmp_path / "p3" / "p3_seg.nii.gz")
    dataset = read_dataset(tmp_path, images="*/ct.nii.gz", labels="{}/{}_seg.nii.gz")
    assert [case.name for case in dataset.cases] == ["p1", "p2", "p3"]
    assert dataset.cases[0].label == tmp_path / "p1" / "p1_seg.nii.gz"
    with pytest.raises(DatasetError, match=r"1 problem in the dataset:\n  case p3: label map .* has no image"):
        check_dataset(dataset)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ("*.nii", None, "give both"),
        (None, "{}.nii", "give both"),
        ("a.nii", "{}.nii", "expected one"),
        ("*.nii", "b.nii", "expected one"),
        ("/x/*.nii", "{}.nii", "cannot be used"),
    ],
)
def test_unusable_patterns(tmp_path, images, labels, message):
    with pytest.raises(UsageError, match=message):
        read_dataset(tmp_path, images=images, labels=labels)


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match=r"is no dataset; expected dataset\.json"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        read_dataset(tmp_path / "nothing")


def test_every_problem_is_reported_at_once(tmp_path):
    root = plain_folder(tmp_path)
    image(root / "imagesTr" / "a.nii.gz", grid=Grid.from_spacing((4, 4, 4), origin=(0.5, 0, 0)))
    image(root / "imagesTr" / "b.nii.gz", grid=Grid.from_spacing((4, 4, 5)))
    (root / "labelsTr" / "c.nii.gz").unlink()
    (root / "imagesTr" / "d.nii.gz").unlink()
    (root / "imagesTr" / "e.nii.gz").write_bytes(b"junk" * 200)
    label(root / "labelsTr" / "f.nii.gz", value=9)
    (root / "labels.tsv").write_text("index\tname\n1\torgan\n")
    (root / "splits_final.json").write_text(json.dumps([{"train": ["a", "z"], "val": ["a"]}]))
    with pytest.raises(DatasetError, match="8 problems") as caught:
        check_dataset(read_dataset(root))
    text = str(caught.value)
    for part in (
        "fold 0 names z",
        "fold 0 has a in training and validation",
        "case a: .*another grid",
        "case b: .*another grid",
        "case c: image .* has no label map",
        "case d: label map .* has no image",
        "case e: .*is not NIfTI",
        "case f: .*has the label values 9; known are 1",
    ):
        assert any(re.search(part, line) for line in text.splitlines()), part


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "ASR"])
def test_the_same_voxels_in_another_orientation_are_to_be_reoriented(tmp_path, orientation):
    grid = Grid((4, 5, 6), Reorientation.between(GRID, orientation).grid(GRID).affine)
    image(tmp_path / "imagesTr" / "a.nii.gz", grid=grid)
    turned = Reorientation.between(grid, "PIR").grid(grid)
    label(tmp_path / "labelsTr" / "a.nii.gz", grid=turned)
    with pytest.raises(DatasetError, match=f"the voxels are the same: reorient it to {orientation}$"):
        check_dataset(read_dataset(tmp_path))
    label(tmp_path / "labelsTr" / "a.nii.gz", grid=turned.crop((0, 0, 0), (4, 4, 4)))
    with pytest.raises(DatasetError, match=r"resample it$"):
        check_dataset(read_dataset(tmp_path))


def test_a_hundredth_of_a_millimetre_is_the_same_grid(tmp_path):
    root = plain_folder(tmp_path, "a")
    image(root / "imagesTr" / "a.nii.gz", grid=Grid.from_spacing((4, 4, 4), origin=(0.005, 0, 0)))
    check_dataset(read_dataset(root))


def test_long_lists_are_cut(tmp_path):
    for number in range(30):
        image(tmp_path / "imagesTr" / f"{number}.nii.gz")
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "labels.tsv").write_text("index\tname\n1\torgan\n")
    with pytest.raises(DatasetError, match=r"30 problems(.*\n){21}  and 10 more$"):
        check_dataset(read_dataset(tmp_path))


def test_duplicates_and_nothing_at_all(tmp_path):
    image(tmp_path / "a.nii.gz")
    label(tmp_path / "l.nii.gz")
    (tmp_path / "a.csv").write_text("image,label\na.nii.gz,l.nii.gz\na.nii.gz,l.nii.gz\n")
    with pytest.raises(DatasetError, match="there are 2 cases of this name") as caught:
        check_dataset(read_dataset(tmp_path / "a.csv"))
    assert "a.nii.gz: belongs to 2 cases" in str(caught.value)
    (tmp_path / "b.csv").write_text("image,label\n")
    with pytest.raises(DatasetError, match="there are no cases"):
        check_dataset(read_dataset(tmp_path / "b.csv"))


@pytest.mark.parametrize("name", ["../a", "x/a", "x\\a", "..", ".", ""])
def test_names_that_no_file_can_have_are_refused(tmp_path, name):
    """Files of a training and predictions are called by them; none may land elsewhere."""
    dataset = read_dataset(plain_folder(tmp_path, "ab"))
    renamed = replace(dataset, cases=(replace(dataset.cases[0], name=name), dataset.cases[1]))
    message = f"1 problem in the dataset:\n  case {name!r}: files cannot be called so; give it a name without slashes"
    with pytest.raises(DatasetError, match=f"{re.escape(message)}$"):
        check_dataset(renamed)
    check_dataset(replace(dataset, cases=(replace(dataset.cases[0], name="x..a b"), dataset.cases[1])))


def test_a_table_may_not_name_cases_with_slashes(tmp_path):
    image(tmp_path / "i.nii.gz")
    label(tmp_path / "l.nii.gz")
    (tmp_path / "a.csv").write_text("case,image,label\nward/7,i.nii.gz,l.nii.gz\n")
    with pytest.raises(DatasetError, match="case 'ward/7': files cannot be called so"):
        check_dataset(read_dataset(tmp_path / "a.csv"))


def test_label_files_that_disagree_about_a_name(tmp_path):
    root = plain_folder(tmp_path, "ab")
    (root / "labelsTr" / "b.tsv").write_text("index\tname\n1\tGTV\n")
    with pytest.raises(DatasetError, match="label 1 is 'GTV', elsewhere 'label_1'"):
        read_dataset(root)


def test_default_folds_hold_every_case_once(tmp_path):
    dataset = read_dataset(plain_folder(tmp_path, "abcdefg"))
    held_out = [case.name for fold in range(5) for case in split(dataset, fold)[1]]
    assert sorted(held_out) == list("abcdefg")
    training, validation = split(dataset, 0)
    assert not set(training) & set(validation)
    with pytest.raises(UsageError, match="fold is 5; expected 0 to 4"):
        split(dataset, 5)
    with pytest.raises(DatasetError, match="too few for 5 folds"):
        split(replace(dataset, cases=dataset.cases[:4]), 0)


def test_own_folds(tmp_path):
    (plain_folder(tmp_path) / "splits_final.json").write_text('[{"train": ["f", "a"], "val": ["b"]}]')
    training, validation = split(read_dataset(tmp_path), 0)
    assert [case.name for case in training] == ["f", "a"]
    assert [case.name for case in validation] == ["b"]
    (tmp_path / "splits_final.json").write_text('[{"train": ["z"], "val": ["b"]}]')
    with pytest.raises(DatasetError, match=r"\['z'\] are not cases"):
        split(read_dataset(tmp_path), 0)
    (tmp_path / "splits_final.json").write_text('[{"train": ["a"], "val": ["b"]}, {"train": [], "val": ["b"]}]')
    with pytest.raises(DatasetError, match=r"splits_final\.json: fold 1 has no training cases"):
        split(read_dataset(tmp_path), 1)
    with pytest.raises(DatasetError, match=r"1 problem .*\n  splits_final\.json: fold 1 has no training cases"):
        check_dataset(read_dataset(tmp_path))
    (tmp_path / "splits_final.json").write_text('[{"train": 3}]')
    with pytest.raises(DatasetError, match=r"splits_final\.json: 0\.train: "):
        read_dataset(tmp_path)


def test_default_folds_are_nnunets(shared_data):
    dataset = read_dataset(shared_data / "hippocampus")
    assert len(dataset.cases) == 260
    assert dataset.splits is not None
    for fold in range(5):
        assert split(replace(dataset, splits=None), fold) == split(dataset, fold)


def test_real_thick_slice_set(shared_data):
    dataset = read_dataset(shared_data / "sarcoma")
    assert len(dataset.cases) == 16
    check_dataset(dataset)
