"""The table of metrics: how each is computed from a pair of masks, and how files and printed tables show it.

To add a metric, add a function to `volseg.evaluation.metrics`, with its rule for empty masks, and a field to `Scores`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from volseg.core.grid import Grid
from volseg.evaluation import metrics
from volseg.evaluation.metrics import Mask


@dataclass(frozen=True, eq=False)
class MaskPair:
    """Two masks to compare, and their surface distances; parameters as for `metrics.surface_dice`."""

    prediction: Mask
    reference: Mask
    grid: Grid
    tolerance_mm: float

    @cached_property
    def distances(self) -> metrics.SurfaceDistances:
        """Distances between the surfaces, both ways."""
        return metrics.surface_distances(self.prediction, self.reference, self.grid)


@dataclass(frozen=True)
class Metric:
    """One number of a pair of masks: its computation, and its form in results.

    Parameters
    ----------
    heading : str
        Its name in printed tables.
    digits : str
        How printed tables write it: a format specification such as ``.3f``.
    compute : callable
        Takes the pair.
    unit : str
        Printed below the heading; empty for a share.
    definition : str
        How it is measured, for files of results; empty if the heading says it.
    main : bool
        Whether the rows and the printed summary of a cross-validation, which hold a few metrics, have it too.
    interval : bool
        Whether printed tables have the 95 % interval of its mean.
    """

    heading: str
    digits: str
    compute: Callable[[MaskPair], float]
    unit: str = ""
    definition: str = ""
    main: bool = False
    interval: bool = False

    @property
    def title(self) -> str:
        """Its heading with its unit, in one line."""
        return f"{self.heading}, {self.unit}" if self.unit else self.heading

    def text(self, number: float) -> str:
        """Return a number as tables write it, and a dash for NaN.

        Parameters
        ----------
        number : float
        """
        return "–" if math.isnan(number) else f"{number:{self.digits}}"


def _row(metric: Metric) -> Any:
    return field(metadata={"metric": metric})


@dataclass(frozen=True)
class Scores:
    """All metrics of one mask against its reference, and the table that files and printed tables follow.

    Each metric is one field. The field's name is the column in files, and its row has the rest; `METRICS` has the rows.
    """

    dice: float = _row(
        Metric("Dice", ".3f", lambda pair: metrics.dice(pair.prediction, pair.reference), main=True, interval=True)
    )
    iou: float = _row(Metric("IoU", ".3f", lambda pair: metrics.iou(pair.prediction, pair.reference)))
    hd95_mm: float = _row(
        Metric(
            "HD95",
            ".2f",
            lambda pair: metrics.hd95_mm(pair.distances),
            unit="mm",
            definition="larger of the two directed 95th percentiles of the distances between surface voxels",
            main=True,
        )
    )
    assd_mm: float = _row(
        Metric(
            "ASSD",
            ".2f",
            lambda pair: metrics.assd_mm(pair.distances),
            unit="mm",
            definition="mean of the distances between surface voxels, of both masks together",
        )
    )
    surface_dice: float = _row(
        Metric(
            "surface Dice",
            ".3f",
            lambda pair: metrics.surface_dice(
                pair.prediction, pair.reference, pair.grid, tolerance_mm=pair.tolerance_mm
            ),
            definition="share of the area of both surfaces within the tolerance of the other (doi:10.2196/26151)",
            main=True,
        )
    )
    prediction_ml: float = _row(
        Metric("volume", ".4g", lambda pair: metrics.volume_ml(pair.prediction, pair.grid), unit="ml")
    )
    reference_ml: float = _row(
        Metric("ref.", ".4g", lambda pair: metrics.volume_ml(pair.reference, pair.grid), unit="ml")
    )


# By the name of the field of `Scores`, in the order of the columns in files.
METRICS: dict[str, Metric] = {entry.name: entry.metadata["metric"] for entry in fields(Scores)}
DEFINITIONS = {name: metric.definition for name, metric in METRICS.items() if metric.definition}


def compare(prediction: Mask, reference: Mask, grid: Grid, *, tolerance_mm: float = 1.0) -> Scores:
    """Compute every metric of two masks.

    Parameters
    ----------
    prediction, reference : (I, J, K) bool
        On the grid, or the same box of both that contains both masks.
    grid : Grid
        Gives the millimetres.
    tolerance_mm : float
        Tolerance of the surface Dice, mm.

    Raises
    ------
    GeometryError
        The shapes of the masks differ.
    """
    pair = MaskPair(prediction, reference, grid, tolerance_mm)
    numbers = {}
    for name, metric in METRICS.items():
        numbers[name] = metric.compute(pair)
    return Scores(**numbers)
