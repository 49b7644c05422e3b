"""Predictions against references over a cohort: one row a case and label, statistics with intervals."""

from volseg.evaluation.cases import evaluate
from volseg.evaluation.result import Evaluation, LabelSummary, Row
from volseg.evaluation.statistics import Statistics, summarise

__all__ = ["Evaluation", "LabelSummary", "Row", "Statistics", "evaluate", "summarise"]
