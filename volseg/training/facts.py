"""What planning needs to know of each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.content import content_box, crop, crop_labels
from volseg.core.intensity import extremes, sample
from volseg.core.labelmap import LabelMap
from volseg.core.resample import Reorientation
from volseg.core.volume import Volume
from volseg.datasets import Case, read_images, read_reference
from volseg.training.kept_scans import KeptScans

_FOREGROUND_SAMPLES = 10_000  # voxels a case


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What planning needs to know of one case; axes in RAS order.

    Parameters
    ----------
    shape : (3,) int
    spacing : (3,) float, mm
    foreground : tuple of (N,) arrays
        Some values of each channel on the labels.
    lowest : tuple of float
        Smallest value of each channel.
    extreme : tuple of dict of int to float
        For each channel, the share of each label (by value) that is darker or brighter than the scan's `extremes`.
    inside : CaseFacts, optional
        The same of the scan without its empty borders; None if it has none.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    foreground: tuple[NDArray[np.float64], ...]
    lowest: tuple[float, ...]
    extreme: tuple[dict[int, float], ...]
    inside: CaseFacts | None = None


def find_facts(case: Case, scans: KeptScans | None = None) -> CaseFacts:
    """Read a case and note what planning needs of it.

    Parameters
    ----------
    case : Case
    scans : KeptScans, optional
        Keeps the scan until its slices are prepared.
    """
    volumes = read_images(case) if scans is None else scans.read_and_keep(case)
    labels = read_reference(case)
    facts = _facts(volumes, labels)
    box = content_box([volume.array for volume in volumes], labels.array)
    if labels.array[box].shape == labels.array.shape:
        return facts
    inside = _facts([crop(volume, box) for volume in volumes], crop_labels(labels, box))
    # The lowest value tells CT, also where only a padding has that of air.
    return replace(facts, inside=replace(inside, lowest=facts.lowest))


def _facts(volumes: Sequence[Volume], labels: LabelMap) -> CaseFacts:
    reorientation = Reorientation.between(labels.grid, "RAS")
    grid = reorientation.grid(labels.grid)
    foreground = labels.array != 0
    names = [label.value for label in labels.labels]
    numbers = np.searchsorted(names, labels.array[foreground])
    values, lowest, extreme = [], [], []
    for volume in volumes:
        labelled = volume.array[foreground]
        values.append(sample(labelled, count=_FOREGROUND_SAMPLES))
        lowest.append(float(volume.array.min()))
        shares = _extreme_shares(volume.array, labelled, numbers)
        extreme.append({names[number]: share for number, share in shares.items()})
    return CaseFacts(grid.shape, grid.spacing, tuple(values), tuple(lowest), tuple(extreme))


def _extreme_shares(scan: NDArray[Any], values: NDArray[Any], numbers: NDArray[np.int64]) -> dict[int, float]:
    low, high = extremes(sample(scan))
    counts = np.bincount(numbers)
    outside = np.bincount(numbers, weights=(values < low) | (values > high))
    return {int(n): float(outside[n] / counts[n]) for n in np.flatnonzero(counts)}
