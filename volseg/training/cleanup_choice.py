"""The clean-up of a model's labels, decided on held-out cases.

For each label without a setting of its own, in the order in which `clean_labels` works: the largest component alone;
if that is not kept, no pieces below a hundredth, then a tenth of the label's smallest reference volume; then holes
filled. A step is kept where the Dice of the cases that have the label rises

* by 0.0005 or more in the mean, half of the last digit that tables have, and
* so evenly that the 95 % bootstrap interval of the mean difference lies above 0. A mean alone may rest on one case; and
  the mean over cases tells of a label with two true bodies, as the loss of one is larger than any gain from specks.

Below 5 cases there is no such interval, and nothing is decided. nnU-Net decides by the mean alone
(F. Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
Methods 18, 2021, doi:10.1038/s41592-020-01008-z).

What the clean-up brings is not measured on the cases that decided it: each group of cases is cleaned as the cases of
the other groups decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from volseg.config import CleanupConfig
from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.datasets import Case
from volseg.evaluation import summarise
from volseg.evaluation.statistics import FEWEST_CASES
from volseg.network.description import CleanupDecision
from volseg.prediction.cleanup import clean_labels, find_holes, resolve_cleanup
from volseg.training.pieces import NO_AREA, Area, LabelPieces, count_pieces

_MOST_GROUPS = 10  # of cases, where there are no folds
_LEAST_GAIN = 0.0005
_SHARES = (0.01, 0.1)  # of the smallest reference volume
_NOTHING = CleanupConfig()

Steps = dict[str, CleanupConfig]  # by label name; nothing is done to the others
LoadPair = Callable[[], tuple[LabelMap, LabelMap]]


class CleanupTrial:
    """Held-out cases on which clean-up is tried.

    Parameters
    ----------
    labels : sequence of Label
        Of the model.
    given : mapping of label name to CleanupConfig
        Labels on which nothing is to be decided, and what is done to them; ``*`` is all.
    heed : callable
        Called for each case; may raise.

    Attributes
    ----------
    seconds : float
        How long counting has taken; deciding takes about as long.
    """

    def __init__(
        self, labels: Sequence[Label], given: Mapping[str, CleanupConfig], heed: Callable[[], None] = lambda: None
    ) -> None:
        self.labels = tuple(labels)
        self._given = resolve_cleanup([label.name for label in labels], given)
        self.seconds = 0.0
        self._heed = heed
        self._cases: list[tuple[LoadPair, dict[str, LabelPieces]]] = []
        self._holes: dict[tuple[int, tuple[tuple[str, CleanupConfig], ...]], dict[str, Area]] = {}

    def add(self, load: LoadPair) -> None:
        """Add a case.

        Parameters
        ----------
        load : callable
            Returns its prediction and its reference on one grid. It is called several times.
        """
        self._heed()
        start = time.monotonic()
        prediction, reference = load()
        counted = count_pieces(prediction, reference, [label.value for label in self.labels])
        self._cases.append((load, {label.name: counted[label.value] for label in self.labels}))
        self.seconds += time.monotonic() - start

    def decide(self, cases: Sequence[int] | None = None) -> Steps:
        """Decide the clean-up of each label on some of the cases.

        Parameters
        ----------
        cases : sequence of int, optional
            Their numbers, in the order in which they were added; by default all.

        Returns
        -------
        dict of str to CleanupConfig
            With those that were given.
        """
        numbers = range(len(self._cases)) if cases is None else cases
        steps, undecided = dict(self._given), self._undecided()
        for name in undecided:
            with_label = self._with_label(name, numbers)
            steps[name] = _choose_pieces([self._cases[number][1][name] for number in with_label])
        cleared = dict(steps)
        for name in undecided:
            filled = cleared[name].model_copy(update={"fill_holes": True})
            with_label = self._with_label(name, numbers)
            if len(with_label) < FEWEST_CASES:
                continue  # and no holes need be counted
            before = self._dices(name, with_label, cleared)
            if _rises(before, self._dices(name, with_label, {**cleared, name: filled})):
                steps[name] = filled
        return {name: step for name, step in steps.items() if step != _NOTHING or name in self._given}

    def _undecided(self) -> list[str]:
        return [label.name for label in self.labels if label.name not in self._given]

    def _with_label(self, name: str, numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if self._cases[number][1][name].reference]

    def _dices(self, name: str, numbers: Sequence[int], steps: Steps) -> NDArray[np.float64]:
        return np.array([self._dice(number, name, steps) for number in numbers], dtype=float)

    def _dice(self, number: int, name: str, steps: Steps) -> float:
        """Return the Dice of a label in a case after clean-up."""
        return self._cases[number][1][name].dice(self._area(number, name, steps))

    def _area(self, number: int, name: str, steps: Steps) -> Area:
        """Return a label in a case after clean-up; that of other labels matters only within its holes."""
        pieces, step = self._cases[number][1][name], steps.get(name, _NOTHING)
        area = pieces.kept(step)
        if step.fill_holes:
            holes = self._count_holes(number, steps).get(name, NO_AREA)
            area = Area(area.voxels + holes.voxels, area.hits + holes.hits)
        return area

    def _count_holes(self, number: int, steps: Steps) -> dict[str, Area]:
        """Count the holes of each label when the pieces of all labels are cleared."""
        cleared = {name: step.model_copy(update={"fill_holes": False}) for name, step in steps.items()}
        key = (number, tuple(sorted(cleared.items(), key=lambda entry: entry[0])))
        if key not in self._holes:
            self._heed()
            prediction, reference = self._cases[number][0]()
            self._holes[key] = self._holes_in(clean_labels(prediction, cleared), reference)
        return self._holes[key]

    def _holes_in(self, cleared: LabelMap, reference: LabelMap) -> dict[str, Area]:
        names = {label.value: label.name for label in self.labels}
        found = {}
        for value, box in label_boxes(cleared.array).items():
            view, there = cleared.array[box], reference.array[box] == value
            holes = find_holes(view, value, cleared.grid.shape)
            found[names[value]] = Area(int(np.count_nonzero(holes)), int(np.count_nonzero(holes & there)))
            if self._given.get(names[value], _NOTHING).fill_holes:
                view[holes] = value
        return found

    def table(self, steps: Sequence[Steps]) -> NDArray[np.float64]:
        """Return the Dice of each case (row) and label (column) after clean-up.

        Parameters
        ----------
        steps : sequence of dict
            The clean-up of each case.
        """
        rows = [[self._dice(number, label.name, step) for label in self.labels] for number, step in enumerate(steps)]
        return np.array(rows, dtype=float).reshape(len(rows), len(self.labels))

    def volumes_ml(self, steps: Sequence[Steps]) -> list[dict[str, tuple[float, float]]]:
        """Return for each case the volume of each label after clean-up, and that of the reference.

        Parameters
        ----------
        steps : sequence of dict
            The clean-up of each case.
        """
        found = []
        for number, step in enumerate(steps):
            volumes = {}
            for name, pieces in self._cases[number][1].items():
                predicted = self._area(number, name, step).voxels * pieces.voxel_mm3
                volumes[name] = predicted / 1000, pieces.reference_mm3 / 1000
            found.append(volumes)
        return found

    def decide_by_others(self, groups: Sequence[int]) -> list[Steps]:
        """Return the clean-up of each case that the cases of all other groups decide.

        Parameters
        ----------
        groups : sequence of int
            The group of each case.
        """
        decided = {}
        for group in sorted(set(groups)):
            decided[group] = self.decide([number for number, other in enumerate(groups) if other != group])
        return [decided[group] for group in groups]

    def sum_up(self, decided: Steps, by_others: Sequence[Steps]) -> dict[str, CleanupDecision]:
        """Return what a model keeps of the decisions.

        Parameters
        ----------
        decided : dict of str to CleanupConfig
            On all cases.
        by_others : sequence of dict
            For each case by the others; what it brings is measured with these.
        """
        before, after = self.table([{}] * len(self._cases)), self.table(by_others)
        decisions = {}
        for column, label in enumerate(self.labels):
            if label.name in self._given:
                continue
            rows = self._with_label(label.name, range(len(self._cases)))
            step = decided.get(label.name, _NOTHING)
            decisions[label.name] = CleanupDecision(
                step.largest_component,
                step.minimum_mm3,
                step.fill_holes,
                cases=len(rows),
                dice_before=_mean(before[rows, column]),
                dice_after=_mean(after[rows, column]),
            )
        return decisions


def group_cases(cases: Sequence[Case]) -> list[int]:
    """Return a group for each case, 0 to 9; all scans of a patient are in one.

    Parameters
    ----------
    cases : sequence of Case
    """
    patients = [case.patient.name if case.patient else case.name for case in cases]
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    return [numbers[patient] * min(_MOST_GROUPS, len(numbers)) // len(numbers) for patient in patients]


def _choose_pieces(cases: Sequence[LabelPieces]) -> CleanupConfig:
    """Choose which pieces of a label are kept, on cases that have it."""
    if len(cases) < FEWEST_CASES:
        return _NOTHING
    largest = CleanupConfig(largest_component=True)
    chosen, dices = _NOTHING, _dices_of(cases, _NOTHING)
    if _rises(dices, _dices_of(cases, largest)):
        return largest
    smallest = min(pieces.reference_mm3 for pieces in cases)
    for share in _SHARES:
        step = CleanupConfig(minimum_mm3=float(f"{share * smallest:.3g}"))
        cleaned = _dices_of(cases, step)
        if _rises(dices, cleaned):
            chosen, dices = step, cleaned
    return chosen


def _dices_of(cases: Sequence[LabelPieces], step: CleanupConfig) -> NDArray[np.float64]:
    return np.array([pieces.dice(pieces.kept(step)) for pieces in cases], dtype=float)


def _rises(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether a score over cases rises, by more than one of them."""
    gains = after - before
    if len(gains) < FEWEST_CASES or gains.mean() < _LEAST_GAIN:
        return False
    return summarise(gains.tolist()).low > 0


def _mean(scores: NDArray[np.float64]) -> float | None:
    return round(float(scores.mean()), 6) if scores.size else None
