"""The log of a training run: a line of JSON for each thing that happened."""

from __future__ import annotations

import json
from pathlib import Path

from volseg.errors import InputError, OutputError
from volseg.files.atomic import write_text
from volseg.files.regular import read_text
from volseg.watching.curves import Event


def append_event(path: Path, event: Event) -> None:
    """Add one line to a log; a log grows, so this is the one file that is not replaced whole.

    Parameters
    ----------
    path : Path
    event : dict
        JSON values.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(event, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); check the folder and the disk") from error


def read_events(path: Path) -> list[Event]:
    """Read a log back; a last line that was cut short by a crash is left out.

    Parameters
    ----------
    path : Path
    """
    lines = read_text(path).splitlines()
    events = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(dict(json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            if number < len(lines):
                raise InputError(f"{path}:{number}: is not a line of JSON") from error
    return events


def cut_events(path: Path, *, step: int) -> None:
    """Remove from a log what came after a step: a crash has undone it.

    Parameters
    ----------
    path : Path
    step : int
    """
    kept = []
    for event in read_events(path):
        if event.get("step", 0) <= step and event["event"] not in ("final", "end"):
            kept.append(json.dumps(event) + "\n")
    write_text(path, "".join(kept))
