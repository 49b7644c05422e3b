"""The largest distance between two points of a set, exactly, without comparing all pairs.

The points are halved repeatedly, and each part gets a box along its own directions. Two parts are skipped if their
boxes allow no distance above the largest found so far (dual-tree search: A. Gray and A. Moore, "N-body problems in
statistical learning", NIPS 13, 2000). The time grows a little faster than the number of points. This holds for balls
too, where every point has one nearly opposite.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float

Pairs = NDArray[np.intp]

_HALVES: Pairs = np.array([(0, 0), (0, 1), (1, 0), (1, 1)], dtype=np.intp)
_IN_A_PART = 16
_PAIRS_AT_ONCE = 20_000
_ROUNDS = 4


class _Parts(NamedTuple):
    """Points (N, m, 3) in N parts of m, each with its box and the radius of the points around the box's middle."""

    points: Float
    middle: Float  # (N, 3)
    axes: Float  # (N, 3, 3), unit vectors as columns
    half: Float  # (N, 3), half the edges of the box along the axes
    radius: Float  # (N,)


def longest_distance(points: Float, *, at_least: float = 0.0) -> float:
    """Return the largest distance between two points.

    Parameters
    ----------
    points : (N, 3) float
        mm.
    at_least : float
        mm; returned if no two points are further apart.
    """
    if len(points) < 2:
        return at_least
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    best, reach = at_least, np.sqrt((points**2).sum(axis=1))
    start = points[reach.argmax()]
    for _ in range(_ROUNDS):
        away = np.sqrt(((points - start) ** 2).sum(axis=1))
        if away.max() <= best:
            break
        best, start = float(away.max()), points[away.argmax()]
    # Points nearer to the middle than this are on no longer distance.
    points = points[reach >= best - reach.max()]
    return _search(_halve(points), best) if len(points) > 1 else best


def longest_within(sets: Iterable[Float]) -> float:
    """Return the largest distance between two points of the same set; 0 without points.

    Parameters
    ----------
    sets : iterable of (N, 3) float
        mm.
    """
    found, diagonals = [], []
    for points in sets:
        if len(points):
            found.append(points)
            diagonals.append(float(np.linalg.norm(np.ptp(points, axis=0))))
    best = 0.0
    for n in np.argsort(diagonals)[::-1]:
        if diagonals[n] > best:
            best = longest_distance(found[n], at_least=best)
    return best


def _halve(points: Float) -> list[_Parts]:
    """Halve points across their longest extent until few are left in a part; return the parts of every step."""
    steps = max(0, int(np.ceil(np.log2(len(points) / _IN_A_PART))))
    # Some points are repeated, so that all parts have the same size.
    parts = np.resize(points, (1, -(-len(points) // 2**steps) * 2**steps, 3))
    for _ in range(steps):
        longest = np.ptp(parts, axis=1).argmax(axis=1)
        along = np.take_along_axis(parts, longest[:, None, None], axis=2)[..., 0]
        order = np.argpartition(along, along.shape[1] // 2, axis=1)
        parts = np.take_along_axis(parts, order[..., None], axis=1).reshape(2 * len(parts), -1, 3)
    return [_boxes(parts.reshape(2**step, -1, 3)) for step in range(steps + 1)]


def _boxes(points: Float) -> _Parts:
    mean = points.mean(axis=1)
    offsets = points - mean[:, None]
    axes = np.linalg.eigh(offsets.swapaxes(1, 2) @ offsets)[1]
    turned = offsets @ axes
    low, high = turned.min(axis=1), turned.max(axis=1)
    centre = (low + high) / 2
    radius = np.sqrt(((turned - centre[:, None]) ** 2).sum(axis=2).max(axis=1))
    return _Parts(points, mean + np.einsum("nij,nj->ni", axes, centre), axes, (high - low) / 2, radius)


def _search(steps: list[_Parts], best: float) -> float:
    """Go down from pairs of large parts to pairs of small ones; pairs that allow the largest distances come first."""
    waiting: list[tuple[int, Pairs]] = [(0, np.zeros((1, 2), dtype=np.intp))]
    while waiting:
        step, pairs = waiting.pop()
        parts = steps[step]
        first, second = pairs.T
        best = max(best, _largest(parts.points[first, :1], parts.points[second, :1]))
        bounds = _bounds(parts, first, second)
        pairs = pairs[np.argsort(bounds)[np.count_nonzero(bounds <= best) :]]
        if step + 1 < len(steps):
            halves = (2 * pairs[:, None] + _HALVES).reshape(-1, 2)
            halves = halves[halves[:, 0] <= halves[:, 1]]
            for n in range(0, len(halves), _PAIRS_AT_ONCE):
                waiting.append((step + 1, halves[n : n + _PAIRS_AT_ONCE]))
        else:
            for n in range(0, len(pairs), _PAIRS_AT_ONCE // _IN_A_PART):
                first, second = pairs[n : n + _PAIRS_AT_ONCE // _IN_A_PART].T
                best = max(best, _largest(parts.points[first], parts.points[second]))
    return best


def _bounds(parts: _Parts, first: NDArray[np.intp], second: NDArray[np.intp]) -> Float:
    """Return upper bounds of the distances between the points of two parts.

    Along the line between the two middles the boxes give the bound, and across it the radii.
    """
    step = parts.middle[second] - parts.middle[first]
    between = np.sqrt((step**2).sum(axis=1))
    direction = step / np.where(between > 0, between, 1)[:, None]
    along = between.copy()
    for part in (first, second):
        along += (np.abs(np.einsum("ni,nij->nj", direction, parts.axes[part])) * parts.half[part]).sum(axis=1)
    radii = parts.radius[first] + parts.radius[second]
    return np.asarray(np.minimum(np.sqrt(along**2 + radii**2), between + radii))


def _largest(first: Float, second: Float) -> float:
    """Return the largest distance between points of (N, m, 3) parts, each with its counterpart; 0 without parts."""
    squares = ((first[:, :, None] - second[:, None]) ** 2).sum(axis=-1)
    return float(np.sqrt(squares.max(initial=0)))
