"""Label maps and scans of noise are refused: their surface would take gigabytes and minutes, and show nothing.

Noise is recognised by its number of outer faces: faces of voxels towards voxels of another value. A body of 100 organs
has some 10 million, its largest label 4 million, and far less than one for each voxel. Noise that labels every second
voxel has three for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import LabelMap
from volseg.errors import InputError

# Making a surface from this many outer faces takes some 2.5 GB of memory.
MOST_FACES_OF_ONE = 8_000_000
_MOST_FACES = 3 * MOST_FACES_OF_ONE
# Thin shells have as many faces for each voxel as noise, but fewer in total.
_FACES_OF_SHELLS = 3_000_000
_MOST_PER_VOXEL = 2.5
_REMEDY = "remove its specks and holes, or leave it out (--only)"


def check_no_noise(labels: LabelMap, *, each: bool = True) -> None:
    """Refuse a label map whose surfaces are those of noise.

    Parameters
    ----------
    labels : LabelMap
    each : bool
        Also refuse the map if a single label has too many faces.

    Raises
    ------
    InputError
        It has too many outer faces: in total, for each voxel, or in one label.
    """
    faces = count_faces(labels.array, most=_MOST_FACES)
    if reason := _reason(sum(faces.values()), labels.array):
        raise InputError(
            f"the label map has {reason}; check that the file is a label map, smooth it, or choose labels (--only)"
        )
    for label in labels.labels if each else ():
        if (count := faces.get(label.value, 0)) > MOST_FACES_OF_ONE:
            raise InputError(
                f"label {label.name!r} has {_millions(count)} outer faces of voxels, as noise has; expected at most "
                f"{_millions(MOST_FACES_OF_ONE)}; {_REMEDY}"
            )


def check_no_noise_inside(inside: NDArray[np.bool_], threshold: float) -> None:
    """Refuse a threshold at which the surface of a scan is that of its noise.

    Parameters
    ----------
    inside : (I, J, K) bool
        The voxels above the threshold.
    threshold : float
        For messages.

    Raises
    ------
    InputError
        The voxels have too many outer faces.
    """
    mask = inside.view(np.uint8)
    if reason := _reason(count_faces(mask, most=_MOST_FACES).get(1, 0), mask):
        raise InputError(f"threshold {threshold:g} gives {reason}; choose another, or smooth the scan first")


def count_faces(array: NDArray[Any], *, most: float = np.inf) -> dict[int, int]:
    """Count the outer faces of the voxels of each value except 0.

    Parameters
    ----------
    array : (I, J, K) integers
    most : float
        Counting ends soon after this total.

    Returns
    -------
    dict of int to int
        By value. Faces at the edge of the array count too.
    """
    counts: dict[int, int] = {}
    for values in _faces(array):
        for value, count in _histogram(values):
            counts[value] = counts.get(value, 0) + count
        if sum(counts.values()) > most:
            break
    return counts


def _faces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the values on this side of each face, slab by slab along memory."""
    slabs = np.moveaxis(array, int(np.argmax(np.abs(array.strides))), 0)
    before = np.zeros_like(slabs[0])
    for slab in slabs:
        differ = slab != before
        found = [before[differ], slab[differ]]
        for lines in (slab, slab.T):
            differ = lines[1:] != lines[:-1]
            found += [lines[:-1][differ], lines[1:][differ], lines[0], lines[-1]]
        yield np.concatenate(found)
        before = slab
    yield before.ravel()


def _histogram(values: NDArray[Any]) -> list[tuple[int, int]]:
    """Return the values other than 0, and how often each occurs."""
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:  # counting is ten times as fast as sorting
        counts = np.bincount(values)
        found = np.flatnonzero(counts)
        counts = counts[found]
    else:
        found, counts = np.unique(values, return_counts=True)
    some = found != 0
    return list(zip(found[some].tolist(), counts[some].tolist(), strict=True))


def _reason(faces: int, array: NDArray[Any]) -> str:
    """Return why this number of faces means noise, or an empty text."""
    if faces > _MOST_FACES:
        return f"more than {_millions(_MOST_FACES)} outer faces of voxels, as noise has"
    if faces > _FACES_OF_SHELLS and faces > _MOST_PER_VOXEL * (voxels := int(np.count_nonzero(array))):
        return (
            f"{_millions(faces)} outer faces of voxels, {faces / voxels:.2g} for each of its {_millions(voxels)} "
            f"voxels, as noise has; expected at most {_MOST_PER_VOXEL:g} for each, or {_millions(_FACES_OF_SHELLS)}"
        )
    return ""


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} million"
