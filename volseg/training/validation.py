"""Validation on whole volumes in their own space, through the inference that users get."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from volseg.inference import predict
from volseg.io.datasets import Case
from volseg.metrics import dice
from volseg.model.file import Model
from volseg.training.plan import read_case


@dataclass(frozen=True)
class Validation:
    """Dice of the cases that were predicted.

    Parameters
    ----------
    mean : float
        Mean over cases of the mean over labels.
    per_label : dict of str to float or None
        Mean over cases; None where no case has the label.
    cases : int
        How many were predicted.
    by_case : dict of str to float or None
        Mean over labels of each case; None where it has none.
    seconds : float
        How long it took.
    """

    mean: float
    per_label: dict[str, float | None]
    cases: int
    by_case: dict[str, float | None]
    seconds: float


def validate(model: Model, cases: Sequence[Case], *, device: str, allowance_seconds: float | None = None) -> Validation:
    """Predict cases and compare with their references, before clean-up.

    `allowance_seconds` ends it early, but not before two cases are done.
    """
    start = time.monotonic()
    rows: list[list[float]] = []
    for case in cases:
        if allowance_seconds is not None and len(rows) >= 2 and time.monotonic() - start > allowance_seconds:
            break
        volumes, reference = read_case(case)
        predicted = predict(model, volumes, device=device).labels
        rows.append([dice(predicted.mask(label), reference.mask(label)) for label in model.labels])
    table = np.array(rows, dtype=float)
    with np.errstate(all="ignore"):
        means = [float(np.nanmean(c)) if np.isfinite(c).any() else None for c in table.T]
        by_case = [float(np.nanmean(r)) if np.isfinite(r).any() else None for r in table]
    names = [label.name for label in model.labels]
    scored = [dice for dice in by_case if dice is not None]
    mean = float(np.mean(scored)) if scored else 0.0
    named = dict(zip([case.name for case in cases], by_case, strict=False))
    return Validation(mean, dict(zip(names, means, strict=True)), len(rows), named, time.monotonic() - start)
