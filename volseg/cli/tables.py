"""Tables of results, as several commands show them."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import typer

from volseg.io.plain_text import plain

if TYPE_CHECKING:
    from rich.table import Table

    from volseg.evaluation import Evaluation, LabelSummary, Statistics

_WIDTH_IN_FILES = 120


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the statistics of each label, then the class-mean Dice, and what the numbers mean."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_IN_FILES
    Console(width=width, highlight=False).print(_table(evaluation))
    overall = evaluation.class_mean_dice
    typer.echo(f"class-mean Dice {_mean(overall)}: mean over labels, then over {overall.n} cases")
    typer.echo(f"Means over cases [95 % interval]; surface Dice within {evaluation.tolerance_mm:g} mm.")
    for entry in evaluation.summary:
        _print_counts(entry)
    if evaluation.unpaired:
        typer.echo(f"{len(evaluation.unpaired)} references have no prediction and were left out.")


def _table(evaluation: Evaluation) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("label", overflow="fold", min_width=10)
    for heading in ("Dice [95 %]", "IoU", "surface\nDice", "HD95\nmm", "ASSD\nmm", "volume\nml", "ref.\nml", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in evaluation.summary:
        table.add_row(*_cells(entry))
    return table


def _cells(entry: LabelSummary) -> list[str]:
    from rich.markup import escape

    found = entry.statistics
    return [
        escape(plain(entry.label)),
        escape(_mean(found["dice"])),
        _number(found["iou"].mean, 3),
        _number(found["surface_dice"].mean, 3),
        _number(found["hd95_mm"].mean, 2),
        _number(found["assd_mm"].mean, 2),
        f"{found['prediction_ml'].mean:.4g}",
        f"{found['reference_ml'].mean:.4g}",
        str(found["dice"].n),
    ]


def _print_counts(entry: LabelSummary) -> None:
    """Say where a label is not in both, and how that was counted."""
    counts, total, label = entry.counts, sum(entry.counts.values()), plain(entry.label)
    wrong = [f"{counts[status]} {status}" for status in ("missed", "spurious") if counts[status]]
    if wrong:
        typer.echo(f"{label}: {', '.join(wrong)} of {total} (counted as Dice 0 and as the grid's diagonal).")
    if counts["absent"]:
        typer.echo(f"{label}: absent in both in {counts['absent']} of {total} (left out).")


def _mean(statistics: Statistics) -> str:
    text = _number(statistics.mean, 3)
    return text if math.isnan(statistics.low) else f"{text} [{statistics.low:.3f}, {statistics.high:.3f}]"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
