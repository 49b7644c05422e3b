"""From what a dataset looks like to the settings that suit it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from volseg.config import Config, Normalisation
from volseg.core.intensity import percentiles
from volseg.core.planes import PLANES, Plane
from volseg.core.slices import ANISOTROPIC, NORMAL_AXIS, in_plane
from volseg.datasets import Case, Dataset, describe_patients, split
from volseg.errors import DatasetError
from volseg.files.atomic import write_text
from volseg.network.generator import NETWORKS
from volseg.prediction.cleanup import resolve_cleanup
from volseg.training.facts import CaseFacts
from volseg.training.growth import Size, plane_size
from volseg.training.sizes import plan_sizes

Fold = int | Literal["all"]

USUAL_WIDTH, USUAL_MAX_WIDTH = 24, 320  # channels of the first level, and of any
_LARGEST_SLICE = 256  # pixels
_NARROW = 32  # pixels: slices that are narrower, and by far narrower than in another plane, are strips
_WORTH_CROPPING = 0.25  # of the voxels
_BELOW_IS_AIR_HU = -700  # the lowest value of a scan of unknown modality
_MOST_CLIPPED = 0.5  # of a label
_MOST_FINER = 2.0  # times: planned spacing against that of the scans


def choose_cases(dataset: Dataset, fold: Fold) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Return the cases to learn from and those held out.

    Parameters
    ----------
    dataset : Dataset
    fold : int or "all"
    """
    if fold == "all":
        return tuple(dataset.cases), ()
    return split(dataset, fold)


def fingerprint(dataset: Dataset, planned: Config, training: Sequence[Case]) -> str:
    """Return 16 hex digits that change with the training cases, the labels and what was planned from their voxels.

    Parameters
    ----------
    dataset : Dataset
    planned : Config
    training : sequence of Case
    """
    names = [case.name for case in training]
    sizes = planned.training
    known = [names, dataset.labels, dataset.channel_names, planned.preparation, sizes.slice_size]
    # What older versions did not know is added where it is in use, so that their runs keep their fingerprint.
    if planned.preparation.crop:
        known.append("cropped")
    if sizes.first_size not in (None, sizes.slice_size):
        known.append(sizes.first_size)
    text = repr(tuple(known))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(config: Config, dataset: Dataset, facts: Sequence[CaseFacts], *, coarser: float = 1.0) -> Config:
    """Fill every setting that is still None.

    Planes: one, across the coarse axis, where the median spacing is anisotropic by more than 1.5; else all three,
    without those whose slices are narrow strips. Spacing: the median; finer, by a factor of at most 2, where slices
    are smaller than the network needs. Normalisation: CT by the labels' intensities over all cases, others each
    scan by itself, clipped unless that takes half of a label. Slice size: the median slice, at most 256 pixels;
    larger slices are cropped at random, and up to a twentieth of a side is left out where that spares a frame of
    padding. First size: 64 pixels, where that is by far smaller. Width: 24 channels, twice as many in each level,
    up to 320. Depth and batch: from the slice size. Empty borders are left out, and do not count for any of this,
    if half of the cases lose a quarter of their voxels with them.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    facts : sequence of CaseFacts
        Of the training cases; may be empty if nothing is to be planned from the scans.
    coarser : float
        A planned spacing within slices is so many times the median.
    """
    preparation, training = config.preparation, config.training
    crop = preparation.crop
    if crop is None and facts:
        crop = _has_broad_borders(facts)
    if crop:
        facts = [case.inside or case for case in facts]
    network = NETWORKS[config.network.block]
    planes = preparation.planes or _planes(facts)
    spacing = preparation.spacing_mm or _coarser(
        _spacing(facts, planes, short_side=network.short_side), planes, coarser
    )
    normalisation = preparation.normalisation or _normalisation(dataset, facts)
    if len(normalisation) != len(dataset.channel_names):
        raise DatasetError(
            f"preparation.normalisation has {len(normalisation)} entries, the dataset {len(dataset.channel_names)} "
            "channels; give one for each channel"
        )
    sizes = plan_sizes(config, planes, training.slice_size or _slice_size(facts, spacing))
    # One full entry a label: what is set and what is a default cannot be told apart in a file.
    cleanup = resolve_cleanup([label.name for label in dataset.labels], config.cleanup)
    return replaced(
        config.model_copy(update={"cleanup": cleanup}),
        preparation={"planes": planes, "spacing_mm": spacing, "normalisation": normalisation, "crop": crop},
        network={
            "levels": sizes.levels,
            "width": config.network.width or USUAL_WIDTH,
            "max_width": config.network.max_width or USUAL_MAX_WIDTH,
        },
        training={
            "slice_size": sizes.slice_size,
            "first_size": sizes.first_size,
            "batch_size": sizes.batch_size,
        },
    )


def _has_broad_borders(facts: Sequence[CaseFacts]) -> bool:
    """Whether half of the cases lose enough of their voxels without their empty borders."""
    lost = [1 - prod((case.inside or case).shape) / prod(case.shape) for case in facts]
    return float(np.median(lost)) >= _WORTH_CROPPING


