"""Which outlines of neighbouring slices belong together, and how they lie against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from volseg.core.grid import Float

_EXPLAINED = 0.6  # of the difference of two outlines at most left when one is moved onto the other
_LIKE, _LIKE_SLACK = 0.5, 0.5  # share of a step, and pixels, by which the step in the next pair of slices may differ
_FEW = 64  # pixels of an outline that is moved to enclose as much as they do,
_MOST_ROUNDING = 0.2  # pixels, at most by so much,
_FINER = 5  # measured on pixels so much smaller
_TOUCHING = np.ones((3, 3), dtype=np.bool_)

Pieces = frozenset[int]
Ends = tuple[bool, bool]


def moved(image: Float, by: Float) -> Float:
    """Move an image by fractions of pixels; beyond its edges it goes on as there."""
    return np.asarray(ndimage.shift(image, by, order=1, mode="nearest")) if by.any() else image


@dataclass(frozen=True, eq=False)
class Section:
    """Outlines of one slice that belong together: their pixels `mask` (I, J), `spacing` in mm."""

    mask: NDArray[np.bool_]
    spacing: tuple[float, float]

    @cached_property
    def distance(self) -> Float:
        """(I, J) distance in mm to the outlines between the pixels, positive inside."""
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
        Of the pixels and across slices, mm.
    cut : (bool, bool)
        Whether the scan ends with the first, and with the last slice.
    """

    def __init__(
        self, mask: NDArray[np.bool_], spacing: tuple[float, float, float], cut: Ends = (False, False)
    ) -> None:
        self.mask, self.cut = mask, cut
        self.pixel_mm, self.slice_mm = spacing[:2], spacing[2]
        self.count = mask.shape[2]
        labelled = [ndimage.label(mask[:, :, n], _TOUCHING) for n in range(self.count)]
        self._pieces = [pieces for pieces, _ in labelled]
        self._numbers = [count for _, count in labelled]
        self._links = [_linked(a, b) for a, b in zip(self._pieces[:-1], self._pieces[1:], strict=True)]
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
            # Slices are gone through in order, and at most two before and behind are asked for.
            self._sections = {place: found for place, found in self._sections.items() if abs(place[0] - number) < 5}
            self._sections[key] = Section(np.isin(self._pieces[number], list(pieces)), self.pixel_mm)
        return self._sections[key]

    def groups(self, first: int) -> Iterator[Group]:
        """Cut a slice and the next one into groups of pieces that are linked; -1 and the last have one side only."""
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
        """Return the pieces of the slice before (step -1) or behind (+1) that are linked with some pieces."""
        first = number if step > 0 else number - 1
        if not 0 <= first < self.count - 1:
            return frozenset()
        own, other = (0, 1) if step > 0 else (1, 0)
        links = self._links[first]
        return frozenset(links[np.isin(links[:, own], list(pieces)), other].tolist())

    def chain(self, number: int, pieces: Pieces, step: int, most: int) -> list[tuple[int, Pieces]]:
        """Return slices and pieces that follow on some pieces, one slice after the other, `most` at most."""
        found: list[tuple[int, Pieces]] = []
        while len(found) < most and (pieces := self.linked(number, pieces, step)):
            number += step
            found.append((number, pieces))
        return found

    @property
    def longest_lean(self) -> float:
        """By how many pixels outlines are moved at most from slice to slice."""
        pairs = ((first, group) for first in range(self.count - 1) for group in self.groups(first))
        return max((float(np.abs(self.lean(first, group.below, 1)).max()) for first, group in pairs), default=0.0)

    def lean(self, number: int, pieces: Pieces, step: int) -> Float:
        """(2,) pixels by which a body that runs obliquely lies further in the next slice (or before), else zero.

        So it does where one outline moved onto the other covers most of it, or where the next pair of slices shows
        about the same step.
        """
        still = np.zeros(2)
        by = self._step(number, pieces, step)
        if by is None:
            return still
        other = self.linked(number, pieces, step)
        one, two = self.section(number, pieces), self.section(number + step, other)
        shifted = ndimage.shift(one.mask, np.round(by), order=0, prefilter=False)
        # What is moved out of the array covers nothing either.
        before, after = (one.area + two.area - 2 * np.count_nonzero(mask & two.mask) for mask in (one.mask, shifted))
        if after > before:
            return still
        if after <= _EXPLAINED * before:
            return by
        back, onwards = self._step(number, pieces, -step), self._step(number + step, other, step)
        return by if _alike(by, onwards) or (back is not None and _alike(by, -back)) else still

    def _step(self, number: int, pieces: Pieces, step: int) -> Float | None:
        """(2,) pixels from the centre of one piece to that of the only one that it is linked with."""
        other = self.linked(number, pieces, step)
        if len(pieces) != 1 or len(other) != 1 or self.linked(number + step, other, -step) != pieces:
            return None
        return np.asarray(self.section(number + step, other).centre - self.section(number, pieces).centre)


def _rounding(distance: Float, area: int, spacing: tuple[float, float]) -> float:
    """Return by how much (mm) the outline of few pixels is to be moved to enclose as much as they do.

    It runs between their centres and those around, so it cuts their corners.
    """
    rows, columns = (slice(max(n[0] - 1, 0), n[-1] + 2) for n in map(np.unique, np.nonzero(distance > 0)))
    finer = ndimage.zoom(distance[rows, columns], _FINER, order=1, mode="nearest", grid_mode=True)
    wanted = area * _FINER**2
    place = max(finer.size - wanted, 0)
    return float(np.clip(-np.partition(finer.ravel(), place)[place], 0, _MOST_ROUNDING * min(spacing)))


def _linked(below: NDArray[np.integer], above: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N, 2) numbers of pieces of two slices that overlap or touch, by an edge or a corner too."""
    height, width = below.shape
    around = np.pad(below, 1)
    found = []
    for row, column in product(range(3), range(3)):
        near = around[row : row + height, column : column + width]
        both = (near > 0) & (above > 0)
        found.append(np.unique(np.stack([near[both], above[both]], axis=1), axis=0))
    return np.unique(np.concatenate(found), axis=0).astype(np.int64)


def _alike(step: Float, other: Float | None) -> bool:
    """Whether two steps, in pixels, are about the same."""
    if other is None:
        return False
    longer = max(float(np.linalg.norm(step)), float(np.linalg.norm(other)))
    return bool(np.linalg.norm(other - step) <= _LIKE * longer + _LIKE_SLACK)
