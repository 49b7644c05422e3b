"""What happens in a training run, as the run tells it: to progress bars, and to the log."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from volseg.config import Config
from volseg.training.outlook import Outlook
from volseg.training.plan import Fold
from volseg.training.validation import Validation
from volseg.watching.verdict import Verdict


@dataclass(frozen=True)
class CaseRead:
    """A case was read or prepared. `total` counts every case twice: read once to plan and once to prepare."""

    done: int
    total: int

    def to_json(self) -> dict[str, Any]:
        """Return the event as a dictionary; this one is not in the log."""
        return {"event": "reading", **asdict(self)}


@dataclass(frozen=True)
class Planned:
    """Everything is read and prepared, and training starts or goes on.

    Parameters
    ----------
    config : Config
        Every setting, as planned.
    fold : int or "all"
    cases, held_out : int
        How many cases are trained on, and how many are held out.
    reading_seconds : float
        Reading and preparing took so long.
    device : str
    patients : str
        How many there are and by what they were told; empty where every case is a patient of its own.
    outlook : tuple of Outlook
        What is expected in half the time, in the time of the run, and in twice that.
    """

    config: Config
    fold: Fold
    cases: int
    held_out: int
    reading_seconds: float
    device: str
    patients: str = ""
    outlook: tuple[Outlook, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the event as a line of the log."""
        content = {"event": "plan", **vars(self), "config": self.config.model_dump(mode="json")}
        if not self.patients:
            del content["patients"]
        if self.outlook:
            content["outlook"] = [asdict(expected) for expected in self.outlook]
        else:
            del content["outlook"]
        return content


@dataclass(frozen=True)
class StepsMade:
    """Some steps were made since the last event of this kind.

    Parameters
    ----------
    step : int
        Steps made so far.
    progress : float
        Share of the training that is done, 0 to 1.
    losses : dict of str to float
        Means since the last such event.
    seconds : float
        Spent on learning and validating so far.
    seconds_left : float
        How long it is expected to go on.
    """

    step: int
    progress: float
    losses: dict[str, float]
    seconds: float
    seconds_left: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the event as a line of the log, without what is only expected."""
        content = {"event": "steps", **asdict(self)}
        del content["seconds_left"]
        return content


@dataclass(frozen=True)
class Validated:
    """Held-out cases were predicted and compared with their references.

    Parameters
    ----------
    kind : {"validation", "final"}
        On the way, or of the last weights on all held-out cases.
    step : int
    held_out : int
        How many held-out cases there are; `result` may be of fewer.
    result : Validation
    same_cases : float, optional
        Mean Dice of those cases that the validations on the way had, where `result` is of more.
    """

    kind: Literal["validation", "final"]
    step: int
    held_out: int
    result: Validation
    same_cases: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as a line of the log, without the scores of single cases."""
        numbers = asdict(self.result)
        del numbers["by_case"]
        for fitted in ("cleanup", "doubt"):  # by the last validation alone
            if numbers[fitted] is None:
                del numbers[fitted]
        if self.same_cases is not None:
            numbers["same_cases"] = self.same_cases
        return {"event": self.kind, "step": self.step, "held_out": self.held_out, **numbers}


@dataclass(frozen=True)
class Sampled:
    """Pictures of the samples were written.

    Parameters
    ----------
    step : int
    files : tuple of Path
        One a plane.
    """

    step: int
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the event as a dictionary; this one is not in the log, as the files are named by their step."""
        return {"event": "samples", "step": self.step, "files": [file.name for file in self.files]}


@dataclass(frozen=True)
class Finished:
    """The run is finished.

    Parameters
    ----------
    files : tuple of Path
        That it wrote; the folder of the samples is one of them.
    seconds : float
        Of learning and validating.
    verdict : Verdict
        What the curves say. The log has the curves themselves.
    """

    files: tuple[Path, ...]
    seconds: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Return the event as a line of the log, which names no folder: it is copied along with the run."""
        return {"event": "end", "files": [file.name for file in self.files], "seconds": self.seconds}


TrainingEvent = CaseRead | Planned | StepsMade | Validated | Sampled | Finished
