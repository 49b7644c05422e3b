"""Which slices a training is watched by: few, always the same, and together with all labels where that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.config import PreparationConfig
from volseg.core.content import crop_labels
from volseg.core.labelmap import Label, present_values
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation
from volseg.core.slices import stack_slices
from volseg.datasets import Case, read_images, read_reference
from volseg.prediction.inference import plane_weights
from volseg.prediction.prepare import find_box

_MOST_LOOKED_AT = 16  # cases whose label maps are looked at
_CASES = 4
_APART = 0.1  # of the slices with labels: slices of one case that are nearer to each other look alike
_USUAL, _MOST = 4, 8  # slices of a plane

Places = dict[Plane, list[tuple[str, int]]]  # case and number of each slice
Counts = Mapping[str, NDArray[np.int64]]  # pixels by case: a row a slice, a column a label


@dataclass(frozen=True)
class Candidates:
    """The cases to choose from.

    Parameters
    ----------
    cases : tuple of Case
    labels : tuple of Label
    preparation : PreparationConfig
        Planned.
    """

    cases: tuple[Case, ...]
    labels: tuple[Label, ...]
    preparation: PreparationConfig

    def choose(self, most: Mapping[Plane, int]) -> Places:
        """Choose slices of each plane.

        Parameters
        ----------
        most : dict of plane to int
            Slices that there is time for.
        """
        counts: dict[Plane, dict[str, NDArray[np.int64]]] = {plane: {} for plane in most}
        for case in _choose_cases(self.cases, self.labels):
            for plane, table in self._count(case).items():
                if plane in counts:
                    counts[plane][case.name] = table
        places: Places = {}
        for plane, found in counts.items():
            chosen = choose_slices(found, most=most[plane]) if found else []
            if chosen:  # nothing is where no case that was looked at has a label
                places[plane] = chosen
        return places

    def _count(self, case: Case) -> dict[Plane, NDArray[np.int64]]:
        """Count the pixels of each label in each slice that a prediction has."""
        reference = read_reference(case)
        if self.preparation.crop:
            reference = crop_labels(reference, find_box(read_images(case), self.preparation))
        array = Reorientation.between(reference.grid, "RAS").array(reference.array)
        values = [label.value for label in self.labels]
        tables = {}
        for plane in plane_weights(self.preparation, reference.grid):
            rows = []
            for pixels in stack_slices(array, plane):
                rows.append(np.bincount(pixels.ravel(), minlength=max(values) + 1)[values])
            tables[plane] = np.array(rows)
        return tables


def _choose_cases(cases: Sequence[Case], labels: Sequence[Label]) -> list[Case]:
    """Choose at most four cases, each the one with the most labels that the others lack; the first of several."""
    left: dict[Case, set[int]] = {}
    wanted = {label.value for label in labels}
    seen: set[int] = set()
    for case in cases[:_MOST_LOOKED_AT]:
        left[case] = present_values(read_reference(case).array) & wanted
        seen |= left[case]
        if len(left) >= _CASES and seen == wanted:
            break
    chosen: list[Case] = []
    missing = set(seen)
    while left and len(chosen) < _CASES:
        best = max(left, key=lambda case: len(left[case] & missing))
        missing -= left.pop(best)
        chosen.append(best)
    return sorted(chosen, key=lambda case: case.name)


def choose_slices(counts: Counts, *, most: int) -> list[tuple[str, int]]:
    """Choose slices of one plane: first those with the most labels that are in none before, then the fullest.

    Four are chosen, or up to eight if fewer do not have all labels; each case has one where there are enough.

    Parameters
    ----------
    counts : dict of str to (S, L) int
        Pixels of each label in each slice, by case.
    most : int
        At least 1.

    Returns
    -------
    list of (case, slice)
        By case, then along the plane.
    """
    everywhere = np.any([table.any(axis=0) for table in counts.values()], axis=0)
    missing: NDArray[np.bool_] = np.asarray(everywhere)
    chosen = list[tuple[str, int]]()
    free: dict[str, NDArray[np.bool_]] = {case: np.asarray(table.any(axis=1)) for case, table in counts.items()}
    turns = dict.fromkeys(counts, 0)
    while len(chosen) < min(most, _MOST) and (len(chosen) < _USUAL or missing.any()):
        open_cases = [case for case in counts if free[case].any()]
        if not open_cases:
            break
        least = min(turns[case] for case in open_cases)
        ranked = []
        for case in open_cases:
            if turns[case] == least or missing.any():
                index, worth = _best_slice(counts[case], missing, free[case])
                ranked.append((worth - turns[case] / 2, case, index))
        _, case, index = max(ranked, key=lambda entry: entry[0])
        chosen.append((case, index))
        turns[case] += 1
        missing = missing & (counts[case][index] == 0)
        _take(free[case], index)
    return sorted(chosen)


def _best_slice(table: NDArray[np.int64], missing: NDArray[np.bool_], free: NDArray[np.bool_]) -> tuple[int, float]:
    """Return the slice with the most labels that are missing, and how many; large sections count a little more."""
    shares = table / np.maximum(table.max(axis=0), 1)
    worth = (shares > 0) @ missing.astype(float) + shares.mean(axis=1)
    worth[~free] = -np.inf
    best = int(worth.argmax())
    return best, float(worth[best])


def _take(free: NDArray[np.bool_], index: int) -> None:
    """Let a slice and those next to it no longer be free."""
    apart = max(1, round(_APART * np.count_nonzero(free)))
    free[max(0, index - apart) : index + apart + 1] = False
