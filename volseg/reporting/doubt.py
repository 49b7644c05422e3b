"""The entry ``doubt`` of ``run.json``: how well the labels are expected to be, and where to look first."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

Interval = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class DoubtfulSlice(_Part):
    """A slice; its index is along the axis of ``labels.nii.gz`` that is nearest to the normal of the plane."""

    plane: Literal["axial", "coronal", "sagittal"]
    index: int
    agreement: float


class LabelDoubt(_Part):
    """What is known of one label."""

    soft_dice: float | None = None
    plane_agreement: float | None = None
    volume_ml: float | None = None
    interval_ml: Interval | None = None
    training_range_ml: Interval | None = None


class Doubt(_Part):
    """All of it; slices are in order, the worst first."""

    expected_dice: float | None = None
    interval: Interval | None = None
    coverage: float | None = None
    held_out_cases: int | None = None
    soft_dice: float | None = None
    plane_agreement: float | None = None
    percentile: float | None = None
    reasons: tuple[str, ...] = ()
    slices: tuple[DoubtfulSlice, ...] = ()
    labels: dict[str, LabelDoubt] = {}


def read_doubt(entry: Any) -> Doubt:
    """Return the entry, or where it is missing or of another form, an empty one that says so.

    Parameters
    ----------
    entry : Any
        As in ``run.json``.
    """
    if entry is None:
        return Doubt(reasons=("run.json has no doubt: the case was predicted by a version that did not judge it",))
    try:
        return Doubt.model_validate(entry)
    except ValidationError:
        return Doubt(reasons=("the doubt in run.json is of another form; predict the case anew (--overwrite)",))
