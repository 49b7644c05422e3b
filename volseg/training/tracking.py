"""One callback that hands the events of a training to a tracker."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from volseg.errors import MissingPackageError, UsageError, reason
from volseg.files.atomic import write_text
from volseg.files.regular import read_json
from volseg.training.events import CaseRead, Planned, TrainingEvent
from volseg.training.journal import read_events
from volseg.training.run_folder import SAMPLES
from volseg.training.trackers import TRACKERS
from volseg.watching.curves import Event
from volseg.watching.sample_picture import read_samples

_STATE = "tracking.json"
_NO_NAME = re.compile(r"[^\w\- ]")

_LOG = logging.getLogger(__name__)


class TrackedRun:
    """A callback for the events of a run.

    What was handed on is noted in ``tracking.json`` in the run's folder. So a run that is resumed is the same one for
    the tracker, and what the log has and the tracker has not, or what is done again, comes there once. A tracker that
    fails while a training runs is left alone, with a warning.

    Parameters
    ----------
    name : str
        A key of `volseg.training.trackers.TRACKERS`.
    run : Path
        The run's folder.
    resume : bool
        Whether the run goes on.

    Raises
    ------
    UsageError
        There is no such tracker.
    MissingPackageError
        Its package is not installed.
    """

    def __init__(self, name: str, run: Path, *, resume: bool = False) -> None:
        if name not in TRACKERS:
            raise UsageError(f"--track {name}: no such tracker; expected one of {', '.join(TRACKERS)}")
        make, package = TRACKERS[name]
        try:
            self._tracker = make()
        except ImportError as error:
            raise MissingPackageError(
                f"--track {name} needs a package that is not installed ({error}); pip install {package}"
            ) from error
        self._name, self._run = name, run
        self._known: str | None = None
        self._sent: dict[str, int] = {}
        self._open = self._failed = False
        if resume:
            self._recall()

    def __enter__(self) -> Self:
        """Return the callback."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the tracker's run, also where the training was interrupted."""
        if self._open and not self._failed:
            self._try(self._tracker.end)

    def __call__(self, event: TrainingEvent) -> None:
        """Hand on an event.

        Parameters
        ----------
        event : TrainingEvent
        """
        if isinstance(event, Planned):
            self._begin(event.to_json())
        elif not isinstance(event, CaseRead):
            self._hand_on(event.to_json())

    def _begin(self, plan: Event) -> None:
        """Begin before the first step, with what the log of a resumed run has."""
        try:
            self._known = self._tracker.begin(self._run, _flat(plan["config"]), self._known)
        except Exception as error:
            raise UsageError(
                f"--track {self._name}: could not begin ({reason(error)}); leave it out or mend it"
            ) from error
        self._open = True
        steps: dict[int, list[str]] = {}
        for file in read_samples(self._run / SAMPLES):
            steps.setdefault(file.step, []).append(file.path.name)
        events = list(read_events(self._run / "log.jsonl"))
        for step, files in steps.items():
            events.append({"event": "samples", "step": step, "files": files})
        for event in sorted(events, key=lambda event: int(event.get("step", 0))):  # some take no step of before
            self._hand_on(event)
        self._note()

    def _hand_on(self, event: Event) -> None:
        kind, step = event["event"], event.get("step", 0)
        if self._failed or not self._open or step <= self._sent.get(kind, 0):
            return
        sent = True  # what a tracker failed at comes when the run is resumed
        if kind == "samples":
            for file in event["files"]:
                plane = Path(file).stem.rpartition("_")[2]
                sent = sent and self._try(self._tracker.picture, f"samples/{plane}", self._run / SAMPLES / file, step)
        elif metrics := numbers_of(event):
            sent = self._try(self._tracker.log, metrics, step)
        if sent:
            self._sent[kind] = step
            self._note()

    def _try(self, function: Any, *arguments: Any) -> bool:
        """Call a function of the tracker; return whether it did not fail."""
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 (a tracker must not end a training, whatever is wrong with it)
            _LOG.warning("--track %s failed and is left alone from now on: %s", self._name, reason(error))
            self._failed = True
            return False
        return True

    def _note(self) -> None:
        known = self._read()
        known[self._name] = {"run": self._known, "sent": self._sent}
        write_text(self._run / _STATE, json.dumps(known, indent=2) + "\n")

    def _recall(self) -> None:
        known = self._read().get(self._name)
        if known is not None:
            self._known, self._sent = known["run"], known["sent"]

    def _read(self) -> dict[str, Any]:
        path = self._run / _STATE
        return dict(read_json(path)) if path.is_file() else {}


def tracked(
    events: Iterable[TrainingEvent], names: Sequence[str], run: Path, *, resume: bool = False
) -> Iterator[TrainingEvent]:
    """Hand events to trackers on their way.

    Parameters
    ----------
    events : iterable of TrainingEvent
        Of `volseg.training.loop.iterate_training`.
    names : sequence of str
        Of the trackers.
    run : Path
        The run's folder.
    resume : bool
        Whether the run goes on.

    Returns
    -------
    iterator of TrainingEvent
        The same events.

    Raises
    ------
    UsageError
        There is no such tracker.
    MissingPackageError
        A package is missing; nothing was begun.
    """
    return _tracked(events, [TrackedRun(name, run, resume=resume) for name in dict.fromkeys(names)])


def _tracked(events: Iterable[TrainingEvent], trackers: Sequence[TrackedRun]) -> Iterator[TrainingEvent]:
    with ExitStack() as stack:
        callbacks = [stack.enter_context(tracker) for tracker in trackers]
        for event in events:
            for callback in callbacks:
                callback(event)
            yield event


def numbers_of(event: Event) -> dict[str, float]:
    """Return the numbers of a line of the log by their names in a tracker.

    Parameters
    ----------
    event : dict

    Examples
    --------
    >>> numbers_of({"event": "validation", "step": 3, "mean": 0.5, "per_label": {"liver": 0.5, "rib": None}})
    {'dice/mean': 0.5, 'dice/liver': 0.5}
    """
    if event["event"] == "steps":
        found = {f"loss/{name}": float(value) for name, value in event["losses"].items()}
        return {**found, "progress": event["progress"], "seconds": event["seconds"]}
    if event["event"] not in ("validation", "final"):
        return {}
    group = "dice" if event["event"] == "validation" else "final_dice"
    numbers = {f"{group}/mean": event["mean"]}
    for label, value in event["per_label"].items():
        numbers[f"{group}/{_NO_NAME.sub('_', label)}"] = value
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _flat(settings: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{start}{_NO_NAME.sub('_', name)}."))
        else:
            flat[f"{start}{name}"] = value if isinstance(value, str | int | float | bool) else str(value)
    return flat