def replaced(config: Config, **sections: dict[str, Any]) -> Config:
    """Return a config with some keys of some sections changed.

    Parameters
    ----------
    config : Config
    **sections : dict
        Values that are valid.
    """
    changed = {name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    return config.model_copy(update=changed)


def _planes(facts: Sequence[CaseFacts]) -> tuple[Plane, ...]:
    shape = np.median(_shapes(facts), axis=0)
    spacing = _median_spacing(facts)
    if min(shape) == 1:  # scans of one slice leave no choice
        return _planes_across(int(np.argmin(shape)))
    if max(spacing) / min(spacing) > ANISOTROPIC:
        return _planes_across(int(np.argmax(spacing)))
    widths = {}
    for plane in PLANES:
        height, width = in_plane(plane)
        widths[plane] = min(shape[height], shape[width])
    least = min(_NARROW, max(widths.values()) / 3)
    return tuple(plane for plane in PLANES if widths[plane] >= least)


def _planes_across(coarse: int) -> tuple[Plane, ...]:
    return tuple(plane for plane in PLANES if NORMAL_AXIS[plane] == coarse)


def _shapes(facts: Sequence[CaseFacts]) -> NDArray[np.int64]:
    return np.array([case.shape for case in facts])


def _spacings(facts: Sequence[CaseFacts]) -> NDArray[np.float64]:
    return np.array([case.spacing for case in facts])


def _median_spacing(facts: Sequence[CaseFacts]) -> tuple[float, float, float]:
    x, y, z = np.median(_spacings(facts), axis=0)
    return round(float(x), 4), round(float(y), 4), round(float(z), 4)


def _spacing(facts: Sequence[CaseFacts], planes: Sequence[Plane], *, short_side: int) -> tuple[float, float, float]:
    """Return the median spacing; a finer one where the median slice would be shorter than `short_side` pixels."""
    scanned = _median_spacing(facts)
    shape = _slice_size(facts, scanned)
    shortest = min(min(plane_size(shape, plane)) for plane in planes)
    finer = min(_MOST_FINER, max(1.0, short_side / shortest))
    x, y, z = (round(mm / finer, 4) for mm in scanned)
    return x, y, z


def _coarser(spacing: tuple[float, float, float], planes: Sequence[Plane], factor: float) -> tuple[float, float, float]:
    """Multiply a spacing along every axis that lies within slices."""
    within = {axis for plane in planes for axis in in_plane(plane)}
    x, y, z = (round(mm * factor, 4) if axis in within else mm for axis, mm in enumerate(spacing))
    return x, y, z


def _slice_size(facts: Sequence[CaseFacts], spacing: tuple[float, float, float]) -> Size:
    sizes = _shapes(facts) * _spacings(facts) / np.array(spacing)
    x, y, z = np.clip(np.median(sizes, axis=0).round(), 8, _LARGEST_SLICE).astype(int).tolist()
    return x, y, z


def _normalisation(dataset: Dataset, facts: Sequence[CaseFacts]) -> tuple[Normalisation, ...]:
    entries = []
    for channel, modality in enumerate(dataset.modalities):
        values = np.concatenate([case.foreground[channel] for case in facts])
        if (modality == "CT" or (modality is None and _looks_like_ct(channel, facts))) and values.size:
            entries.append(_window(values))
        elif _loses_labels(channel, facts):
            # Small bright lesions would look like any other bright voxel if the scan were clipped.
            entries.append(Normalisation(kind="zscore_unclipped"))
        else:
            entries.append(Normalisation(kind="zscore"))
    return tuple(entries)


def _looks_like_ct(channel: int, facts: Sequence[CaseFacts]) -> bool:
    """Whether the lowest values are those of air in CT, -1000 HU."""
    return float(np.median([case.lowest[channel] for case in facts])) < _BELOW_IS_AIR_HU


def _loses_labels(channel: int, facts: Sequence[CaseFacts]) -> bool:
    """Whether clipping takes too much of a label in half of the scans that have it."""
    shares: dict[int, list[float]] = {}
    for case in facts:
        for value, share in case.extreme[channel].items():
            shares.setdefault(value, []).append(share)
    medians = [np.median(found) for found in shares.values()]
    return max(medians, default=0.0) > _MOST_CLIPPED


def _window(values: NDArray[np.float64]) -> Normalisation:
    """Make a window of the intensities of the labels, also where all lie on one value."""
    low, high = percentiles(values)
    clipped = np.clip(values, low, high)
    mean, std = round(float(clipped.mean()), 4), round(float(clipped.std()), 4)
    low, high = round(low, 4), round(high, 4)
    if low == high:
        high += 1
    return Normalisation(kind="window", low=low, high=high, mean=mean, std=std or 1.0)


def write_plan(config: Config, dataset: Dataset, path: Path) -> None:
    """Write a plan, with a few words on what it is.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    path : Path
    """
    labels = ", ".join(label.name for label in dataset.labels)
    patients = describe_patients(dataset.cases)
    text = (
        f"# What volseg planned for {dataset.name or 'this dataset'}: {len(dataset.cases)} cases, labels {labels}.\n"
        + (f"# There are {patients}.\n" if patients else "")
        + "# Edit it and train again with --config plan.yaml; slice_size (pixels) and spacing_mm are along the\n"
        "# patient's right-left, front-back and foot-head axes.\n" + config.to_yaml()
    )
    write_text(path, text)
