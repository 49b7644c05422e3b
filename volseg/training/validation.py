"""Validation on whole volumes in their own space, through the inference that users get."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Label, LabelMap
from volseg.datasets import Case, read_images, read_reference
from volseg.datasets.packed import PackedLabels
from volseg.evaluation.metrics import dice
from volseg.network.description import CleanupDecision
from volseg.network.doubt_fit import DoubtFit
from volseg.network.file import Model
from volseg.prediction.answers import can_hold
from volseg.prediction.calibration import CERTAIN, TEMPERATURES, calibration_error, fit_temperature, soften
from volseg.prediction.doubt_counts import Counted
from volseg.prediction.inference import answer_scan
from volseg.prediction.networks import ReadyModel
from volseg.training.cleanup_choice import CleanupTrial, Steps, group_cases
from volseg.training.doubt_fitting import WITHIN, HeldOutScores, fit_doubt
from volseg.training.surface_distances import MOST_OF_A_CASE, surface_distances

_VOXELS = 500_000  # of all cases together, to calibrate with
_SURFACES = 40  # of all cases together, that are measured

# At which probabilities are counted, as the temperature is fitted when all cases are predicted.
_TEMPERATURES = tuple(np.geomspace(*TEMPERATURES, 13).tolist())

_LOG = logging.getLogger(__name__)
Voxels = tuple[NDArray[np.float16], NDArray[np.int64]]  # probabilities (K, N) and classes (N,)
Distances = tuple[NDArray[np.float64], ...]  # at some vertices of each surface of a case


@dataclass(frozen=True)
class Calibration:
    """The temperature of the held-out cases, and the expected calibration error with and without it.

    Only voxels count where all labels together have a probability of 1 % or more.

    Parameters
    ----------
    temperature : float
    before, after : float
        Calibration error without and with it. With two cases or more, `after` is measured on voxels that nothing was
        fitted to: each half of the cases is softened by the temperature of the other half.
    """

    temperature: float
    before: float
    after: float


@dataclass(frozen=True)
class Cleaned:
    """The clean-up that the held-out cases decided, and their Dice with it.

    Parameters
    ----------
    decided : dict of str to CleanupDecision
        By label name; labels with a setting of their own have none.
    mean, per_label
        As in `Validation`, after clean-up: each case is cleaned as the other cases decide (see `group_cases`), and by
        the settings.
    """

    decided: dict[str, CleanupDecision]
    mean: float | None
    per_label: dict[str, float | None]


@dataclass(frozen=True)
class Validation:
    """Dice of the cases that were predicted, before clean-up.

    Parameters
    ----------
    mean : float or None
        Mean over cases of the mean over labels; None where no case has any.
    per_label : dict of str to float or None
        Mean over cases; None where no case has the label.
    cases : int
        Cases that were predicted.
    by_case : dict of str to float or None
        Mean over labels of each case; None where it has none.
    calibration : Calibration, optional
        None if it was not asked for, or if no scan whose probabilities fit into memory has a labelled voxel.
    seconds : float
        How long it took.
    cleanup : Cleaned, optional
        None if it was not asked for.
    doubt : DoubtFit, optional
        What these cases tell about the quality of further predictions; None if it was not asked for.
    """

    mean: float | None
    per_label: dict[str, float | None]
    cases: int
    by_case: dict[str, float | None]
    calibration: Calibration | None
    seconds: float
    cleanup: Cleaned | None = None
    doubt: DoubtFit | None = None


def validate(
    model: Model,
    cases: Sequence[Case],
    *,
    device: str,
    allowance_seconds: float | None = None,
    fit: bool = False,
    heed: Callable[[], None] = lambda: None,
) -> Validation:
    """Predict cases and compare with their references, before clean-up.

    Parameters
    ----------
    model : Model
    cases : sequence of Case
    device : str
        ``auto`` or any torch device.
    allowance_seconds : float, optional
        After this time no further case is begun, but two are predicted in any case.
    fit : bool
        Also fit what a model has from held-out cases: a temperature of the probabilities (scans whose probabilities
        would take too much memory do not count), the clean-up of labels without a setting for it, and what tells how
        far a prediction is in doubt.
    heed : callable
        Called every few seconds; may raise.
    """
    start = time.monotonic()
    rows: list[list[float]] = []
    voxels: list[Voxels] = []
    counted: list[Counted] = []
    surfaces: list[Distances] = []
    trial = CleanupTrial(model.labels, model.config.cleanup, heed) if fit else None
    given, ready = model.config.training.temperature, ReadyModel(model, device)
    for case in cases:
        # Deciding the clean-up in the end takes about as long as counting the pieces of all cases.
        spent = time.monotonic() - start + (trial.seconds if trial else 0.0)
        is_late = allowance_seconds is not None and spent > allowance_seconds
        if is_late and len(rows) >= 2:
            break
        heed()
        volumes, reference = read_images(case), read_reference(case)
        keep = fit and can_hold(model, volumes[0].grid.shape)
        at = _TEMPERATURES if fit and given is None else (given or 1.0,)
        answers = answer_scan(ready, volumes, temperatures=at, probabilities=keep, progress=lambda *_: heed())
        labels = answers.label_map
        rows.append([dice(labels.mask(label), reference.mask(label)) for label in model.labels])
        if answers.probabilities is not None:
            voxels.append(_telling_voxels(answers.probabilities, reference, model, count=_VOXELS // len(cases)))
        if trial is not None:
            of_case: Distances = ()
            if answers.probabilities is not None and sum(map(len, surfaces)) < _SURFACES and not is_late:
                first, order = MOST_OF_A_CASE * len(surfaces), model.labels
                of_case = surface_distances(labels, reference, answers.probabilities, order, first=first, heed=heed)
            surfaces.append(of_case)
            counted.append(answers.counter.finish())
            trial.add(partial(_load_pair, PackedLabels.pack(labels, ""), case))
    done = cases[: len(rows)]
    mean, per_label, by_case = _means(np.array(rows, dtype=float), done, model.labels)
    found = Validation(mean, per_label, len(rows), by_case, None, time.monotonic() - start)
    if trial is None or not rows:
        return found
    calibration = _calibrate(voxels, heed)
    by_others = trial.decide_by_others(group_cases(done))
    temperature = given or (calibration.temperature if calibration else 1.0)
    found = replace(
        found,
        calibration=calibration,
        cleanup=_clean(trial, by_others, done),
        doubt=_fit_doubt(trial, by_others, counted, _beside_sd(surfaces, temperature / model.temperature), temperature),
    )
    return replace(found, seconds=time.monotonic() - start)


def _load_pair(prediction: PackedLabels, case: Case) -> tuple[LabelMap, LabelMap]:
    return prediction.unpack(), read_reference(case)


def _calibrate(voxels: Sequence[Voxels], heed: Callable[[], None]) -> Calibration | None:
    if not voxels:
        _LOG.warning("the probabilities are not calibrated: those of the held-out scans would take too much memory")
    for _, classes in voxels:
        if classes.any():
            return fit_calibration(voxels, heed)
    return None


def _clean(trial: CleanupTrial, by_others: Sequence[Steps], cases: Sequence[Case]) -> Cleaned:
    mean, per_label, _ = _means(trial.table(by_others), cases, trial.labels)
    return Cleaned(trial.sum_up(trial.decide(), by_others), mean, per_label)


def _beside_sd(surfaces: Sequence[Distances], temperature: float) -> list[Distances]:
    """Return distances as multiples of 1.645 standard deviations, after calibration by a temperature.

    It divides all logits, so the standard deviation of a surface grows by as much.
    """
    found = []
    for of_case in surfaces:
        found.append(tuple(np.abs(mm) / (WITHIN * temperature * sd) for mm, sd in map(np.transpose, of_case)))
    return found


def _fit_doubt(
    trial: CleanupTrial,
    by_others: Sequence[Steps],
    counted: Sequence[Counted],
    surfaces: Sequence[Distances],
    temperature: float,
) -> DoubtFit:
    """Fit the doubt on cases that are cleaned as the others decide, and calibrated by a temperature.

    Surfaces are those before clean-up.
    """
    dices, volumes, cases = trial.table(by_others), trial.volumes_ml(by_others), []
    for of_case, row, of_labels, of_surfaces in zip(counted, dices, volumes, surfaces, strict=True):
        soft = np.interp(np.log(temperature), np.log(of_case.soft.temperatures), of_case.soft_dice())
        mean = _mean(row)
        dice = float("nan") if mean is None else mean
        cases.append(HeldOutScores(float(soft), of_case.plane_agreement(), dice, of_labels, of_surfaces))
    return fit_doubt(cases)


def _means(
    table: NDArray[np.float64], cases: Sequence[Case], labels: Sequence[Label]
) -> tuple[float | None, dict[str, float | None], dict[str, float | None]]:
    """Return the means of a table of Dice, a row a case and a column a label: of all, by label, by case."""
    table = table.reshape(len(cases), len(labels))
    per_label, by_case = {}, {}
    for label, column in zip(labels, table.T, strict=True):
        per_label[label.name] = _mean(column)
    for case, row in zip(cases, table, strict=True):
        by_case[case.name] = _mean(row)
    mean = _mean(np.array(list(by_case.values()), dtype=float))  # None becomes NaN
    return mean, per_label, by_case


def _mean(scores: NDArray[np.float64]) -> float | None:
    """Return the mean of the finite scores; NaN stands for a score that does not exist."""
    finite = scores[np.isfinite(scores)]
    return float(finite.mean()) if finite.size else None


def _telling_voxels(probabilities: NDArray[np.float16], reference: LabelMap, model: Model, *, count: int) -> Voxels:
    """Choose at most about `count` voxels to calibrate with, by the prediction alone."""
    telling = np.flatnonzero(probabilities[0] <= 1 - CERTAIN)
    chosen = telling[:: max(1, ceil(len(telling) / max(1, count)))]
    values = reference.array.reshape(-1)[chosen]
    classes = np.zeros(len(chosen), dtype=np.int64)
    for number, label in enumerate(model.labels, 1):
        classes[values == label.value] = number
    return probabilities.reshape(len(probabilities), -1)[:, chosen], classes


def fit_calibration(voxels: Sequence[Voxels], heed: Callable[[], None] = lambda: None) -> Calibration:
    """Fit a temperature to the voxels of some cases.

    Parameters
    ----------
    voxels : sequence of (probabilities, classes)
        For each case (K, N) and (N,).
    heed : callable
        Called between the steps; may raise.
    """
    probabilities, classes = _join(voxels)
    even, odd = _join(voxels[0::2]), _join(voxels[1::2] or voxels)  # a single case has no other half
    heed()
    temperature = fit_temperature(probabilities, classes)
    heed()
    of_even = fit_temperature(*even) if even[1].size else temperature
    heed()
    of_odd = fit_temperature(*odd) if odd[1].size else temperature
    softened = np.concatenate([soften(even[0], of_odd), soften(odd[0], of_even)], axis=1)
    after = calibration_error(softened, np.concatenate([even[1], odd[1]]))
    return Calibration(temperature, calibration_error(probabilities, classes), after)


def _join(voxels: Sequence[Voxels]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    probabilities, classes = zip(*voxels, strict=True)
    return np.concatenate(probabilities, axis=1), np.concatenate(classes)
