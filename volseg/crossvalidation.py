"""Cross-validation: every fold trained, and every case predicted by the networks that have not seen it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from volseg._version import __version__
from volseg.cases.cohort import process_cases
from volseg.cases.inputs import CaseInput
from volseg.cases.outputs import OutputSettings
from volseg.config import Config, load_config
from volseg.datasets import Dataset, count_folds, split
from volseg.errors import DatasetError, InputError, PartialError, UsageError, VolsegError
from volseg.evaluation import Evaluation, Row, Statistics, evaluate, summarise
from volseg.evaluation.scores import DEFINITIONS, METRICS
from volseg.files.atomic import write_text
from volseg.files.regular import read_json
from volseg.network.file import Model, load_model, save_model
from volseg.training.folds import FoldTrainer, is_trained
from volseg.training.journal import Event, read_events
from volseg.training.plan import fingerprint, iterate_planning

FORMAT = 1
# A row for each case and label: 1000 cases of 100 labels are 30 MB.
_LONGEST_RESULT = 1 << 28


def iterate_crossvalidation(
    dataset: Dataset,
    trainer: FoldTrainer,
    *,
    config: Config | None = None,
    folds: Sequence[int] | None = None,
    probabilities: bool = False,
) -> Generator[Event]:
    """Plan, train, predict and evaluate what is not done yet, and sum up what is.

    In the trainer's output folder come ``plan.yaml``, a run ``fold_<n>`` for each fold with its
    ``predictions/<case>``, ``crossval.json`` (the summary, and one row for each case and label), ``scores.csv`` and
    ``ensemble.safetensors`` (the networks of all folds).

    Parameters
    ----------
    dataset : Dataset
    trainer : FoldTrainer
    config : Config, optional
        As for `volseg.train`. One plan serves all folds, made from all cases: of their voxels it takes spacing, size
        and the range of intensities.
    folds : sequence of int, optional
        By default all.
    probabilities : bool
        Also keep the probabilities.

    Yields
    ------
    dict
        ``reading`` (done, total), ``training`` (fold, progress, step), ``predicting`` (fold, done, total), and
        ``summary``: the content of ``crossval.json``.

    Raises
    ------
    UsageError
        There is no such fold, or the folder holds another plan, or folds that were trained on other cases.
    DatasetError
        A fold holds no case out, or a case is held out twice.
    PartialError
        Some folds or cases failed; the others are summed up.
    """
    every = range(count_folds(dataset))
    wanted = every if folds is None else folds
    if unknown := [fold for fold in wanted if fold not in every]:
        raise UsageError(f"there is no fold {unknown[0]}; expected 0 to {every[-1]}")
    _check_splits(dataset)
    plan = trainer.output / "plan.yaml"
    settings = load_config(plan) if config is None and plan.is_file() else config
    for done, total in iterate_planning(dataset, trainer.output, config=settings, fold="all"):
        yield {"event": "reading", "done": done, "total": total}
    for fold in every:
        _check_run(dataset, trainer, fold)
    yield from trainer.train([fold for fold in wanted if not is_trained(trainer.run_folder(fold))])
    errors = [VolsegError(f"fold {fold}: {reason}") for fold, reason in trainer.failures.items()]
    results: dict[int, Evaluation] = {}
    for fold in every:
        if is_trained(trainer.run_folder(fold)):
            predicted: dict[str, Path] = {}
            yield from _predict(dataset, trainer, fold, predicted, errors, probabilities=probabilities)
            if predicted:
                results[fold] = _evaluate(dataset, fold, predicted, errors)
    if not results:
        raise errors[0] if errors else VolsegError("no fold was trained")
    content = _summarise(dataset, trainer, results)
    write_text(trainer.output / "crossval.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    yield {"event": "summary", **content}
    if errors:
        raise PartialError("\n".join(map(str, errors)))


def _check_splits(dataset: Dataset) -> None:
    """See that every fold holds cases out, and no case is held out twice: it would be scored twice."""
    held_out = [[case.name for case in split(dataset, fold)[1]] for fold in range(count_folds(dataset))]
    if empty := [str(fold) for fold, names in enumerate(held_out) if not names]:
        raise DatasetError(
            f"{dataset.root / 'splits_final.json'}: fold {', '.join(empty)} holds no case out; give it some"
        )
    names = Counter(name for names in held_out for name in names)
    if twice := [name for name, count in names.items() if count > 1]:
        raise DatasetError(
            f"{dataset.root / 'splits_final.json'}: {twice[:5]} are held out by several folds; expected one"
        )


def _check_run(dataset: Dataset, trainer: FoldTrainer, fold: int) -> None:
    """See that what a fold's folder holds was trained by this plan and on the cases that are the fold's today."""
    run, trained = trainer.run_folder(fold), is_trained(trainer.run_folder(fold))
    if not trained and not (run / "checkpoint.pt").is_file():
        return
    plan, training = load_config(trainer.output / "plan.yaml"), split(dataset, fold)[0]
    if load_config(run / "plan.yaml") != plan:
        raise UsageError(f"{run}: was trained by another plan than {trainer.output / 'plan.yaml'}; delete one of them")
    # One that is gone on with checks it by itself.
    if trained and load_model(run).fingerprint != fingerprint(dataset, plan, training):
        raise UsageError(f"{run}: was trained on other cases than fold {fold} has now; delete it to train it again")


def _predict(
    dataset: Dataset,
    trainer: FoldTrainer,
    fold: int,
    predicted: dict[str, Path],
    errors: list[VolsegError],
    *,
    probabilities: bool,
) -> Iterator[Event]:
    """Predict the held-out cases of a fold that have not been by this model; collect the label maps and failures."""
    settings = OutputSettings(probabilities=probabilities, refresh=True)
    model, held_out = load_model(trainer.run_folder(fold)), split(dataset, fold)[1]
    inputs = [CaseInput(case.name, case.images) for case in held_out]
    output, device = trainer.run_folder(fold) / "predictions", trainer.devices[0]
    for done, result in enumerate(process_cases(model, inputs, output, settings=settings, device=device), 1):
        if result.error:
            errors.append(VolsegError(f"fold {fold}: {result.case.name}: {result.error}"))
        else:
            predicted[result.case.name] = next(file for file in result.files if file.name == "labels.nii.gz")
        yield {"event": "predicting", "fold": fold, "done": done, "total": len(inputs)}


def _evaluate(dataset: Dataset, fold: int, predicted: dict[str, Path], errors: list[VolsegError]) -> Evaluation:
    references = {case.name: case.label for case in split(dataset, fold)[1] if case.label and case.name in predicted}
    found = evaluate(predicted, references)
    errors += [VolsegError(f"fold {fold}: {case}: {reason}") for case, reason in found.failures.items()]
    return found


def _summarise(dataset: Dataset, trainer: FoldTrainer, results: dict[int, Evaluation]) -> dict[str, Any]:
    save_model(_ensemble([load_model(trainer.run_folder(n)) for n in results]), trainer.output / "ensemble.safetensors")
    runs = {fold: _describe_run(trainer.run_folder(fold)) for fold in results}
    together = Evaluation(tuple(row for found in results.values() for row in found.rows))
    together.to_csv(trainer.output / "scores.csv")
    return {
        "format": FORMAT,
        "dataset": dataset.name,
        "volseg": __version__,
        "folds": {
            str(fold): run | {"class_mean_dice": _number(results[fold].class_mean_dice.mean)}
            for fold, run in runs.items()
        },
        "definitions": DEFINITIONS,
        "missing_folds": [fold for fold in range(count_folds(dataset)) if fold not in results],
        "class_mean_dice": _numbers(together.class_mean_dice),
        "labels": {
            entry.label: {metric: _numbers(statistics) for metric, statistics in entry.statistics.items()}
            for entry in together.summary
        },
        "rows": [_entry(row, fold, runs[fold]) for fold, found in results.items() for row in found.rows],
    }


def _describe_run(run: Path) -> dict[str, Any]:
    """Return how a fold was trained, by its log."""
    events = {event["event"]: event for event in read_events(run / "log.jsonl")}
    plan, final, end = (events[kind] for kind in ("plan", "final", "end"))
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
    numbers = {name: getattr(scores, name) for name, metric in METRICS.items() if metric.main}
    volumes = {"volume_ml": scores.prediction_ml, "reference_volume_ml": scores.reference_ml}
    rounded = {name: _number(value) for name, value in (numbers | volumes).items()}
    return {"case": row.case, "label": row.label, "fold": fold, **rounded, "seed": run["seed"], "device": run["device"]}


def _numbers(statistics: Statistics) -> dict[str, float | int | None]:
    return {name: _number(value) for name, value in asdict(statistics).items()}


def _number(value: float) -> float | None:
    """JSON knows no NaN; six digits after the point are more than any metric means."""
    return None if np.isnan(value) else round(value, 6)


def _ensemble(models: Sequence[Model]) -> Model:
    """Put the networks of all folds into one model.

    Its temperature is the mean of theirs: no case is left that none of them has seen, to fit one.
    """
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
    ours, theirs = class_means(first), class_means(second)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise InputError(f"{second}: has no case in common with {first}")
    differences = np.array([ours[case] - theirs[case] for case in common])
    found = summarise(differences.tolist())
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return {"n": len(common), "mean": found.mean, "low": found.low, "high": found.high, "p": p}


def class_means(path: Path) -> dict[str, float]:
    """Read the class-mean Dice of each case of a cross-validation; see `compare_runs`."""
    file = path / "crossval.json" if path.is_dir() else path
    try:
        rows = read_json(file, most=_LONGEST_RESULT)["rows"]
        dices: dict[str, list[float]] = {}
        for row in rows:
            if row["dice"] is not None:
                dices.setdefault(str(row["case"]), []).append(float(row["dice"]))
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{file}: is not the result of a cross-validation ({error})") from error
    return {case: float(np.mean(values)) for case, values in dices.items()}
