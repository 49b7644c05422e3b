"""The results of all folds: ``crossval.json``, ``scores.csv`` and the ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from volseg._version import __version__
from volseg.crossvalidation.cleanup import FoldCleanup
from volseg.crossvalidation.doubt import join_surface_fits
from volseg.datasets import Dataset, count_folds, describe_patients
from volseg.evaluation import Evaluation, Row, Statistics
from volseg.evaluation.scores import DEFINITIONS, METRICS
from volseg.network.doubt_fit import DoubtFit
from volseg.network.file import Model, load_model, save_model
from volseg.training.data import ranges_of
from volseg.training.folds import FoldTrainer
from volseg.training.journal import read_events

FORMAT = 1


def summarise_folds(
    dataset: Dataset, trainer: FoldTrainer, results: dict[int, Evaluation], cleaned: FoldCleanup, *, doubt: DoubtFit
) -> dict[str, Any]:
    """Write the scores of all cases and the model of all folds; return the content of ``crossval.json``.

    Parameters
    ----------
    dataset : Dataset
    trainer : FoldTrainer
        Its output folder gets the files.
    results : dict of int to Evaluation
        By fold.
    cleaned : FoldCleanup
        Of all these cases.
    doubt : DoubtFit
        Of all these cases.
    """
    models, folds, all_rows, told = [], {}, list[Row](), {}
    for fold, found in results.items():
        run = trainer.run_folder(fold)
        models.append(load_model(run))
        how = _describe_run(run)
        folds[str(fold)] = {**how, "class_mean_dice": _number(found.class_mean_dice.mean)}
        all_rows += found.rows
        for name in found.cases:
            told[name] = {"fold": fold, "seed": how["seed"], "device": how["device"]}
    ensemble = replace(_ensemble(models), cleanup=cleaned.decided, doubt=_with_ranges(doubt, models))
    save_model(ensemble, trainer.output / "ensemble.safetensors")
    together = Evaluation(tuple(all_rows))
    together.to_csv(trainer.output / "scores.csv")
    decided = {name: asdict(decision) for name, decision in cleaned.decided.items()}
    patients = describe_patients(dataset.cases)
    return {
        "format": FORMAT,
        "dataset": dataset.name,
        **({"patients": patients} if patients else {}),
        "volseg": __version__,
        "folds": folds,
        "definitions": DEFINITIONS,
        "missing_folds": sorted(set(range(count_folds(dataset))) - results.keys()),
        **_figures(together, told),
        "cleanup": {"decided": decided, **_figures(Evaluation(cleaned.rows), told)},
    }


def _figures(scored: Evaluation, told: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return means and rows for ``crossval.json``.

    Parameters
    ----------
    scored : Evaluation
    told : mapping of str to dict
        For each case its fold, and how that was trained.
    """
    labels: dict[str, dict[str, Any]] = {}
    for summary in scored.summary:
        labels[summary.label] = {}
        for metric, statistics in summary.statistics.items():
            labels[summary.label][metric] = _numbers(statistics)
    entries = [_entry(row, told[row.case]) for row in scored.rows]
    return {"class_mean_dice": _numbers(scored.class_mean_dice), "labels": labels, "rows": entries}


def _describe_run(run: Path) -> dict[str, Any]:
    """Return how a fold was trained, by its log."""
    last = {}
    for event in read_events(run / "log.jsonl"):
        last[event["event"]] = event
    plan, final = last["plan"], last["final"]
    return {
        "cases": plan["cases"],
        "held_out": plan["held_out"],
        "seed": plan["config"]["training"]["seed"],
        "device": plan["device"],
        "steps": final["step"],
        "seconds": last["end"]["seconds"],
        "calibration": final["calibration"],
    }


def _entry(row: Row, told: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a case and label for ``crossval.json``."""
    entry: dict[str, Any] = {"case": row.case, "label": row.label, "fold": told["fold"]}
    for name, metric in METRICS.items():
        if metric.main:
            entry[name] = _number(getattr(row.scores, name))
    entry["volume_ml"] = _number(row.scores.prediction_ml)
    entry["reference_volume_ml"] = _number(row.scores.reference_ml)
    return {**entry, "seed": told["seed"], "device": told["device"]}


def _numbers(statistics: Statistics) -> dict[str, float | int | None]:
    return {name: _number(value) for name, value in asdict(statistics).items()}


def _number(value: float) -> float | None:
    """Round to six digits, more than any metric means; JSON has no NaN, so that is None."""
    return None if np.isnan(value) else round(value, 6)


def _with_ranges(doubt: DoubtFit, models: Sequence[Model]) -> DoubtFit:
    """Add what the models know themselves: the range of volumes in their training cases, and of their surfaces."""
    ends = []
    for model in models:
        ranges = model.doubt.training_ml if model.doubt else {}
        for end in (0, 1):
            ends.append({name: volumes[end] for name, volumes in ranges.items()})
    surfaces = [model.doubt.surface if model.doubt else None for model in models]
    return replace(doubt, training_ml=ranges_of(ends), surface=join_surface_fits(surfaces))


def _ensemble(models: Sequence[Model]) -> Model:
    """Put the networks of all folds into one model.

    Its temperature is the mean of theirs. It cannot be fitted, as every case was seen by some of the networks.
    """
    networks, temperatures = dict(models[0].networks), []
    for model in models:
        networks.update(model.networks)
        temperatures.append(model.temperature)
    known = [model.steps for model in models if model.steps is not None]
    steps = min(known) if len(known) == len(models) else None
    return replace(models[0], networks=networks, temperature=float(np.mean(temperatures)), steps=steps)
