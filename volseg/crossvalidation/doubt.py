"""What tells how far predictions of an ensemble are in doubt: the cases that each fold held out, all together.

They were predicted by the networks of one fold each. How the networks of all folds together would do cannot be
measured, as every case was seen by some of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from volseg.core.labelmap import Label
from volseg.crossvalidation.cleanup import FoldCleanup, HeldOut
from volseg.evaluation.scores import Scores
from volseg.io.case_record import read_record
from volseg.network.doubt_fit import DoubtFit, SurfaceFit
from volseg.training.doubt_fitting import HeldOutScores, fit_doubt


def fit_across_folds(labels: Sequence[Label], held_out: Sequence[HeldOut], cleaned: FoldCleanup) -> DoubtFit:
    """Fit the doubt on the held-out cases of all folds.

    Parameters
    ----------
    labels : sequence of Label
        Of the model.
    held_out : sequence of HeldOut
        Scores are read from the ``run.json`` of their predictions; those of older versions have none, and do not count.
    cleaned : FoldCleanup
        Has the volumes and Dice of all these cases.
    """
    names = {label.value: label.name for label in labels}
    rows: dict[str, dict[str, Scores]] = {}
    for row in cleaned.rows:
        if row.value in names:
            rows.setdefault(row.case, {})[names[row.value]] = row.scores
    cases = []
    for entry in held_out:
        record = read_record(entry.prediction.parent)
        told = (record.model_extra or {}).get("doubt") if record else None
        if told is not None:
            cases.append(_scores(told["soft_dice"], told["plane_agreement"], rows.get(entry.case.name, {})))
    return fit_doubt(cases)


def join_surface_fits(fits: Sequence[SurfaceFit | None]) -> SurfaceFit | None:
    """Return the mean factor of the folds, each of which measured surfaces of its own held-out cases.

    Parameters
    ----------
    fits : sequence of SurfaceFit or None
        Of each fold. If one has no factor, there is none.
    """
    known = [fit for fit in fits if fit is not None]
    if not known:
        return None
    factors = [fit.factor for fit in known if fit.factor is not None]
    factor = float(np.mean(factors)) if len(factors) == len(fits) else None
    return SurfaceFit(sum(fit.surfaces for fit in known), factor)


def _scores(soft_dice: float | None, plane_agreement: float | None, rows: Mapping[str, Scores]) -> HeldOutScores:
    dices = np.array([scores.dice for scores in rows.values()], dtype=float)
    known = dices[~np.isnan(dices)]
    volumes = {name: (scores.prediction_ml, scores.reference_ml) for name, scores in rows.items()}
    return HeldOutScores(
        np.nan if soft_dice is None else soft_dice,
        np.nan if plane_agreement is None else plane_agreement,
        float(known.mean()) if known.size else np.nan,
        volumes,
    )
