"""Predictions and references in layers, as folders of masks, of several volumes; some labels alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.errors import AmbiguousError, InputError
from volseg.evaluation import Evaluation, evaluate
from volseg.io import write
from volseg.io.images.itk import write_seg_nrrd
from volseg.io.images.nifti import write_nifti

GRID = Grid.from_spacing((6, 5, 4), (1, 2, 3))
NAMES = {9: "aorta", 2: "liver", 5: "spleen"}  # not in the order of the names
LABELS = tuple(Label(value, name, (value, 1, 2)) for value, name in NAMES.items())
VALUES = arrays(np.uint8, GRID.shape, elements=st.sampled_from([0, 0, *NAMES]))


def masks(folder: Path, array: np.ndarray, names: dict[int, str] = NAMES) -> Path:
    for value, name in names.items():
        write_nifti((array == value).astype(np.uint8), GRID, folder / f"{name}.nii.gz")
    return folder


def dice(found: Evaluation) -> dict[str, float]:
    return {row.label: round(row.scores.dice, 6) for row in found.rows}


def boxes() -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    ours[0], ours[2], ours[4], theirs[0, :3], theirs[2, :4], theirs[4:] = 9, 2, 5, 9, 2, 5
    return ours, theirs


@settings(max_examples=50)
@given(ours=VALUES, theirs=VALUES)
def test_folders_of_masks_score_as_label_maps_do(tmp_path_factory, ours: np.ndarray, theirs: np.ndarray) -> None:
    base = tmp_path_factory.getbasetemp()
    prediction, reference = LabelMap(ours, GRID, LABELS), LabelMap(theirs, GRID, LABELS)
    expected = dice(evaluate(prediction, reference))
    folders = masks(base / "ours", ours), masks(base / "theirs", theirs)
    for pair in ((folders[0], reference), (prediction, folders[1]), folders):
        np.testing.assert_equal(dice(evaluate(*pair)), expected)


def test_masks_that_only_one_side_has_count_as_missing(tmp_path: Path) -> None:
    ours, theirs = boxes()
    folder = masks(tmp_path / "theirs", theirs, {9: "aorta", 2: "liver", 5: "brain"})
    found = {row.label: row.status for row in evaluate(LabelMap(ours, GRID, LABELS), folder).rows}
    assert found == {"aorta": "both", "liver": "both", "spleen": "spurious", "brain": "missed"}


def test_masks_without_a_name_in_common_are_refused_unless_a_table_says_more(tmp_path: Path) -> None:
    ours, theirs = boxes()
    unnamed, folder = LabelMap.from_array(ours, GRID), masks(tmp_path / "theirs", theirs)
    with pytest.raises(
        InputError, match=r"matched by name, and no mask has the name of .* \(label_2, label_5, label_9\)"
    ):
        evaluate(unnamed, folder)
    write(LabelMap(ours, GRID, LABELS), tmp_path / "ours.nii.gz")
    expected = dice(evaluate(LabelMap(ours, GRID, LABELS), LabelMap(theirs, GRID, LABELS)))
    assert dice(evaluate(tmp_path / "ours.nii.gz", folder, labels=tmp_path / "ours.tsv")) == expected


def test_a_cohort_of_masks(tmp_path: Path) -> None:
    ours, theirs = boxes()
    for case in ("s1", "s2"):
        masks(tmp_path / "refs" / case / "segmentations", theirs)
        write(LabelMap(ours, GRID, LABELS), tmp_path / "out" / case / "labels.nii.gz")
    found = evaluate(tmp_path / "out", tmp_path / "refs")
    assert found.cases == ("s1", "s2")
    assert not found.failures
    assert found.rows[0].scores.dice < 1


@given(ours=arrays(np.uint8, (*GRID.shape, 3), elements=st.integers(0, 1)), shift=st.integers(0, 2))
def test_labels_that_overlap_are_compared_each_by_itself(tmp_path_factory, ours: np.ndarray, shift: int) -> None:
    base = tmp_path_factory.getbasetemp()
    theirs = np.roll(ours, shift, axis=0)
    write_nifti(ours, GRID, base / "ours.nii")
    write_nifti(theirs, GRID, base / "theirs.nii")
    found = dice(evaluate(base / "ours.nii", base / "theirs.nii"))
    for n in range(3):
        both = ours[..., n].sum() + theirs[..., n].sum()
        expected = 2 * (ours[..., n] & theirs[..., n]).sum() / both if both else np.nan
        np.testing.assert_allclose(found[f"label_{n + 1}"], expected, atol=1e-5)


def test_only_and_series_choose(tmp_path: Path) -> None:
    ours, theirs = boxes()
    for name, array in (("ours", ours), ("theirs", theirs)):
        write_nifti(np.stack([np.zeros_like(array), array], axis=-1), GRID, tmp_path / f"{name}.nii.gz")
    with pytest.raises(AmbiguousError, match=r"not all are masks .*\(--series\)"):
        evaluate(tmp_path / "ours.nii.gz", tmp_path / "theirs.nii.gz")
    expected = dice(evaluate(LabelMap.from_array(ours, GRID), LabelMap.from_array(theirs, GRID)))
    assert dice(evaluate(tmp_path / "ours.nii.gz", tmp_path / "theirs.nii.gz", series="1")) == expected
    command = ["evaluate", str(tmp_path / "ours.nii.gz"), str(tmp_path / "theirs.nii.gz"), "--series", "1", "--csv"]
    result = CliRunner().invoke(app, [*command, str(tmp_path / "a.csv"), "--only", "label_9,2"])
    assert result.exit_code == 0, result.output
    rows = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == ["label_2", "label_9"]
    pair = LabelMap(ours, GRID, LABELS), LabelMap(theirs, GRID, LABELS)
    assert list(dice(evaluate(*pair, only=["S*"]))) == ["spleen"]
    with pytest.raises(InputError, match="prediction and reference: has no label 'brain'"):
        evaluate(*pair, only=["brain"])


def test_two_labels_of_one_value_are_refused(tmp_path: Path) -> None:
    ours, _ = boxes()
    layers = [LabelMap((ours > n).astype(np.uint8), GRID, (Label(1, f"part {n}", (1, 2, n)),)) for n in (0, 2)]
    write_seg_nrrd(layers, tmp_path / "a.seg.nrrd")
    with pytest.raises(AmbiguousError, match=r"several labels have one value \(part 0, part 2\), .*volseg convert"):
        evaluate(tmp_path / "a.seg.nrrd", tmp_path / "a.seg.nrrd")
