"""Cross-validation: every fold trained, and every case predicted by the networks that have not seen it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from volseg.cases.cohort import process_cases
from volseg.cases.inputs import CaseInput
from volseg.cases.outputs import OutputSettings
from volseg.config import Config, load_config
from volseg.crossvalidation.cleanup import FoldCleanup, HeldOut, clean_across_folds
from volseg.crossvalidation.comparison import class_means, compare_runs
from volseg.crossvalidation.doubt import fit_across_folds
from volseg.crossvalidation.summary import summarise_folds
from volseg.datasets import Case, Dataset, count_folds, describe_shared_patients, label_map_file, split
from volseg.errors import DatasetError, PartialError, UsageError, VolsegError
from volseg.evaluation import Evaluation, evaluate
from volseg.files.atomic import write_text
from volseg.network.file import load_model
from volseg.training.folds import FoldTrainer, is_trained
from volseg.training.plan import fingerprint
from volseg.training.planning import iterate_planning
from volseg.training.resumption import with_folds_of
from volseg.watching.curves import Event

__all__ = ["class_means", "compare_runs", "iterate_crossvalidation"]


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

    Predictions, rows and ``scores.csv`` are before the clean-up that held-out cases decide. The clean-up of the
    ensemble is decided on the predictions of all folds, and takes the place of what each fold decided on its own cases.
    ``crossval.json`` has it in ``cleanup``, with the scores after it. There each fold is cleaned as the others decide,
    so that no case is scored with a clean-up that it has decided. Settings for clean-up count in all of these.

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
        ``reading`` (done, total), ``training`` (fold, progress, step), ``predicting`` (fold, done, total),
        ``cleaning`` (done, total), and ``summary``: the content of ``crossval.json``.

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
    cleaned = yield from scoring.clean()
    doubt = fit_across_folds(dataset.labels, scoring.held_out, cleaned)
    content = summarise_folds(dataset, trainer, scoring.results, cleaned, doubt=doubt)
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
    planning = iterate_planning(dataset, trainer.output, config=settings, fold="all", device=trainer.devices[0])
    for done, total in planning:
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
    held_out: list[HeldOut] = field(default_factory=list)
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
            for case in held_out:
                if rows := tuple(row for row in found.rows if row.case == case.name):
                    self.held_out.append(HeldOut(case, fold, predicted[case.name], rows))

    def clean(self) -> Generator[Event, None, FoldCleanup]:
        """Decide the clean-up on all scored cases."""
        given = load_config(self.trainer.output / "plan.yaml").cleanup
        steps = clean_across_folds(self.dataset.labels, given, self.held_out)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                cleaned: FoldCleanup = end.value
                return cleaned
            yield {"event": "cleaning", "done": done, "total": total}

    def _predict(self, fold: int, held_out: Sequence[Case]) -> Generator[Event, None, dict[str, Path]]:
        """Return the label map of each case that could be predicted."""
        run = self.trainer.run_folder(fold)
        inputs = [CaseInput(case.name, case.images) for case in held_out]
        settings = OutputSettings(probabilities=self.probabilities, refresh=True)
        device = self.trainer.devices[0]
        model = replace(load_model(run), cleanup={})  # what it decided on these very cases would flatter their scores
        results = process_cases(model, inputs, run / "predictions", settings=settings, device=device)
        predicted = {}
        for done, result in enumerate(results, 1):
            name = result.case.name
            if result.error:
                self.note(fold, f"{name}: {result.error}")
            else:
                predicted[name] = result.files[0]
            yield {"event": "predicting", "fold": fold, "done": done, "total": len(inputs)}
        return predicted
