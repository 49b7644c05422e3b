"""The clean-up of all folds together, on predictions in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from volseg.config import CleanupConfig
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.resample import Reorientation
from volseg.crossvalidation.cleanup import FoldCleanup, HeldOut, clean_across_folds
from volseg.datasets import Case
from volseg.evaluation import evaluate
from volseg.io import write

LABELS = (Label(2, "ball", (200, 60, 60)), Label(7, "bar", (60, 60, 200)))


def held_out(folder: Path, name: str, *, fold: int, specks: bool, turned: bool = False) -> HeldOut:
    """A bar and a ball, drawn and predicted; specks of bar are predicted too."""
    array = np.zeros((20, 16, 8), dtype=np.uint8)
    array[2:8, 2:8, 2:6], array[12:16, 2:14, 2:4] = 2, 7
    grid = Grid.from_spacing(array.shape, (1, 1, 2))
    reference = write(LabelMap(array, grid, LABELS), folder / f"{name}_reference.nii.gz")[0]
    if specks:
        array = array.copy()
        array[18, 1:15:2, 7] = 7
    change = Reorientation.between(grid, "LPS" if turned else "RAS")
    predicted = LabelMap(change.array(array), change.grid(grid), LABELS)
    prediction = write(predicted, folder / f"{name}.nii.gz")[0]
    found = evaluate({name: prediction}, {name: reference})
    return HeldOut(Case(name, (folder / "scan.nii.gz",), reference), fold, prediction, found.rows)


def cleaned(entries: list[HeldOut], given: dict[str, CleanupConfig] | None = None) -> FoldCleanup:
    steps, seen = clean_across_folds(LABELS, given or {}, entries), []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            total = 2 * len(entries)
            assert seen == [(done, total) for done in range(1, total + 1)]
            result: FoldCleanup = end.value
            return result


def dices(found: FoldCleanup, label: str) -> list[float]:
    return [row.scores.dice for row in found.rows if row.label == label]


def test_each_fold_is_cleaned_as_the_others_decide(tmp_path: Path) -> None:
    """Only fold 0 has specks. It would decide for itself, but the other fold sees no reason."""
    entries = [held_out(tmp_path, f"a{n}", fold=0, specks=True) for n in range(6)]
    entries += [held_out(tmp_path, f"b{n}", fold=1, specks=False) for n in range(6)]
    found = cleaned(entries)
    assert found.decided["bar"].settings == CleanupConfig(largest_component=True)
    assert found.decided["ball"].settings == CleanupConfig()
    assert found.decided["bar"].cases == 12
    assert found.decided["bar"].dice_after == found.decided["bar"].dice_before
    assert found.rows == tuple(row for entry in entries for row in entry.rows)


@pytest.mark.parametrize("turned", [False, True])
def test_what_the_clean_up_brings_is_measured_by_all_metrics(turned: bool, tmp_path: Path) -> None:
    """Also where the voxels of the predictions are in another order than those of the references."""
    entries = [held_out(tmp_path, f"c{n}", fold=n % 3, specks=True, turned=turned) for n in range(9)]
    found = cleaned(entries)
    assert found.decided["bar"].dice_after == 1
    assert dices(found, "bar") == [1.0] * 9
    assert [row.scores.hd95_mm for row in found.rows] == [0.0] * 18
    before = [row.scores.hd95_mm for entry in entries for row in entry.rows if row.label == "bar"]
    assert min(before) > 1


def test_a_single_fold_is_cleaned_group_by_group(tmp_path: Path) -> None:
    entries = [held_out(tmp_path, f"d{n}", fold=3, specks=True) for n in range(6)]
    assert dices(cleaned(entries), "bar") == [1.0] * 6
    assert cleaned(entries[:5]).decided["bar"].settings == CleanupConfig(largest_component=True)
    few = cleaned(entries[:4])
    assert few.decided["bar"].settings == CleanupConfig()
    assert max(dices(few, "bar")) < 1


def test_labels_with_settings_are_left_alone(tmp_path: Path) -> None:
    entries = [held_out(tmp_path, f"e{n}", fold=n % 2, specks=True) for n in range(10)]
    found = cleaned(entries, {"bar": CleanupConfig(largest_component=False)})
    assert set(found.decided) == {"ball"}
    assert max(dices(found, "bar")) < 1
