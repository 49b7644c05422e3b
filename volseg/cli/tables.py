"""Tables of results, as several commands show them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from volseg.cli.console import print_table, say

if TYPE_CHECKING:
    from volseg.evaluation import Evaluation, LabelSummary, Statistics

_WIDTH_IN_FILES = 120
_HEADINGS = (
    "label",
    "Dice [95 %]",
    "IoU",
    "surface\nDice",
    "HD95\nmm",
    "ASSD\nmm",
    "volume\nml",
    "ref.\nml",
    "n",
)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the statistics of each label, then the class-mean Dice, and what the numbers mean."""
    print_table(_HEADINGS, map(_cells, evaluation.summary), width=_WIDTH_IN_FILES)
    overall = evaluation.class_mean_dice
    say(f"class-mean Dice {_mean(overall)}: mean over labels, then over {overall.n} cases")
    say(
        "Means over cases [95 % interval]; surface Dice is the share of the area of both surfaces within "
        f"{evaluation.tolerance_mm:g} mm of the other."
    )
    for entry in evaluation.summary:
        _print_counts(entry)
    if evaluation.unpaired:
        say(f"{len(evaluation.unpaired)} references have no prediction and were left out.")


def _cells(entry: LabelSummary) -> list[str]:
    found = entry.statistics
    return [
        entry.label,
        _mean(found["dice"]),
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
    counts, total = entry.counts, sum(entry.counts.values())
    wrong = [f"{counts[status]} {status}" for status in ("missed", "spurious") if counts[status]]
    if wrong:
        say(f"{entry.label}: {', '.join(wrong)} of {total} (counted as Dice 0 and as the grid's diagonal).")
    if counts["absent"]:
        say(f"{entry.label}: absent in both in {counts['absent']} of {total} (left out).")


def _mean(statistics: Statistics) -> str:
    text = _number(statistics.mean, 3)
    return text if math.isnan(statistics.low) else f"{text} [{statistics.low:.3f}, {statistics.high:.3f}]"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
