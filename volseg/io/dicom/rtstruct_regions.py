"""Voxels of a structure on a grid, from its closed contours.

A contour stands for a slab of the patient that reaches half way to the contours above and below it. So a slice takes
the contours of the plane nearest to it, whatever the position and density of the planes. No contour is lost if the
planes lie half way between slices, and no slice if the planes are further apart than slices. At the ends of a structure
and beside missing planes, a plane reaches half the usual distance between planes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid
from volseg.io.dicom.contours import Mask, fill_contours, fill_even_odd
from volseg.io.dicom.rtstruct_file import Roi, count

# Tolerance of a contour from its plane, and of its plane from that of the slice, in spacings between slices.
_FLAT, _ON_SLICE = 0.1, 0.02
# Planes half way between slices belong to the upper one, even with rounding errors: so this is not a round number.
_UP = 0.017
# Distances within this fraction are the same step; planes up to this many steps apart have no missing plane between.
_SAME, _NEIGHBOURS = 0.1, 1.5
# Contours further apart than this do not fill the space between them.
_FARTHEST_STEP_MM = 10.5


class Drawing(NamedTuple):
    """Flat contours as (is XOR, (P, 3) mm RAS+), the voxel axis across them, and their heights along it."""

    axis: int
    contours: list[tuple[bool, Float]]
    heights: Float
    left_out: Counter[str]
    odd: Counter[str]


class Region(NamedTuple):
    """A structure on a grid: (rows, columns) masks of slices across one axis, and remarks for the user."""

    axis: int
    masks: dict[int, Mask]
    remarks: list[str]

    def planes(self, layer: NDArray[Any]) -> list[tuple[NDArray[Any], Mask]]:
        """Yield the slices of an (I, J, K) array with the structure, each with its mask."""
        slices = np.moveaxis(layer, self.axis, 0)
        return [(slices[k].T, mask) for k, mask in self.masks.items()]


def lay_out(roi: Roi, grid: Grid) -> Drawing:
    """Find the slices that a structure was drawn along.

    Contours across the slices are left out; if they are the majority, all contours are.

    Parameters
    ----------
    roi : Roi
        The structure.
    grid : Grid
        The grid of the voxels.
    """
    left_out = roi.left_out.copy()
    outlines = _outlines(roi.contours, grid)
    extents = np.zeros((len(outlines), 3))
    means = np.zeros((len(outlines), 3))
    for n, outline in enumerate(outlines):
        extents[n] = np.ptp(outline, axis=0)
        means[n] = outline.mean(axis=0)
    flat = extents <= _FLAT
    axis = max(range(3), key=lambda a: (flat[:, a].sum(), -extents[:, a].max(initial=0)))
    kept = np.flatnonzero(flat[:, axis])
    across = len(outlines) - len(kept)
    if across:
        leaves = extents[:, axis].max() * grid.spacing[axis]
        left_out[f"across the slices (by up to {leaves:.3g} mm; give the image that it was drawn on)"] = across
    # If a structure was drawn on other slices, small contours may be parallel to these by chance.
    if 2 * len(kept) < len(outlines):
        kept = kept[:0]
    return Drawing(axis, [roi.contours[n] for n in kept], means[kept, axis], left_out, roi.odd)


def _outlines(contours: Sequence[tuple[bool, Float]], grid: Grid) -> list[Float]:
    """Convert contours to voxel coordinates."""
    if not contours:
        return []
    points = [points for _, points in contours]
    ends = np.cumsum(list(map(len, points)))[:-1]
    # All at once, as there may be thousands of small ones.
    return np.split(grid.to_voxel(np.concatenate(points)), ends)


def step_of(drawing: Drawing, grid: Grid) -> float | None:
    """Return the distance between the planes of a structure, in slices, if it is the same for most of them.

    Also None if contours were left out, as their planes are unknown.
    """
    gaps = np.sort(np.diff(_planes(drawing.heights)))
    if len(gaps) < 2 or drawing.left_out:
        return None
    step = float(gaps[(len(gaps) - 1) // 2])
    alike = np.count_nonzero(np.abs(gaps - step) <= _SAME * step)
    is_usual = 2 * alike > len(gaps) and step * grid.spacing[drawing.axis] <= _FARTHEST_STEP_MM
    return step if is_usual else None


def usual_step(drawings: Sequence[Drawing], grid: Grid) -> float:
    """Return the smallest regular distance between planes of a structure in a file, in slices; 1 by default.

    Parameters
    ----------
    drawings : sequence of Drawing
        All structures of the file.
    grid : Grid
        The grid of the drawings.
    """
    steps = []
    for drawing in drawings:
        step = step_of(drawing, grid)
        if step:
            steps.append(step)
    return min(steps, default=1.0)


def kinds(counts: Counter[str]) -> str:
    """Describe the number of contours of each kind.

    Parameters
    ----------
    counts : Counter of str
        Number of contours of each kind.
    """
    texts = []
    for kind, number in counts.items():
        texts.append(f"{count(number, 'contour')} {kind}")
    return ", ".join(texts)


def fill(drawing: Drawing, grid: Grid, usual: float) -> Region:
    """Find the pixels inside the contours on every slice that takes them.

    Parameters
    ----------
    drawing : Drawing
        The contours on the grid.
    grid : Grid
        The grid of the masks.
    usual : float
        Distance between planes, in slices, in other structures of the file; used for a structure without its own.
    """
    size = grid.shape[drawing.axis]
    own = step_of(drawing, grid)
    if own is None:
        own = max(1.0, min([usual, *np.diff(_planes(drawing.heights))]))
    slices = _slices(drawing.heights, size, own)
    columns, rows = np.delete(grid.shape, drawing.axis).tolist()
    outlines = _outlines(drawing.contours, grid)
    masks: dict[int, Mask] = {}
    drawn: dict[int, Mask] = {}
    for k, members in slices.items():
        first = members[0]
        if first not in drawn:
            flat, paint = [], fill_contours
            for n in members:
                flat.append(np.delete(outlines[n], drawing.axis, axis=1))
                if drawing.contours[n][0]:
                    paint = fill_even_odd
            drawn[first] = paint(flat, (rows, columns))
        masks[k] = drawn[first]
    return Region(drawing.axis, masks, _remarks(drawing, slices, masks, size))


def _planes(heights: Float) -> Float:
    """Return the heights of the planes of contours, ascending; among nearly equal ones, the lowest."""
    planes: list[float] = []
    for height in np.sort(heights).tolist():
        if not planes or height - planes[-1] > _ON_SLICE:
            planes.append(height)
    return np.array(planes)


def _slices(heights: Float, size: int, step: float) -> dict[int, list[int]]:
    """Return the contours of each slice: those of its nearest plane, if that reaches it."""
    if not len(heights):
        return {}
    planes = _planes(heights)
    owners = np.searchsorted(planes, heights, side="right") - 1
    members = np.split(np.argsort(owners, kind="stable"), np.cumsum(np.bincount(owners))[:-1])
    slices = {}
    for k, plane in _pairs(planes + _UP, size, step):
        slices[k] = members[plane].tolist()
    return slices


def _pairs(planes: Float, size: int, step: float) -> list[tuple[int, int]]:
    """Return the slices with contours, each with the number of its plane."""
    steps = np.concatenate([[0.0], np.cumsum(np.rint(np.diff(planes)))])
    if abs(step - 1) <= _ON_SLICE and np.ptp(planes - steps) <= _ON_SLICE:
        # Planes as far apart as slices get one slice each; rounding of both ends could make it one more or less.
        places = np.floor((planes - steps).mean() + 0.5) + steps
        return [(int(place), plane) for plane, place in enumerate(places) if 0 <= place < size]
    low, high = np.clip([planes[0] - step / 2, planes[-1] + step / 2], -1, size)
    slices = np.arange(max(int(np.ceil(low)), 0), min(int(np.floor(high)), size - 1) + 1)
    above = np.searchsorted(planes, slices).clip(0, len(planes) - 1)
    below = (np.searchsorted(planes, slices, side="right") - 1).clip(0)
    nearest = np.where(slices - planes[below] <= planes[above] - slices, below, above)
    between = (planes[below] <= slices) & (slices <= planes[above])
    joined = between & (planes[above] - planes[below] <= _NEIGHBOURS * max(step, 1.0))
    taken = joined | (np.abs(slices - planes[nearest]) <= step / 2)
    pairs = list(zip(slices[taken].tolist(), nearest[taken].tolist(), strict=True))
    if not pairs:
        # A structure that is thinner than a slice and lies between two slices is not lost.
        places = np.floor(planes + 0.5)
        plane = int(np.abs(planes - places).argmin())
        pairs = [(int(places[plane]), plane)] if 0 <= places[plane] < size else []
    return pairs


def _remarks(drawing: Drawing, slices: dict[int, list[int]], masks: dict[int, Mask], size: int) -> list[str]:
    """Describe the contours and slices that were left out, moved or filled."""
    remarks = []
    for kind, number in drawing.left_out.items():
        remarks.append((number, "contour", f"{kind} left out"))
    for kind, number in drawing.odd.items():
        remarks.append((number, "contour", kind))
    filled = [k for k, mask in masks.items() if mask.any()]
    empty = max(filled) - min(filled) + 1 - len(filled) if filled else 0
    planes = set(map(tuple, slices.values()))
    outside, between, moved = _off_slices(drawing.heights, slices, size)
    remarks += [
        (outside, "contour", "outside the image left out"),
        (between, "contour", "between slices left out, as no slice is near enough"),
        (moved, "contour", "between slices put on the nearest"),
        (len(slices) - len(planes), "slice", "between contours filled by the nearest one"),
        (empty, "slice", "between its first and last without a contour left empty"),
    ]
    texts = []
    for number, what, text in remarks:
        if number:
            texts.append(f"{count(number, what)} {text}")
    if len(drawing.heights) and not filled:
        texts.append("no voxel centre lies inside its contours")
    return texts


def _off_slices(heights: Float, slices: dict[int, list[int]], size: int) -> tuple[int, int, int]:
    """Count contours outside the image, contours without a slice, and contours away from their slice."""
    used: set[int] = set().union(*slices.values())
    nearest = np.floor(heights + _UP + 0.5)
    outside, between, moved = 0, 0, 0
    for n, height in enumerate(heights):
        if n in used:
            moved += int(abs(height - nearest[n]) > _ON_SLICE)
        elif 0 <= nearest[n] < size:
            between += 1
        else:
            outside += 1
    return outside, between, moved
