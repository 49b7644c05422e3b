"""Cross-validation: every fold trained, and every case predicted by the networks that have not seen it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from volseg import __version__
from volseg.config import Config, load_config
from volseg.errors import DatasetError, InputError, PartialError, UsageError, VolsegError
from volseg.evaluation import Evaluation, Row, Statistics, evaluate, summarise
from volseg.io.atomic import write_text
from volseg.io.datasets import Case, Dataset, count_folds, split
from volseg.io.inputs import CaseInput
from volseg.model.file import Model, load_model, save_model
from volseg.pipeline import OutputSettings, process_cases
from volseg.training.folds import FoldTrainer, is_trained
from volseg.training.journal import Event, read_events
from volseg.training.plan import iterate_planning

FORMAT = 1


def iterate_crossvalidation(
    dataset: Dataset,
    trainer: FoldTrainer,
    *,
    config: Config | None = None,
    folds: Sequence[int] | None = None,
    probabilities: bool = False,
) -> Iterator[Event]:
    """Plan, train, predict and evaluate what is not done yet, and sum up what is.

    In the trainer's output folder come ``plan.yaml``, a run ``fold_<n>`` for each fold, ``predictions/<case>``,
    ``crossval.json`` (the summary, and one row for each case and label), ``scores.csv`` and ``ensemble.safetensors``
    (the networks of all folds).

    Parameters
    ----------
    dataset : Dataset
    trainer : FoldTrainer
    config : Config, optional
        As for `volseg.train`. One plan serves all folds, made from all cases: of their voxels it takes spacing, size
        and, for CT, the range of intensities.
    folds : sequence of int, optional
        By default all.
    probabilities : bool
        Also keep the probabilities.

    Yields
    ------
    dict
        ``reading`` (done, total), ``training`` (fold, progress, step), ``predicting`` (done, total), and ``summary``:
        the content of ``crossval.json``.

    Raises
    ------
    UsageError
        There is no such fold, or the folder holds another plan.
    PartialError
        Some folds failed; the others are summed up.
    """
    every = range(count_folds(dataset))
    wanted = every if folds is None else folds
    if unknown := [fold for fold in wanted if fold not in every]:
        raise UsageError(f"there is no fold {unknown[0]}; expected 0 to {every[-1]}")
    plan = trainer.output / "plan.yaml"
    settings = load_config(plan) if config is None and plan.is_file() else config
    for done, total in iterate_planning(dataset, trainer.output, config=settings, fold="all"):
        yield {"event": "reading", "done": done, "total": total}
    missing = [fold for fold in wanted if not is_trained(trainer.run_folder(fold))]
    yield from trainer.train(missing)
    errors = [VolsegError(f"fold {fold}: {reason}") for fold, reason in trainer.failures.items()]
    trained = [fold for fold in every if is_trained(trainer.run_folder(fold))]
    if not trained:
        raise errors[0] if errors else VolsegError("no fold was trained")
    cases = {fold: split(dataset, fold)[1] for fold in trained}
    yield from _predict(trainer, cases, fresh=missing, probabilities=probabilities)
    content = _summarise(dataset, trainer, cases)
    write_text(trainer.output / "crossval.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    yield {"event": "summary", **content}
    if errors:
        raise PartialError("\n".join(map(str, errors)))


def _predict(
    trainer: FoldTrainer, cases: dict[int, tuple[Case, ...]], *, fresh: Sequence[int], probabilities: bool
) -> Iterator[Event]:
    total, done = sum(map(len, cases.values())), 0
    for fold, held_out in cases.items():
        settings = OutputSettings(probabilities=probabilities, overwrite=fold in fresh)
        model, inputs = load_model(trainer.run_folder(fold)), [CaseInput(case.name, case.images) for case in held_out]
        output, device = trainer.output / "predictions", trainer.devices[0]
        for result in process_cases(model, inputs, output, settings=settings, device=device):
            if result.error:
                raise result.error
            done += 1
            yield {"event": "predicting", "done": done, "total": total}


def _summarise(dataset: Dataset, trainer: FoldTrainer, cases: dict[int, tuple[Case, ...]]) -> dict[str, Any]:
    models = [load_model(trainer.run_folder(fold)) for fold in cases]
    save_model(_ensemble(models), trainer.output / "ensemble.safetensors")
    runs = {fold: _describe_run(trainer.run_folder(fold)) for fold in cases}
    found = {fold: _evaluate(trainer.output / "predictions", held_out) for fold, held_out in cases.items()}
    together = Evaluation(tuple(row for one in found.values() for row in one.rows))
    together.to_csv(trainer.output / "scores.csv")
    return {
        "format": FORMAT,
        "dataset": dataset.name,
        "volseg": __version__,
        "folds": {str(fold): run | {"class_mean_dice": found[fold].class_mean_dice.mean} for fold, run in runs.items()},
        "missing_folds": [fold for fold in range(count_folds(dataset)) if fold not in cases],
        "class_mean_dice": _numbers(together.class_mean_dice),
        "labels": {
            entry.label: {metric: _numbers(statistics) for metric, statistics in entry.statistics.items()}
            for entry in together.summary
        },
        "rows": [_entry(row, fold, runs[fold]) for fold, one in found.items() for row in one.rows],
    }


def _evaluate(predictions: Path, cases: Sequence[Case]) -> Evaluation:
    ours = {case.name: predictions / case.name / "labels.nii.gz" for case in cases}
    found = evaluate(ours, {case.name: case.label for case in cases if case.label})
    if found.failures:
        raise DatasetError("\n".join(f"{case}: {reason}" for case, reason in found.failures.items()))
    return found


def _describe_run(run: Path) -> dict[str, Any]:
    """Return how a fold was trained, by its log."""
    plan, *_, final, end = (e for e in read_events(run / "log.jsonl") if e["event"] in ("plan", "final", "end"))
    return {
        "cases": plan["cases"],
        "held_out": plan["held_out"],
        "seed": plan["config"]["training"]["seed"],
        "device": plan["device"],
        "steps": final["step"],
        "seconds": end["seconds"],
        "calibration": final["calibration"],
    }


def _entry(row: Row, fold: int, run: dict[str, Any]) -> dict[str, Any]:
    scores = row.scores
    numbers = {"dice": scores.dice, "hd95_mm": scores.hd95_mm, "surface_dice": scores.surface_dice}
    volumes = {"volume_ml": scores.prediction_ml, "reference_volume_ml": scores.reference_ml}
    rounded = {name: _number(value) for name, value in (numbers | volumes).items()}
    return {"case": row.case, "label": row.label, "fold": fold, **rounded, "seed": run["seed"], "device": run["device"]}


def _numbers(statistics: Statistics) -> dict[str, float | int | None]:
    return {name: _number(value) for name, value in asdict(statistics).items()}


def _number(value: float) -> float | None:
    """JSON knows no NaN; six digits after the point are more than any metric means."""
    return None if np.isnan(value) else round(value, 6)


def _ensemble(models: Sequence[Model]) -> Model:
    """Put the networks of all folds into one model, whose probabilities are softened by the mean temperature."""
    networks = {name: network for model in models for name, network in model.networks.items()}
    return replace(models[0], networks=networks, temperature=float(np.mean([model.temperature for model in models])))


def compare_runs(first: Path, second: Path) -> dict[str, float | int]:
    """Compare the class-mean Dice of two cross-validations case by case.

    Parameters
    ----------
    first, second : path
        ``crossval.json``, or the folders that hold them.

    Returns
    -------
    dict
        ``n`` common cases, the ``mean`` of first - second, its 95 % bootstrap interval (``low``, ``high``), and ``p``
        of Wilcoxon's signed-rank test, two-sided.

    Raises
    ------
    InputError
        A file is missing or something else, or they have no case in common.
    """
    ours, theirs = _class_means(first), _class_means(second)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise InputError(f"{second}: has no case in common with {first}")
    differences = np.array([ours[case] - theirs[case] for case in common])
    found = summarise(differences.tolist())
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return {"n": len(common), "mean": found.mean, "low": found.low, "high": found.high, "p": p}


def _class_means(path: Path) -> dict[str, float]:
    file = path / "crossval.json" if path.is_dir() else path
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
        dices: dict[str, list[float]] = {}
        for row in rows:
            if row["dice"] is not None:
                dices.setdefault(str(row["case"]), []).append(float(row["dice"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: is not the result of a cross-validation ({error})") from error
    return {case: float(np.mean(values)) for case, values in dices.items()}
