"""The clean-up of an ensemble, decided on what the networks of all folds predict for cases that they have not seen."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from volseg.config import CleanupConfig
from volseg.core.labelmap import Label, LabelMap
from volseg.core.resample import Reorientation
from volseg.datasets import Case, read_reference
from volseg.evaluation import Row
from volseg.evaluation.scores import compare
from volseg.io import read_labels
from volseg.network.description import CleanupDecision
from volseg.prediction.cleanup import clean_labels
from volseg.training.cleanup_choice import CleanupTrial, Steps, group_cases


@dataclass(frozen=True)
class HeldOut:
    """A held-out case: its fold, the file of its prediction before the decided clean-up, and its scores."""

    case: Case
    fold: int
    prediction: Path
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class FoldCleanup:
    """The clean-up of all folds together.

    Parameters
    ----------
    decided : dict of str to CleanupDecision
        By label name, decided on all cases.
    rows : tuple of Row
        The scores of all cases after clean-up. Each fold is cleaned as the cases of the other folds decide; where there
        is only one, each group of its cases as the other groups decide.
    """

    decided: dict[str, CleanupDecision]
    rows: tuple[Row, ...]


def clean_across_folds(
    labels: Sequence[Label], given: Mapping[str, CleanupConfig], held_out: Sequence[HeldOut]
) -> Generator[tuple[int, int], None, FoldCleanup]:
    """Decide the clean-up of a model that has the networks of all folds, and see what it brings.

    Parameters
    ----------
    labels : sequence of Label
        Of the model.
    given : mapping of label name to CleanupConfig
        The settings of the model; their labels are not decided.
    held_out : sequence of HeldOut

    Yields
    ------
    done, total : int
        Cases that are counted or cleaned, and both together.

    Returns
    -------
    FoldCleanup
    """
    trial, total = CleanupTrial(labels, given), 2 * len(held_out)
    for done, entry in enumerate(held_out, 1):
        trial.add(partial(_load_pair, entry))
        yield done, total
    folds = [entry.fold for entry in held_out]
    by_others = trial.decide_by_others(folds if len(set(folds)) > 1 else group_cases([e.case for e in held_out]))
    rows: list[Row] = []
    for done, (entry, steps) in enumerate(zip(held_out, by_others, strict=True), len(held_out) + 1):
        rows += _scores_after(entry, steps)
        yield done, total
    return FoldCleanup(trial.sum_up(trial.decide(), by_others), tuple(rows))


def _load_pair(entry: HeldOut) -> tuple[LabelMap, LabelMap]:
    """Read the prediction and the reference of a case, voxel by voxel in the order of the reference."""
    prediction, reference = read_labels(entry.prediction), read_reference(entry.case)
    change = Reorientation.onto(prediction.grid, reference.grid)
    turned = LabelMap(change.array(prediction.array), change.grid(prediction.grid), prediction.labels)
    return turned, reference


def _scores_after(entry: HeldOut, steps: Steps) -> list[Row]:
    if not steps:
        return list(entry.rows)
    prediction, reference = _load_pair(entry)
    cleaned, rows = clean_labels(prediction, steps), []
    for row in entry.rows:
        mask = cleaned.array == row.value
        if not np.array_equal(mask, prediction.array == row.value):
            row = replace(row, scores=compare(mask, reference.array == row.value, reference.grid))
        rows.append(row)
    return rows
