"""The folds of a training set: its own, or five that keep the scans of a patient together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from volseg.datasets.patients import describe_patients, group_by_patient
from volseg.datasets.types import Case, Dataset, Splits
from volseg.errors import DatasetError, UsageError

_FOLDS = 5
_SEED = 12345


def split(dataset: Dataset, fold: int) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Return the training and the validation cases of a fold.

    Parameters
    ----------
    dataset : Dataset
        Its ``splits_final.json`` decides. Without one there are five folds: nnU-Net's, of the sorted case names, or if
        patients have several scans, folds that keep these together.
    fold : int
        From 0.

    Returns
    -------
    training, validation : tuple of Case

    Raises
    ------
    UsageError
        There is no such fold.
    DatasetError
        The fold has no training cases, a name in the splits is no case, or there are fewer than five patients and no
        ``splits_final.json``.
    """
    by_name = {case.name: case for case in dataset.cases}
    splits = _splits(dataset)
    if not 0 <= fold < len(splits):
        raise UsageError(f"fold is {fold}; expected 0 to {len(splits) - 1}")
    training, validation = splits[fold]
    unknown = sorted({*training, *validation} - by_name.keys())
    if unknown:
        raise DatasetError(f"{dataset.root / 'splits_final.json'}: {unknown[:5]} are not cases of the dataset")
    if not training:
        raise DatasetError(f"{dataset.root / 'splits_final.json'}: fold {fold} has no training cases; name some")
    return tuple(map(by_name.__getitem__, training)), tuple(map(by_name.__getitem__, validation))


def count_folds(dataset: Dataset) -> int:
    """Return how many folds `split` knows.

    Parameters
    ----------
    dataset : Dataset
    """
    return len(_splits(dataset))


def _splits(dataset: Dataset) -> Splits:
    return dataset.splits or _default_splits(sorted(dataset.cases, key=lambda case: case.name))


def _default_splits(cases: Sequence[Case]) -> Splits:
    groups = group_by_patient(cases)
    if len(groups) < _FOLDS:
        told = describe_patients(cases)
        count = f"{told}" if told else f"{len(cases)} cases"
        raise DatasetError(
            f"the dataset has {count}, too few for {_FOLDS} folds; add a splits_final.json or train on all of them "
            "(--fold all)"
        )
    parts = _parts_of_cases(cases) if len(groups) == len(cases) else _parts_of_patients(groups)
    splits = []
    for part in parts:
        training, validation = list[str](), list[str]()
        for case in cases:
            (validation if case.name in part else training).append(case.name)
        splits.append((tuple(training), tuple(validation)))
    return tuple(splits)


def _parts_of_cases(cases: Sequence[Case]) -> list[set[str]]:
    """Return what nnU-Net's folds hold out: scikit-learn's ``KFold(5, shuffle=True, random_state=12345)``."""
    parts = []
    for numbers in np.array_split(_shuffled(len(cases)), _FOLDS):
        parts.append({cases[number].name for number in numbers})
    return parts


def _parts_of_patients(groups: Sequence[Sequence[Case]]) -> list[set[str]]:
    """Deal out whole patients, those with most scans first, each to the part that has fewest scans by then."""
    shuffled = [groups[number] for number in _shuffled(len(groups))]
    parts: list[set[str]] = [set() for _ in range(_FOLDS)]
    for group in sorted(shuffled, key=len, reverse=True):
        min(parts, key=len).update(case.name for case in group)
    return parts


def _shuffled(count: int) -> NDArray[np.int64]:
    order = np.arange(count)
    np.random.RandomState(_SEED).shuffle(order)
    return order


def describe_shared_patients(dataset: Dataset) -> str:
    """Say which patients ``splits_final.json`` has on both sides of a fold.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    str
        A warning with the first such patient and how many there are; empty if there is none.
    """
    patients = {case.name: case.patient.name for case in dataset.cases if case.patient is not None}
    first, shared = "", set[str]()
    for number, (training, validation) in enumerate(dataset.splits or ()):
        both = _patients_of(training, patients) & _patients_of(validation, patients)
        if both and not first:
            first = f"patient {min(both)!r} is in training and validation of fold {number}"
        shared |= both
    if not first:
        return ""
    count = "1 patient is" if len(shared) == 1 else f"{len(shared)} patients are"
    return (
        f"{dataset.root / 'splits_final.json'}: {first}; {count} on both sides of a fold, and scores of held-out cases "
        "will be too good. Without the file, folds keep patients together"
    )


def _patients_of(names: Sequence[str], patients: Mapping[str, str]) -> set[str]:
    return {patients[name] for name in names if name in patients}
