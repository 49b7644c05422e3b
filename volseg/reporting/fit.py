"""Whether labels lie where the scan has edges, and on tissue of the right density, whatever their headers say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.core.anatomy import find_structure
from volseg.core.intensity import percentiles, sample
from volseg.core.labelmap import LabelMap, label_boxes

_MOST_PAIRS = 20_000
_SHIFTS_MM = (8.0, 16.0, 32.0)
_LEAST_SHIFTS = 4
_LEAST_INSIDE = 0.5
_LEAST_VOXELS = 50
# Mean HU over a whole structure, wider than disease and contrast agent make it: by the names of `volseg.core.anatomy`.
_KINDS = {
    "bone": "bone skull mandible sacrum sternum clavicle scapula humerus hip femur patella tibia spine rib vertebra",
    "lung": "lung",
    "soft tissue": "liver spleen kidney pancreas heart aorta muscle gluteus iliopsoas prostate brain thyroid bladder",
}
_NOT_WHOLE = {"tumor", "cancer", "nodule", "cyst", "artery", "vein", "vessel", "lesion", "disc"}
_LIMITS_HU = {"bone": (60.0, 2000.0), "lung": (-1000.0, -350.0), "soft tissue": (-60.0, 400.0)}


@dataclass(frozen=True)
class Contrast:
    """How much a scan changes across the edges of labels, and across the same edges laid elsewhere.

    Parameters
    ----------
    here : float
        Mean absolute difference between the two voxels of each pair that an edge divides; unit of the scan.
    elsewhere : float
        The same after shifts of 8, 16 and 32 mm along each axis; median over these.
    """

    here: float
    elsewhere: float


@dataclass(frozen=True)
class Tissue:
    """The mean density of a label in CT, and what its kind of tissue has.

    Parameters
    ----------
    name : str
        Of the label.
    kind : {"bone", "lung", "soft tissue"}
    mean_hu : float
    limits_hu : (low, high)
    """

    name: str
    kind: str
    mean_hu: float
    limits_hu: tuple[float, float]

    @property
    def fits(self) -> bool:
        """Whether the mean lies within the limits."""
        low, high = self.limits_hu
        return low <= self.mean_hu <= high


def edge_contrast(
    array: NDArray[np.generic], values: NDArray[np.generic], spacing: tuple[float, ...]
) -> Contrast | None:
    """Compare how much a scan changes across the edges of its labels with the same edges laid elsewhere.

    Labels that lie right have edges where the scan has some. Labels that lie elsewhere have about as much contrast as
    shifted ones, unless they meet edges of something else there.

    Parameters
    ----------
    array : (I, J, K)
        The scan.
    values : (I, J, K) integers
        The labels.
    spacing : (mm, mm, mm)

    Returns
    -------
    Contrast or None
        None where nothing can be said: no edges, or no room to shift them.
    """
    first, second = _pairs(values)
    if not len(first):
        return None
    drawn = sample(array)
    low, high = percentiles(drawn[np.isfinite(drawn)]) if np.isfinite(drawn).any() else (0.0, 0.0)
    here = _difference(array, first, second, (low, high))
    elsewhere = []
    for shift in _shifts(spacing):
        last = np.array(array.shape) - 1
        inside = ((first + shift >= 0) & (second + shift <= last)).all(axis=1)
        if inside.mean() >= _LEAST_INSIDE:
            elsewhere.append(_difference(array, first[inside] + shift, second[inside] + shift, (low, high)))
    if len(elsewhere) < _LEAST_SHIFTS or high <= low:
        return None
    return Contrast(here, float(np.median(elsewhere)))


def _pairs(values: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the voxels in front of and behind each edge, (N, 3) each; evenly spread ones where there are many."""
    firsts, seconds = [], []
    for axis in range(3):
        along = np.moveaxis(values, axis, 0)
        places = np.argwhere(np.moveaxis(along[1:] != along[:-1], 0, axis))
        firsts.append(places)
        seconds.append(places + np.eye(3, dtype=np.int64)[axis])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    step = max(1, len(first) // _MOST_PAIRS)
    return first[::step], second[::step]


def _shifts(spacing: tuple[float, ...]) -> Iterator[NDArray[np.int64]]:
    for mm in _SHIFTS_MM:
        for axis in range(3):
            for sign in (-1, 1):
                shift = np.zeros(3, dtype=np.int64)
                shift[axis] = sign * max(1, round(mm / spacing[axis]))
                yield shift


def _difference(
    array: NDArray[np.generic], first: NDArray[np.int64], second: NDArray[np.int64], limits: tuple[float, float]
) -> float:
    one, other = (np.clip(array[tuple(places.T)].astype(np.float64), *limits) for places in (first, second))
    return float(np.nanmean(np.abs(one - other)))


def tissues(array: NDArray[np.generic], labels: LabelMap) -> tuple[Tissue, ...]:
    """Return the mean density of the labels whose kind of tissue is known by their names.

    Parameters
    ----------
    array : (I, J, K)
        A CT in HU, on the voxels of the labels.
    labels : LabelMap
    """
    boxes, found = label_boxes(labels.array), []
    for label in labels.labels:
        kind, box = _kind(label.name), boxes.get(label.value)
        if kind is None or box is None:
            continue
        inside = array[box][labels.array[box] == label.value]
        if inside.size >= _LEAST_VOXELS:
            found.append(Tissue(label.name, kind, float(np.nanmean(inside)), _LIMITS_HU[kind]))
    return tuple(found)


def _kind(name: str) -> str | None:
    """Return the kind of tissue of a structure, if its name says so."""
    structure = find_structure(name)
    words = set(structure.name.split()) if structure is not None else set()
    if words & _NOT_WHOLE:
        return None
    return next((kind for kind, known in _KINDS.items() if words & set(known.split())), None)
