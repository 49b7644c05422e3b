"""Tables of results, for several commands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from volseg.cli.console import print_table, say

if TYPE_CHECKING:
    from volseg.evaluation import Evaluation, LabelSummary, Statistics
    from volseg.evaluation.scores import Metric

_WIDTH_IN_FILES = 120


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the statistics of each label, the class-mean Dice, and an explanation of the numbers.

    Parameters
    ----------
    evaluation : Evaluation
    """
    metrics = _by_unit()
    headings = ["label", *map(_heading, metrics.values()), "n"]
    rows = []
    for entry in evaluation.summary:
        row = [entry.label]
        for name, metric in metrics.items():
            row.append(_cell(entry.statistics[name], metric))
        rows.append([*row, str(entry.statistics["dice"].n)])
    print_table(headings, rows, width=_WIDTH_IN_FILES)
    overall = evaluation.class_mean_dice
    say(f"class-mean Dice {_cell(overall, metrics['dice'])}: mean over labels, then over {overall.n} cases")
    say(
        "Means over cases [95 % interval]; surface Dice is the share of the area of both surfaces within "
        f"{evaluation.tolerance_mm:g} mm of the other."
    )
    for entry in evaluation.summary:
        _print_counts(entry)
    if evaluation.unpaired:
        say(f"{len(evaluation.unpaired)} references have no prediction and were left out.")


def _by_unit() -> dict[str, Metric]:
    """Return the metrics in the order of printed tables, grouped by unit."""
    from volseg.evaluation.scores import METRICS

    units = list(dict.fromkeys(metric.unit for metric in METRICS.values()))
    return dict(sorted(METRICS.items(), key=lambda row: units.index(row[1].unit)))


def _heading(metric: Metric) -> str:
    name = f"{metric.heading} [95 %]" if metric.interval else metric.heading.replace(" ", "\n")
    return f"{name}\n{metric.unit}" if metric.unit else name


def _cell(statistics: Statistics, metric: Metric) -> str:
    if math.isnan(statistics.mean):
        return "-"
    text = f"{statistics.mean:{metric.digits}}"
    if not metric.interval or math.isnan(statistics.low):
        return text
    return f"{text} [{statistics.low:{metric.digits}}, {statistics.high:{metric.digits}}]"


def _print_counts(entry: LabelSummary) -> None:
    """Describe how often a label is missing on one or both sides, and how that was counted."""
    counts, total = entry.counts, sum(entry.counts.values())
    wrong = []
    for status in ("missed", "spurious"):
        if counts[status]:
            wrong.append(f"{counts[status]} {status}")
    if wrong:
        say(f"{entry.label}: {', '.join(wrong)} of {total} (counted as Dice 0 and as the grid's diagonal).")
    if counts["absent"]:
        say(f"{entry.label}: absent in both in {counts['absent']} of {total} (left out).")
