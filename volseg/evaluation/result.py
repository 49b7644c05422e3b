"""The result of an evaluation: rows, statistics, and the files that they are written to."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from volseg.evaluation.scores import DEFINITIONS, METRICS, Scores
from volseg.evaluation.statistics import Statistics, summarise
from volseg.files.atomic import write_text
from volseg.files.tables import write_table

STATUSES = ("both", "missed", "spurious", "absent")


@dataclass(frozen=True)
class Row:
    """One label of one case: case name, label value and name, and the scores."""

    case: str
    value: int
    label: str
    scores: Scores

    @property
    def status(self) -> str:
        """Where the label is: ``both``, ``missed`` (only reference), ``spurious`` (only prediction), ``absent``."""
        predicted, referred = self.scores.prediction_ml > 0, self.scores.reference_ml > 0
        if predicted:
            return "both" if referred else "spurious"
        return "missed" if referred else "absent"

    @property
    def identity(self) -> dict[str, Any]:
        """The columns before the scores in files."""
        return {"case": self.case, "label": self.label, "value": self.value, "status": self.status}


@dataclass(frozen=True)
class LabelSummary:
    """One label over all cases: the statistics of each metric, and in how many cases it has each status."""

    value: int
    label: str
    statistics: dict[str, Statistics]
    counts: dict[str, int]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of predictions against their references.

    Parameters
    ----------
    rows : tuple of Row
        By case, then by label value.
    tolerance_mm : float
        Tolerance of the surface Dice, mm.
    failures : dict of str to str
        Cases that could not be compared, and why. They are left out of rows and statistics.
    unpaired : tuple of str
        References without a prediction.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> labels = sphere_labelmap(volseg.Grid.from_spacing((32, 32, 32)), radius_mm=10)
    >>> evaluation = volseg.evaluate(labels, labels)
    >>> evaluation.class_mean_dice.mean, evaluation.to_csv("scores.csv").name
    (1.0, 'scores.csv')
    """

    rows: tuple[Row, ...]
    tolerance_mm: float = 1.0
    failures: dict[str, str] = field(default_factory=dict)
    unpaired: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the cases compared."""
        return tuple(dict.fromkeys(row.case for row in self.rows))

    @cached_property
    def summary(self) -> tuple[LabelSummary, ...]:
        """Statistics over cases of each label, by label value."""
        by_value: dict[int, list[Row]] = {}
        for row in self.rows:
            by_value.setdefault(row.value, []).append(row)
        return tuple(_summarise(by_value[value]) for value in sorted(by_value))

    @cached_property
    def class_mean_dice(self) -> Statistics:
        """Dice as one number: statistics over cases of the mean over labels of each case, without absent labels."""
        by_case: dict[str, list[float]] = {}
        for row in self.rows:
            if not math.isnan(row.scores.dice):
                by_case.setdefault(row.case, []).append(row.scores.dice)
        return summarise([float(np.mean(dices)) for dices in by_case.values()])

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows as a UTF-8 table and return its path.

        Parameters
        ----------
        path : path
            Replaced if it exists. NaN becomes an empty cell, and no cell starts a formula in a spreadsheet.
        """
        rows = []
        for row in self.rows:
            rows.append([*row.identity.values(), *map(_cell, asdict(row.scores).values())])
        return write_table(path, ["case", "label", "value", "status", *METRICS], rows)

    def to_json(self, path: str | Path) -> Path:
        """Write rows, statistics, failures and definitions as JSON and return the path.

        Parameters
        ----------
        path : path
            Replaced if it exists. NaN becomes null.
        """
        content = {
            "format": 1,
            "tolerance_mm": self.tolerance_mm,
            "definitions": DEFINITIONS,
            "class_mean_dice": asdict(self.class_mean_dice),
            "labels": list(map(asdict, self.summary)),
            "cases": [row.identity | asdict(row.scores) for row in self.rows],
            "failures": self.failures,
            "references_without_prediction": list(self.unpaired),
        }
        write_text(path, json.dumps(_without_nan(content), indent=2, ensure_ascii=False) + "\n")
        return Path(path)


def _summarise(rows: list[Row]) -> LabelSummary:
    """Return the statistics of the rows of one label."""
    statistics = {}
    for metric in METRICS:
        statistics[metric] = summarise([getattr(row.scores, metric) for row in rows])
    counts = dict.fromkeys(STATUSES, 0)
    for row in rows:
        counts[row.status] += 1
    return LabelSummary(rows[-1].value, rows[-1].label, statistics, counts)


def _cell(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.6g}"


def _without_nan(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _without_nan(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return list(map(_without_nan, thing))
    return None if isinstance(thing, float) and math.isnan(thing) else thing
