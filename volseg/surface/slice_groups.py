"""Which outlines of neighbouring slices belong together, and how far they lie apart in the plane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from volseg.core.grid import Float

_EXPLAINED = 0.6  # largest share of the difference of two outlines that may be left when one is moved onto the other
_LIKE, _LIKE_SLACK = 0.5, 0.5  # share of a step, and pixels, by which the step in the next pair of slices may differ
_FEW = 64  # outlines of at most this many pixels are moved outwards to enclose as much as the pixels
_MOST_ROUNDING = 0.2  # largest such move, pixels
_FINER = 5  # the pixels on which such a move is measured are smaller by this factor
_TOUCHING = np.ones((3, 3), dtype=np.bool_)

Pieces = frozenset[int]
Ends = tuple[bool, bool]


def moved(image: Float, by: Float) -> Float:
    """Move an image by fractions of pixels; its edge values continue beyond its edges.

    Parameters
    ----------
    image : (I, J) float
    by : (2,) float
        Pixels.
    """
    return np.asarray(ndimage.shift(image, by, order=1, mode="nearest")) if by.any() else image


@dataclass(frozen=True, eq=False)
class Section:
    """Outlines of one slice that belong together: their pixels `mask` (I, J), `spacing` in mm."""

    mask: NDArray[np.bool_]
    spacing: tuple[float, float]

    @cached_property
    def distance(self) -> Float:
        """(I, J) distance in mm to the outlines, which run between pixels; positive inside."""
        half = min(self.spacing) / 2
        inside = ndimage.distance_transform_edt(self.mask, self.spacing) - half * self.mask
        outside = ndimage.distance_transform_edt(~self.mask, self.spacing) - half * ~self.mask
        distance = np.asarray(inside - outside)
        return distance + _rounding(distance, self.area, self.spacing) if self.area <= _FEW else distance

    @cached_property
    def size_mm(self) -> float:
        """Largest distance inside."""
        return float(self.distance.max())

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def centre(self) -> Float:
        """(2,) centroid, pixels."""
        return np.array(ndimage.center_of_mass(self.mask))


@dataclass(frozen=True)
class Group:
    """Pieces of a slice and of the next one that belong together, by number; one side may be empty."""

    below: Pieces
    above: Pieces


class Stack:
    """The slices of one body, each cut into connected pieces, and the links between those of neighbouring slices.

    Parameters
    ----------
    mask : (I, J, S) bool
    spacing : (float, float, float)
        Of rows, columns and slices, mm.
    cut : (bool, bool)
        Whether the scan ends with the first, and with the last slice.
    """

    def __init__(
        self, mask: NDArray[np.bool_], spacing: tuple[float, float, float], cut: Ends = (False, False)
    ) -> None:
        self.mask, self.cut = mask, cut
        self.pixel_mm, self.slice_mm = spacing[:2], spacing[2]
        self.count = mask.shape[2]
        self._pieces, self._numbers = [], []
        for n in range(self.count):
            pieces, count = ndimage.label(mask[:, :, n], _TOUCHING)
            self._pieces.append(pieces)
            self._numbers.append(count)
        self._links = [_linked(below, above) for below, above in pairwise(self._pieces)]
        self._sections: dict[tuple[int, Pieces], Section] = {}

    def is_cut(self, number: int, step: int) -> bool:
        """Whether the scan ends with a slice, upwards (step 1) or downwards (-1)."""
        return self.cut[step > 0] and number == (self.count - 1 if step > 0 else 0)

    @cached_property
    def inside_box(self) -> Float:
        """(I, J) distance in mm to the edges of the box of all pixels of the body, positive inside."""
        edges = []
        for axis in range(2):
            used = np.flatnonzero(self.mask.any(axis=(1 - axis, 2)))
            along = np.arange(self.mask.shape[axis])
            edges.append(np.minimum(along - used[0] + 0.5, used[-1] + 0.5 - along) * self.pixel_mm[axis])
        return np.asarray(np.minimum.outer(*edges))

    def section(self, number: int, pieces: Pieces) -> Section:
        """Return the outlines of some pieces of a slice."""
        key = number, pieces
        if key not in self._sections:
            # Callers go through the slices in order, and ask for at most two before and behind.
            self._sections = {place: found for place, found in self._sections.items() if abs(place[0] - number) < 5}
            self._sections[key] = Section(np.isin(self._pieces[number], list(pieces)), self.pixel_mm)
        return self._sections[key]

    def groups(self, first: int) -> Iterator[Group]:
        """Yield the groups of linked pieces of a slice and the next; for slice -1 and the last one side is empty."""
        below = self._numbers[first] if first >= 0 else 0
        above = self._numbers[first + 1] if first + 1 < self.count else 0
        links = self._links[first] if 0 <= first < self.count - 1 else np.empty((0, 2), dtype=np.int64)
        rows, columns = links[:, 0] - 1, links[:, 1] - 1 + below
        graph = coo_array((np.ones(len(links)), (rows, columns)), shape=(below + above,) * 2)
        count, numbers = connected_components(graph, directed=False)
        for n in range(count):
            members = np.flatnonzero(numbers == n)
            lower, upper = members[members < below] + 1, members[members >= below] - below + 1
            yield Group(frozenset(lower.tolist()), frozenset(upper.tolist()))

    def linked(self, number: int, pieces: Pieces, step: int) -> Pieces:
        """Return the pieces of the slice before (step -1) or behind (+1) that are linked with the given pieces."""
        first = number if step > 0 else number - 1
        if not 0 <= first < self.count - 1:
            return frozenset()
        own, other = (0, 1) if step > 0 else (1, 0)
        links = self._links[first]
        return frozenset(links[np.isin(links[:, own], list(pieces)), other].tolist())

    def chain(self, number: int, pieces: Pieces, step: int, most: int) -> list[tuple[int, Pieces]]:
        """Return the slices and pieces that follow the given pieces, slice by slice, `most` slices at most."""
        found: list[tuple[int, Pieces]] = []
        while len(found) < most and (pieces := self.linked(number, pieces, step)):
            number += step
            found.append((number, pieces))
        return found

    @property
    def longest_lean(self) -> float:
        """Largest move of an outline from slice to slice along rows or columns, pixels."""
        longest = 0.0
        for first in range(self.count - 1):
            for group in self.groups(first):
                longest = max(longest, float(np.abs(self.lean(first, group.below, 1)).max()))
        return longest

    def lean(self, number: int, pieces: Pieces, step: int) -> Float:
        """(2,) pixels by which an oblique body lies further in the next slice (or the one before); zero for others.

        A body is oblique if its outline, moved onto the next, covers most of it, or if a neighbouring pair of slices
        shows about the same step.
        """
        still = np.zeros(2)
        by = self._step(number, pieces, step)
        if by is None:
            return still
        other = self.linked(number, pieces, step)
        one, two = self.section(number, pieces), self.section(number + step, other)
        shifted = ndimage.shift(one.mask, np.round(by), order=0, prefilter=False)
        # Pixels that are moved out of the array count as uncovered.
        before = one.area + two.area - 2 * np.count_nonzero(one.mask & two.mask)
        after = one.area + two.area - 2 * np.count_nonzero(shifted & two.mask)
        if after > before:
            return still
        if after <= _EXPLAINED * before:
            return by
        back, onwards = self._step(number, pieces, -step), self._step(number + step, other, step)
        return by if _alike(by, onwards) or (back is not None and _alike(by, -back)) else still

    def _step(self, number: int, pieces: Pieces, step: int) -> Float | None:
        """(2,) pixels from the centre of a piece to that of its only linked piece; None unless it is one to one."""
        other = self.linked(number, pieces, step)
        if len(pieces) != 1 or len(other) != 1 or self.linked(number + step, other, -step) != pieces:
            return None
        return self.section(number + step, other).centre - self.section(number, pieces).centre


def _rounding(distance: Float, area: int, spacing: tuple[float, float]) -> float:
    """Return how far (mm) the outline of few pixels must be moved outwards to enclose as much as the pixels.

    The outline runs between their centres and those around, so it cuts their corners.
    """
    inside = distance > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    around = distance[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    finer = ndimage.zoom(around, _FINER, order=1, mode="nearest", grid_mode=True)
    wanted = area * _FINER**2
    place = max(finer.size - wanted, 0)
    return float(np.clip(-np.partition(finer.ravel(), place)[place], 0, _MOST_ROUNDING * min(spacing)))


def _linked(below: NDArray[np.integer], above: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N, 2) numbers of pieces of two slices that overlap, or touch by an edge or a corner."""
    height, width = below.shape
    around = np.pad(below.astype(np.int64), 1)
    many = int(above.max(initial=0)) + 1
    found = []
    for row, column in product(range(3), range(3)):
        near = around[row : row + height, column : column + width]
        both = (near > 0) & (above > 0)
        pairs = near[both] * many + above[both]
        found.append(pairs[np.diff(pairs, prepend=-1) != 0])  # most pixels have the pair of the one before them
    return np.stack(np.divmod(np.unique(np.concatenate(found)), many), axis=1)


def _alike(step: Float, other: Float | None) -> bool:
    """Whether two steps, in pixels, are about the same."""
    if other is None:
        return False
    longer = max(float(np.linalg.norm(step)), float(np.linalg.norm(other)))
    return bool(np.linalg.norm(other - step) <= _LIKE * longer + _LIKE_SLACK)
