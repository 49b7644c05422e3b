"""What a training run leaves to read: a log of JSON lines, and a picture of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from volseg.errors import InputError, OutputError
from volseg.files import read_text
from volseg.io.atomic import atomic_path, write_text

Event = dict[str, Any]


def append_event(path: Path, event: Event) -> None:
    """Add one line to a log; a log grows, so this is the one file that is not replaced whole."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(event, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); check the folder and the disk") from error


def read_events(path: Path) -> list[Event]:
    """Read a log back; a last line that was cut short by a crash is left out."""
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
    """Take out of a log what came after a step: the part of a run that a crash has cost."""
    kept = [
        event for event in read_events(path) if event.get("step", 0) <= step and event["event"] not in ("final", "end")
    ]
    write_text(path, "".join(json.dumps(event) + "\n" for event in kept))


def draw_curve(events: list[Event], path: Path) -> None:
    """Draw losses and validation Dice over the steps as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [e for e in events if e["event"] == "steps"]
    validations = [e for e in events if e["event"] == "validation"]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    losses = sorted({name for e in steps for name in e["losses"]})
    for name, colour in zip(losses, ("#9a9a9a", "#d08c60", "#7d6bb0"), strict=False):
        axes.plot(
            [e["step"] for e in steps], [e["losses"].get(name) for e in steps], color=colour, label=f"{name} loss"
        )
    axes.set(xlabel="step", ylabel="loss")
    axes.spines["top"].set_visible(False)
    right = axes.twinx()
    right.set(ylabel="validation Dice", ylim=(0, 1))
    right.spines["top"].set_visible(False)
    if validations:
        x = [e["step"] for e in validations]
        for label in validations[0]["per_label"]:
            y = [e["per_label"].get(label) for e in validations]
            right.plot(x, y, linewidth=0.9, alpha=0.7, label=label)
        right.plot(x, [e["mean"] for e in validations], color="black", marker="o", label="mean Dice")
    handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]][:14]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
