"""With what a run is resumed: its own folds, and its own settings except those that change no batch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from volseg.config import Config, TrainingConfig
from volseg.datasets import Dataset, describe_patients, forget_patients
from volseg.errors import UsageError
from volseg.training.journal import read_events
from volseg.training.outlook import told_time
from volseg.training.plan import make_plan

# How long a run is trained, and how often it is validated on the way.
FREE = ("epochs", "minutes", "validations", "validation_cases")
_PLANNED = {
    "preparation": ("planes", "spacing_mm", "normalisation", "crop"),
    "network": ("levels", "width", "max_width"),
    "training": ("slice_size", "first_size", "batch_size"),
}
_MISSING = object()

_LOG = logging.getLogger(__name__)


def with_folds_of(run: Path, dataset: Dataset) -> Dataset:
    """Return the dataset with the folds that a run began with.

    Older versions made folds over cases, also where patients have several scans.

    Parameters
    ----------
    run : Path
        The folder of the run.
    dataset : Dataset
    """
    told = describe_patients(dataset.cases)
    if dataset.splits or not told or not _knows_no_patients(run / "log.jsonl"):
        return dataset
    _LOG.warning(
        "%s: its folds were made over cases and stay so, though there are %s; if scans of a patient are on both sides "
        "of a fold, its scores are too good. Train anew in another folder for folds by patient",
        run,
        told,
    )
    return forget_patients(dataset)


def _knows_no_patients(log: Path) -> bool:
    """Whether a run was planned when nothing told that patients have several scans."""
    if not log.is_file():
        return False
    for event in read_events(log):
        if event["event"] == "plan":
            return "patients" not in event
    return False


def is_limited(run: Path, settings: TrainingConfig) -> bool:
    """Whether the clock ends a run that is resumed and has no length of its own; older versions had no such limit.

    Parameters
    ----------
    run : Path
        The folder of the run.
    settings : TrainingConfig
        With which it goes on.
    """
    log = run / "log.jsonl"
    planned = [event for event in (read_events(log) if log.is_file() else []) if event["event"] == "plan"]
    if not planned or "outlook" in planned[0] or settings.minutes or settings.epochs:
        return True
    _LOG.warning(
        "%s: was begun when a training without --minutes or --epochs took the time that it took, and makes all of its "
        "steps; end it sooner with --minutes",
        run,
    )
    return False


def tell_end(run: Path, *, steps: int, seconds: float) -> None:
    """Say that a run has no step left to make.

    Parameters
    ----------
    run : Path
        The folder of the run.
    steps : int
        Made.
    seconds : float
        Of learning and validating.
    """
    _LOG.warning(
        "%s: its time or its steps are used up (step %d, %s), so nothing more is learnt; to go on, give --resume "
        "with more --minutes or --epochs than that",
        run,
        steps,
        told_time(seconds),
    )


def resumed_plan(plan: Config, wanted: Config, dataset: Dataset) -> Config:
    """Return the plan of a run with the length that is wanted now.

    Parameters
    ----------
    plan : Config
        The run's own.
    wanted : Config
        A setting that is None in it and was planned stays as planned.
    dataset : Dataset

    Raises
    ------
    UsageError
        A setting differs that is not one of `FREE`.
    """
    filled = {}
    for section, keys in _PLANNED.items():
        ours, theirs = getattr(wanted, section), getattr(plan, section)
        planned_keys = {}
        for key in keys:
            if getattr(ours, key) is None:
                planned_keys[key] = getattr(theirs, key)
        filled[section] = ours.model_copy(update=planned_keys)
    planned = make_plan(wanted.model_copy(update=filled), dataset, ())
    free = {key: getattr(planned.training, key) for key in FREE}
    resumed = plan.model_copy(update={"training": plan.training.model_copy(update=free)})
    if differences := _differences(resumed.model_dump(), planned.model_dump()):
        raise UsageError(
            f"--resume goes on with the run's own settings, and {'; '.join(differences)}; only length and how often "
            f"it is validated may change ({', '.join(FREE)}): leave the others out, or train anew in another folder"
        )
    return resumed


def _differences(ours: dict[str, Any], theirs: dict[str, Any], inside: str = "") -> list[str]:
    found = []
    for key in dict.fromkeys([*ours, *theirs]):
        old, new = ours.get(key, _MISSING), theirs.get(key, _MISSING)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{inside}{key}.")
        elif old != new:
            found.append(f"{inside}{key} is {_told(old)} in it, not {_told(new)}")
    return found


def _told(value: object) -> str:
    return "absent" if value is _MISSING else f"{value}"
