from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reported_cases import LABELS, ball_and_bar, doubt

from volseg.cases.case_doubt import nothing_known, read_doubt
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.prediction.doubt import Doubt
from volseg.reporting.flags import Flag, flag_doubt, flag_intensities, flag_record, flag_sizes
from volseg.reporting.sizes import size_labels

GRID = Grid.from_spacing((10, 10, 10), (1.0, 1.0, 3.0))


def of_sizes(array: np.ndarray[Any, Any], grid: Grid, known: Doubt | None = None) -> list[Flag]:
    return flag_sizes(size_labels(LabelMap(array, grid, LABELS)), known or nothing_known(""))


def test_what_a_usual_case_has_is_not_flagged() -> None:
    scan, labels = ball_and_bar()
    assert flag_sizes(size_labels(labels), read_doubt({**doubt(0.9), "labels": {}})) == []
    assert flag_doubt(read_doubt(doubt(0.9))) == []
    assert flag_record({}, scan.grid) == []


def test_borders_are_named_by_the_sides_of_the_patient() -> None:
    array = np.zeros((10, 10, 10), np.uint8)
    array[3:7, 3:7, :4], array[3:7, 8:, 5:8] = 1, 2
    texts = [flag.text for flag in of_sizes(array, GRID)]
    assert texts == [
        "ball reaches the lower end of the scan, so a part of it may be missing.",
        "bar reaches the front of the scan, so a part of it may be missing.",
    ]
    turned = Grid(GRID.shape, GRID.affine @ np.diag([1, -1, -1, 1]))
    texts = [flag.text for flag in of_sizes(array, turned)]
    assert "upper end" in texts[0]
    assert "back" in texts[1]


def test_pieces_are_told_with_the_share_of_the_largest() -> None:
    array = np.zeros((10, 10, 10), np.uint8)
    array[2:5, 2:5, 2], array[7, 7, 7], array[4, 7, 5] = 1, 1, 2
    assert [flag.text for flag in of_sizes(array, GRID)] == ["ball is in 2 pieces; the largest has 90 % of it."]
    array = np.zeros((40, 40, 10), np.uint8)
    array[2:38, 2:30, 2:8], array[36, 36, 4], array[4, 36, 5] = 1, 1, 2
    (flag,) = of_sizes(array, Grid.from_spacing(array.shape))
    assert flag.text == "ball is in 2 pieces; the largest has over 99 % of it."


def test_missing_labels() -> None:
    array = np.zeros((10, 10, 10), np.uint8)
    assert of_sizes(array, GRID) == [Flag("empty", "Nothing was found: every label is empty.", serious=True)]
    array[3:6, 3:6, 3:6] = 1
    assert of_sizes(array, GRID) == [Flag("empty", "Empty: bar.")]


def test_doubt_below_that_of_held_out_cases_and_volumes_outside_the_training() -> None:
    _, labels = ball_and_bar()
    known = read_doubt(doubt(0.7, percentile=2.0))
    (flag,) = flag_doubt(known)
    assert (flag.text, flag.serious) == (
        "The network is less sure of this case than of 98 % of the 52 held-out cases.",
        True,
    )
    (flag,) = flag_sizes(size_labels(labels), known)
    assert flag.text == "bar has 1.2 ml, smaller than in any training case (2 to 3)."


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"warnings": {"read": ["is tilted by 5 degrees"]}}, "When the scan was read: is tilted by 5 degrees."),
        ({"model_weakness": "1 step"}, "The model means nothing: 1 step."),
        (
            {"channels": [{"modality": "CT"}], "trained_on": {"modalities": ["MR"]}},
            "The scan is CT; the model was trained on MR.",
        ),
        (
            {"trained_on": {"spacing_mm": [1, 1, 1]}},
            "Voxels are 3 mm long from head to feet; the model works at 1 mm there.",
        ),
    ],
)
def test_what_the_record_tells(facts: dict[str, Any], text: str) -> None:
    assert [flag.text for flag in flag_record(facts, GRID)] == [text]


def test_a_ct_whose_labelled_voxels_are_darker_than_in_training() -> None:
    array, inside = np.full((4, 4, 4), -500.0), np.ones((4, 4, 4), dtype=bool)
    window = {"kind": "window", "low": -1000, "high": 1000, "mean": 100, "std": 50}
    (flag,) = flag_intensities({"trained_on": {"normalisation": [window]}}, array, inside)
    assert (
        flag.text == "The labelled voxels have a mean of -500; those of the training had 100 (standard deviation 50)."
    )
    assert flag_intensities({"trained_on": {"normalisation": [{"kind": "zscore"}]}}, array, inside) == []
    assert flag_intensities({}, array, inside) == []


def test_a_doubt_of_another_form_is_none() -> None:
    assert read_doubt(None).expected_dice is None
    assert "another form" in read_doubt({"expected_dice": "high"}).reasons[0]
