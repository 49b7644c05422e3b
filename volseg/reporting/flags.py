"""Flags: what may be wrong with a case, each in one plain sentence. None of them needs another pass of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from volseg.core.grid import Grid
from volseg.prediction.doubt import Doubt
from volseg.reporting.fit import Contrast, Tissue
from volseg.reporting.sizes import LabelSize

_LOW_PERCENTILE = 5.0
_LEAST_CONTRAST = 1.1  # of the contrast elsewhere
_COARSER = 1.75  # spacing of the scan over that of the training
_SPREADS = 2.0  # standard deviations from the mean of the training
_MOST_NAMED = 4
_AXES = ("from right to left", "from front to back", "from head to feet")


@dataclass(frozen=True)
class Flag:
    """Something that may be wrong.

    Parameters
    ----------
    kind : str
        A word for it, such as ``border``.
    text : str
        A sentence.
    serious : bool
        Whether the case should be looked at before all others.
    """

    kind: str
    text: str
    serious: bool = False


def flag_sizes(sizes: Sequence[LabelSize], doubt: Doubt) -> list[Flag]:
    """Flag labels that are missing, in pieces, cut off by the border or of another volume than in the training.

    Parameters
    ----------
    sizes : sequence of LabelSize
    doubt : Doubt
    """
    flags: list[Flag] = []
    empty = [size.label.name for size in sizes if not size.pieces]
    if empty:
        what = "Nothing was found: every label is empty" if len(empty) == len(sizes) else f"Empty: {_few(empty)}"
        flags.append(Flag("empty", f"{what}.", serious=len(empty) == len(sizes)))
    for size in sizes:
        name = size.label.name
        if size.borders:
            sides = " and the ".join(size.borders)
            text = f"{name} reaches the {sides} of the scan, so a part of it may be missing."
            flags.append(Flag("border", text))
        if size.pieces > 1:
            text = f"{name} is in {size.pieces} pieces; the largest has {_share(size.largest_share)} of it."
            flags.append(Flag("pieces", text))
        known = doubt.labels.get(name)
        if size.pieces and known is not None and known.training_range_ml is not None:
            low, high = known.training_range_ml
            if not low <= size.volume_ml <= high:
                word = "smaller" if size.volume_ml < low else "larger"
                text = (
                    f"{name} has {size.volume_ml:.3g} ml, {word} than in any training case ({low:.3g} to {high:.3g})."
                )
                flags.append(Flag("volume", text))
    return flags


def _share(share: float) -> str:
    """Return a share in percent, which is not rounded to all of it."""
    return "over 99 %" if share > 0.99 else f"{share:.0%}".replace("%", " %")


def flag_doubt(doubt: Doubt) -> list[Flag]:
    """Flag a case that is more doubtful than nearly all held-out cases.

    Parameters
    ----------
    doubt : Doubt
    """
    if doubt.percentile is None or doubt.percentile >= _LOW_PERCENTILE:
        return []
    cases = f"{doubt.held_out_cases} held-out cases" if doubt.held_out_cases else "held-out cases"
    share = f"{100 - doubt.percentile:.0f} %" if doubt.percentile else "all"
    return [Flag("doubt", f"The network is less sure of this case than of {share} of the {cases}.", serious=True)]


def flag_fit(contrast: Contrast | None, tissues: Sequence[Tissue]) -> list[Flag]:
    """Flag labels that do not lie where the scan has their edges, or on tissue of another kind.

    Parameters
    ----------
    contrast : Contrast, optional
    tissues : sequence of Tissue
        Of a CT; else empty.
    """
    flags = []
    wrong = [tissue for tissue in tissues if not tissue.fits]
    if 2 * len(wrong) > len(tissues):
        named = [f"{one.name} {one.mean_hu:.0f} HU where {_range(one.limits_hu)} is usual" for one in wrong]
        text = f"The labels do not fit the scan: {_few(named)}. Do they belong to it?"
        flags.append(Flag("fit", text, serious=True))
    if contrast is not None and contrast.here < _LEAST_CONTRAST * contrast.elsewhere:
        text = (
            f"The labels may not fit the scan: it changes by {contrast.here:.3g} across their edges, and by "
            f"{contrast.elsewhere:.3g} across the same edges laid elsewhere. Do they belong to it?"
        )
        flags.append(Flag("fit", text, serious=True))
    return flags


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.0f} to {limits[1]:.0f}"


def flag_record(record: Mapping[str, Any], grid: Grid) -> list[Flag]:
    """Flag what ``run.json`` tells: warnings of the readers, a weak model, another modality or coarser voxels.

    Parameters
    ----------
    record : dict
        The content of ``run.json``.
    grid : Grid
        Of the labels.
    """
    flags = []
    if record.get("model_weakness"):
        flags.append(Flag("model", f"The model means nothing: {record['model_weakness']}.", serious=True))
    warnings = record.get("warnings") or {}
    flags += [Flag("reading", f"When the scan was read: {text}.") for text in warnings.get("read", ())]
    trained = record.get("trained_on") or {}
    flags += _flag_modalities(record.get("channels") or (), trained.get("modalities") or ())
    if trained.get("spacing_mm"):
        flags += _flag_spacing(grid, trained["spacing_mm"])
    return flags


def _flag_modalities(channels: Sequence[Mapping[str, Any]], expected: Sequence[str | None]) -> Iterator[Flag]:
    for channel, modality in zip(channels, expected, strict=False):
        if channel.get("modality") and modality and channel["modality"] != modality:
            yield Flag("modality", f"The scan is {channel['modality']}; the model was trained on {modality}.")


def _flag_spacing(grid: Grid, trained: Sequence[float]) -> Iterator[Flag]:
    for axis, spacing in zip(grid.world_axes[0], grid.spacing, strict=True):
        if spacing > _COARSER * trained[axis]:
            yield Flag(
                "spacing",
                f"Voxels are {spacing:.3g} mm long {_AXES[axis]}; the model works at {trained[axis]:.3g} mm there.",
            )


def flag_intensities(
    record: Mapping[str, Any], array: np.ndarray[Any, Any], labelled: np.ndarray[Any, Any]
) -> list[Flag]:
    """Flag a scan in a unit (CT) whose labelled voxels are brighter or darker than those of the training.

    Parameters
    ----------
    record : dict
        The content of ``run.json``.
    array : (I, J, K)
        The first channel.
    labelled : (I, J, K) bool
    """
    known = next(iter((record.get("trained_on") or {}).get("normalisation") or ()), None)
    if not known or known.get("kind") != "window" or not labelled.any():
        return []
    mean = float(np.nanmean(np.clip(array[labelled].astype(np.float64), known["low"], known["high"])))
    if abs(mean - known["mean"]) <= _SPREADS * known["std"]:
        return []
    text = f"The labelled voxels have a mean of {mean:.0f}; those of the training had {known['mean']:.0f}"
    return [Flag("intensity", f"{text} (standard deviation {known['std']:.0f}).")]


def by_severity(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """Put serious flags first.

    Parameters
    ----------
    flags : iterable of Flag
    """
    return tuple(sorted(flags, key=lambda flag: not flag.serious))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return "; ".join(names[:_MOST_NAMED]) + more
