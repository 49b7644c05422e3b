"""What held-out cases tell about the quality of a prediction, as a model keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from volseg.config.sections import Amount, Fraction, Positive

COVERAGE = 0.9  # of all intervals
FEWEST = 20  # cases for an interval: below 19 the 5 % at either end are less than one case; as many surfaces
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Count = Annotated[int, Field(strict=True, ge=0)]
Scores = tuple[Fraction, ...]


@dataclass(frozen=True)
class DiceFit:
    """The Dice that is expected of a case: a line over the lower percentile of its scores, and an interval.

    Parameters
    ----------
    at_0, at_100 : float
        The line at the percentiles 0 and 100.
    below, above : float
        How far the interval goes below and above the line.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    at_0: float
    at_100: float
    below: float
    above: float


@dataclass(frozen=True)
class VolumeFit:
    """What the volume of a label is, as a multiple of the predicted one.

    Parameters
    ----------
    cases : int
        Held-out cases in which the label was predicted.
    low, high : float, optional
        Of the interval; None below 20 cases.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    cases: Count
    low: Amount | None = None
    high: Amount | None = None


@dataclass(frozen=True)
class SurfaceFit:
    """How far surfaces lie from the true ones; see `volseg.prediction.surface_doubt`.

    Parameters
    ----------
    surfaces : int
        Of labels in held-out cases, that were measured.
    factor : float, optional
        Of the standard deviations; with it 90 % of the distances are within 1.645 of them. None below 20 surfaces. Of
        an ensemble the mean of its folds; None if one of them has none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    surfaces: Count
    factor: Positive | None = None


@dataclass(frozen=True)
class DoubtFit:
    """What held-out cases tell; see `volseg.training.doubt_fitting`.

    Parameters
    ----------
    cases : int
        Held-out cases in which anything was predicted.
    soft_dice, plane_agreement : tuple of float
        Of these cases, in order; of many cases 101 quantiles. With one plane nothing is compared.
    dice : DiceFit, optional
        None below 20 cases.
    volumes : dict of str to VolumeFit
        By label name.
    training_ml : dict of str to (float, float)
        The smallest and largest volume of each label in the training cases that have it.
    surface : SurfaceFit, optional
        None if no surface was measured.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    cases: Count
    soft_dice: Scores = ()
    plane_agreement: Scores = ()
    dice: DiceFit | None = None
    volumes: Mapping[str, VolumeFit] = field(default_factory=dict)
    training_ml: Mapping[str, tuple[Amount, Amount]] = field(default_factory=dict)
    surface: SurfaceFit | None = None
