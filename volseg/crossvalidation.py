"""Cross-validation: every fold trained, and every case predicted by the networks that have not seen it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from volseg._version import __version__
from volseg.cases.cohort import process_cases
from volseg.cases.inputs import CaseInput
from volseg.cases.outputs import OutputSettings
from volseg.config import Config, load_config
from volseg.datasets import (
    Case,
    Dataset,
    count_folds,
    describe_patients,
    describe_shared_patients,
    label_map_file,
    split,
)
from volseg.errors import DatasetError, InputError, PartialError, UsageError, VolsegError
from volseg.evaluation import Evaluation, Row, Statistics, evaluate, summarise
from volseg.evaluation.scores import DEFINITIONS, METRICS
from volseg.files.atomic import write_text
from volseg.files.regular import read_json
from volseg.network.file import Model, load_model, save_model
from volseg.training.folds import FoldTrainer, is_trained
from volseg.training.journal import Event, read_events
from volseg.training.plan import fingerprint, iterate_planning
from volseg.training.resumption import with_folds_of

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
    """Plan, train, predict and evaluate the missing parts, and sum up the results.

    The trainer's output folder gets ``plan.yaml``, a run ``fold_<n>`` for each fold with its ``predictions/<case>``
    (and ``references/<case>.nii.gz`` for masks that are merged, and segments that are matched by name),
    ``crossval.json`` (the summary, and one row for each case and label), ``scores.csv`` and ``ensemble.safetensors``
    (the networks of all folds).

    Parameters
    ----------
    dataset : Dataset
    trainer : FoldTrainer
    config : Config, optional
        As for `volseg.train`. One plan serves all folds. It is made from all cases, but uses only their spacing, size
        and range of intensities.
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
    dataset = _with_earlier_folds(dataset, trainer)
    every = range(count_folds(dataset))
    wanted = _wanted_folds(folds, every)
    _check_splits(dataset)
    trainer.known_warnings.add(describe_shared_patients(dataset))  # planning gives it, for all folds
    yield from _plan(dataset, trainer, config)
    for fold in every:
        _check_run(dataset, trainer, fold)
    yield from trainer.train([fold for fold in wanted if not is_trained(trainer.run_folder(fold))])
    scoring = _Scoring(dataset, trainer, probabilities)
    for fold, reason in trainer.failures.items():
        scoring.note(fold, reason)
    for fold in every:
        if is_trained(trainer.run_folder(fold)):
            yield from scoring.score(fold)
    if not scoring.results:
        raise scoring.errors[0] if scoring.errors else VolsegError("no fold was trained")
    content = _summarise(dataset, trainer, scoring.results)
    write_text(trainer.output / "crossval.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    yield {"event": "summary", **content}
    if scoring.errors:
        raise PartialError("\n".join(map(str, scoring.errors)))


def _with_earlier_folds(dataset: Dataset, trainer: FoldTrainer) -> Dataset:
    """Return the dataset with the folds of an earlier call; those that are missing are trained with the same."""
    for run in sorted(trainer.output.glob("fold_*")):
        if is_trained(run) or (run / "checkpoint.pt").is_file():
            found = with_folds_of(run, dataset)
            trainer.over_cases = found is not dataset
            return found
    return dataset


def _wanted_folds(folds: Sequence[int] | None, every: range) -> Sequence[int]:
    if folds is None:
        return every
    for fold in folds:
        if fold not in every:
            raise UsageError(f"there is no fold {fold}; expected 0 to {every[-1]}")
    return folds


def _plan(dataset: Dataset, trainer: FoldTrainer, config: Config | None) -> Iterator[Event]:
    """Write the plan of all folds, or read that of an earlier call."""
    plan = trainer.output / "plan.yaml"
    settings = load_config(plan) if config is None and plan.is_file() else config
    for done, total in iterate_planning(dataset, trainer.output, config=settings, fold="all"):
        yield {"event": "reading", "done": done, "total": total}


def _check_splits(dataset: Dataset) -> None:
    """See that every fold holds cases out, and no case is held out twice: it would be scored twice."""
    file = dataset.root / "splits_final.json"
    empty, times = [], Counter[str]()
    for fold in range(count_folds(dataset)):
        _, held_out = split(dataset, fold)
        if not held_out:
            empty.append(str(fold))
        for case in held_out:
            times[case.name] += 1
    if empty:
        raise DatasetError(f"{file}: fold {', '.join(empty)} holds no case out; give it some")
    twice = [name for name, count in times.items() if count > 1]
    if twice:
        raise DatasetError(f"{file}: {twice[:5]} are held out by several folds; expected one")


def _check_run(dataset: Dataset, trainer: FoldTrainer, fold: int) -> None:
    """See that what a fold's folder holds was trained by this plan and on the cases that are the fold's today."""
    run, trained = trainer.run_folder(fold), is_trained(trainer.run_folder(fold))
    if not trained and not (run / "checkpoint.pt").is_file():
        return
    plan, training = load_config(trainer.output / "plan.yaml"), split(dataset, fold)[0]
    if load_config(run / "plan.yaml") != plan:
        raise UsageError(f"{run}: was trained by another plan than {trainer.output / 'plan.yaml'}; delete one of them")
    # A training that goes on checks its cases by itself.
    if trained and load_model(run).fingerprint != fingerprint(dataset, plan, training):
        raise UsageError(f"{run}: was trained on other cases than fold {fold} has now; delete it to train it again")


@dataclass
class _Scoring:
    """Predicts and evaluates the cases that folds hold out, and gathers scores and failures."""

    dataset: Dataset
    trainer: FoldTrainer
    probabilities: bool
    results: dict[int, Evaluation] = field(default_factory=dict)
    errors: list[VolsegError] = field(default_factory=list)

    def note(self, fold: int, reason: str) -> None:
        """Remember a failure; the other cases and folds go on."""
        self.errors.append(VolsegError(f"fold {fold}: {reason}"))

    def score(self, fold: int) -> Iterator[Event]:
        """Predict the held-out cases of a fold, unless its model has done so already, and evaluate them."""
        _, held_out = split(self.dataset, fold)
        predicted = yield from self._predict(fold, held_out)
        references = {}
        for case in held_out:
            if case.name in predicted:
                references[case.name] = label_map_file(case, self.trainer.run_folder(fold) / "references")
        if predicted:
            found = evaluate(predicted, references)
            self.results[fold] = found
            for name, reason in found.failures.items():
                self.note(fold, f"{name}: {reason}")

    def _predict(self, fold: int, held_out: Sequence[Case]) -> Generator[Event, None, dict[str, Path]]:
        """Return the label map of each case that could be predicted."""
        run = self.trainer.run_folder(fold)
        inputs = [CaseInput(case.name, case.images) for case in held_out]
        settings = OutputSettings(probabilities=self.probabilities, refresh=True)
        device = self.trainer.devices[0]
        results = process_cases(load_model(run), inputs, run / "predictions", settings=settings, device=device)
        predicted = {}
        for done, result in enumerate(results, 1):
            name = result.case.name
            if result.error:
                self.note(fold, f"{name}: {result.error}")
            else:
                predicted[name] = result.files[0]
            yield {"event": "predicting", "fold": fold, "done": done, "total": len(inputs)}
        return predicted


def _summarise(dataset: Dataset, trainer: FoldTrainer, results: dict[int, Evaluation]) -> dict[str, Any]:
    """Write the scores of all cases and the model of all folds; return the content of ``crossval.json``."""
    models, folds, all_rows, entries = [], {}, list[Row](), []
    for fold, found in results.items():
        run = trainer.run_folder(fold)
        models.append(load_model(run))
        told = _describe_run(run)
        folds[str(fold)] = {**told, "class_mean_dice": _number(found.class_mean_dice.mean)}
        all_rows += found.rows
        for row in found.rows:
            entries.append(_entry(row, fold, told))
    save_model(_ensemble(models), trainer.output / "ensemble.safetensors")
    together = Evaluation(tuple(all_rows))
    together.to_csv(trainer.output / "scores.csv")
    labels: dict[str, dict[str, Any]] = {}
    for summary in together.summary:
        labels[summary.label] = {}
        for metric, statistics in summary.statistics.items():
            labels[summary.label][metric] = _numbers(statistics)
    patients = describe_patients(dataset.cases)
    return {
        "format": FORMAT,
        "dataset": dataset.name,
        **({"patients": patients} if patients else {}),
        "volseg": __version__,
        "folds": folds,
        "definitions": DEFINITIONS,
        "missing_folds": sorted(set(range(count_folds(dataset))) - results.keys()),
        "class_mean_dice": _numbers(together.class_mean_dice),
        "labels": labels,
        "rows": entries,
    }


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


def _entry(row: Row, fold: int, run: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a case and label for ``crossval.json``."""
    entry: dict[str, Any] = {"case": row.case, "label": row.label, "fold": fold}
    for name, metric in METRICS.items():
        if metric.main:
            entry[name] = _number(getattr(row.scores, name))
    entry["volume_ml"] = _number(row.scores.prediction_ml)
    entry["reference_volume_ml"] = _number(row.scores.reference_ml)
    return {**entry, "seed": run["seed"], "device": run["device"]}


def _numbers(statistics: Statistics) -> dict[str, float | int | None]:
    return {name: _number(value) for name, value in asdict(statistics).items()}


def _number(value: float) -> float | None:
    """Round to six digits, more than any metric means; JSON has no NaN, so that is None."""
    return None if np.isnan(value) else round(value, 6)


def _ensemble(models: Sequence[Model]) -> Model:
    """Put the networks of all folds into one model.

    Its temperature is the mean of theirs. It cannot be fitted, as every case was seen by some of the networks.
    """
    networks, temperatures = dict(models[0].networks), []
    for model in models:
        networks.update(model.networks)
        temperatures.append(model.temperature)
    return replace(models[0], networks=networks, temperature=float(np.mean(temperatures)))


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
    """Read the class-mean Dice of each case of a cross-validation.

    Parameters
    ----------
    path : path
        ``crossval.json``, or the folder that holds it.

    Raises
    ------
    InputError
        The file is missing or something else.
    """
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
