"""Validation on whole volumes in their own space, through the inference that users get."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import LabelMap
from volseg.datasets import Case, read_images, read_reference
from volseg.evaluation.metrics import dice
from volseg.network.file import Model
from volseg.prediction.calibration import calibration_error, fit_temperature, soften
from volseg.prediction.inference import can_fuse, predict

_VOXELS = 500_000  # of all cases together, to calibrate with
_CERTAIN = 0.01  # background of which the network is surer than this does not tell how well it is calibrated

_LOG = logging.getLogger(__name__)
Voxels = tuple[NDArray[np.float16], NDArray[np.int64]]  # probabilities (K, N) and classes (N,)


@dataclass(frozen=True)
class Calibration:
    """The temperature of the held-out cases, and the expected calibration error with and without it.

    Voxels count to which the network gives at least 1 % of any label. `after` is fair where there are two cases or
    more: each half of them is softened by the temperature of the other half.
    """

    temperature: float
    before: float
    after: float


@dataclass(frozen=True)
class Validation:
    """Dice of the cases that were predicted.

    Parameters
    ----------
    mean : float or None
        Mean over cases of the mean over labels; None where no case has any.
    per_label : dict of str to float or None
        Mean over cases; None where no case has the label.
    cases : int
        How many were predicted.
    by_case : dict of str to float or None
        Mean over labels of each case; None where it has none.
    calibration : Calibration, optional
        If asked for, and if there is a labelled voxel to fit it to, of a scan whose probabilities fit into memory.
    seconds : float
        How long it took.
    """

    mean: float | None
    per_label: dict[str, float | None]
    cases: int
    by_case: dict[str, float | None]
    calibration: Calibration | None
    seconds: float


def validate(
    model: Model,
    cases: Sequence[Case],
    *,
    device: str,
    allowance_seconds: float | None = None,
    calibrate: bool = False,
    heed: Callable[[], None] = lambda: None,
) -> Validation:
    """Predict cases and compare with their references, before clean-up.

    `allowance_seconds` ends it early, but not before two cases are done. `calibrate` also fits a temperature to the
    probabilities of the scans, but for those whose probabilities would take too much memory. `heed` is called every
    few seconds, and may raise.
    """
    start = time.monotonic()
    rows: list[list[float]] = []
    voxels: list[Voxels] = []
    for case in cases:
        if allowance_seconds is not None and len(rows) >= 2 and time.monotonic() - start > allowance_seconds:
            break
        heed()
        volumes, reference = read_images(case), read_reference(case)
        keep = calibrate and can_fuse(model, volumes[0].grid)
        prediction = predict(model, volumes, device=device, probabilities=keep, progress=lambda *_: heed())
        rows.append([dice(prediction.labels.mask(label), reference.mask(label)) for label in model.labels])
        if prediction.probabilities is not None:
            voxels.append(_telling_voxels(prediction.probabilities, reference, model, count=_VOXELS // len(cases)))
    if calibrate and rows and not voxels:
        _LOG.warning("the probabilities are not calibrated: those of the held-out scans would take too much memory")
    has_labels = any(classes.any() for _, classes in voxels)
    table = np.array(rows, dtype=float).reshape(len(rows), len(model.labels))
    by_case = [_mean(row) for row in table]
    return Validation(
        mean=_mean(np.array([np.nan if mean is None else mean for mean in by_case])),
        per_label={label.name: _mean(column) for label, column in zip(model.labels, table.T, strict=True)},
        cases=len(rows),
        by_case=dict(zip([case.name for case in cases], by_case, strict=False)),
        calibration=fit_calibration(voxels, heed) if has_labels else None,
        seconds=time.monotonic() - start,
    )


def _mean(scores: NDArray[np.float64]) -> float | None:
    """Return the mean of the scores there are; NaN stands for none."""
    there = scores[np.isfinite(scores)]
    return float(there.mean()) if there.size else None


def _telling_voxels(probabilities: NDArray[np.float16], reference: LabelMap, model: Model, *, count: int) -> Voxels:
    # By the prediction alone: choosing by the reference as well would add nothing but mistakes.
    telling = np.flatnonzero(probabilities[0] <= 1 - _CERTAIN)
    chosen = telling[:: -(-len(telling) // max(1, count)) or 1]
    values = reference.array.reshape(-1)[chosen]
    classes = np.zeros(len(chosen), dtype=np.int64)
    for number, label in enumerate(model.labels, 1):
        classes[values == label.value] = number
    return probabilities.reshape(len(probabilities), -1)[:, chosen], classes


def fit_calibration(voxels: Sequence[Voxels], heed: Callable[[], None] = lambda: None) -> Calibration:
    """Fit a temperature to the voxels of some cases."""
    probabilities, classes = _join(voxels)
    halves = [_join(voxels[0::2]), _join(voxels[1::2] or voxels)]  # a single case has no other half
    heed()
    temperature = fit_temperature(probabilities, classes)
    fitted = []
    for half in halves:
        heed()
        fitted.append(fit_temperature(*half) if half[1].size else temperature)
    softened = [soften(half[0], other) for half, other in zip(halves, reversed(fitted), strict=True)]
    after = calibration_error(np.concatenate(softened, axis=1), np.concatenate([half[1] for half in halves]))
    return Calibration(temperature, calibration_error(probabilities, classes), after)


def _join(voxels: Sequence[Voxels]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    return np.concatenate([p for p, _ in voxels], axis=1), np.concatenate([c for _, c in voxels])
