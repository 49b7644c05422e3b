"""Contours of 2D masks along pixel edges, and back: polygons of (column, row), pixel centres at the integers.

A contour along the edges encloses exactly the pixels. Its area is their number, and every program that tests pixel
centres gets them back. (A contour through the centres of a disc of radius 3 loses a third of the area.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float

Mask = NDArray[np.bool_]
Integers = NDArray[np.intp]
Shape = tuple[int, int]
# Number of the edge that the channel leaves, distance from the start of the edge, points of the way there and back.
_Channel = tuple[int, float, Float]

# A bit for each of the four pixels around a corner.
_SOUTH_WEST, _SOUTH_EAST, _RISING, _FALLING = 4, 8, 6, 9
# Number of outlines that turn at a corner: 0 if the edge is straight, 2 if pixels touch only at the corner.
_TURNS = np.array([0, 1, 1, 0, 1, 0, 2, 1, 1, 2, 0, 1, 0, 1, 1, 0])
# Pixel centres at most this far from a contour, in pixels, lie on it; files round coordinates by as much.
_ON_PATH = 1e-3
# Two contours around the same pixels are one, written twice, if their areas differ by less.
_SAME_AREA = 0.01
# Number of steps along edges in memory at a time.
_CHUNK = 1 << 22


def signed_area(polygon: Float) -> float:
    """Area of a (P, 2) polygon of (column, row), pixels; positive if it turns from the columns to the rows."""
    column, row = (polygon - polygon[:1]).T
    return float(column[:-1] @ row[1:] - row[:-1] @ column[1:]) / 2


def trace_edges(mask: Mask) -> list[Float]:
    """Trace the outlines of a mask along the edges of its pixels.

    Parameters
    ----------
    mask : (rows, columns) bool
        The pixels to outline.

    Returns
    -------
    list of (P, 2) float64
        Closed polygons of (column, row): corners only, all half-integers, the first not repeated. Outer boundaries have
        a positive `signed_area`, holes a negative one; the sum is the number of pixels. Each polygon is simple: if
        pixels touch at a corner, several polygons may pass it, but each only once.

    Notes
    -----
    The corners determine the edges: sorted by rows they pair up into the horizontal edges, sorted by columns into the
    vertical ones (O'Rourke 1988, Uniqueness of orthogonal connect-the-dots).
    """
    padded = np.pad(np.asarray(mask, dtype=np.uint8), 1)
    around = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, :-1] + 8 * padded[1:, 1:]
    places = np.repeat(np.arange(around.size), _TURNS[around.ravel()])
    row, column = np.divmod(places, around.shape[1])
    kind, number = around[row, column], np.arange(places.size)
    # Two outlines at one corner each stay at their own pixel.
    order = np.lexsort((np.where(kind == _RISING, -number, number), row, column))
    along_row, along_column = number ^ 1, np.empty_like(order)
    along_column[order] = order[number ^ 1]
    # A horizontal edge runs east if its pixel is south of it, else west.
    starts = np.where(number % 2 == 0, kind & _SOUTH_EAST != 0, kind & _SOUTH_WEST == 0)
    shared = np.where((kind == _RISING) | (kind == _FALLING), places, -1)
    points = np.column_stack([column, row]) - 0.5
    loops = _walk(np.flatnonzero(starts).tolist(), along_row.tolist(), along_column.tolist(), shared.tolist())
    return [points[loop] for loop in loops]


def _walk(starts: list[int], along_row: list[int], along_column: list[int], shared: list[int]) -> Iterator[list[int]]:
    """Follow the edges from corner to corner; a return to a shared corner closes a loop of its own."""
    done: set[int] = set()
    for corner in starts:
        path: list[int] = []
        passed: dict[int, int] = {}
        while corner not in done:
            done.add(corner)
            for end in (corner, along_row[corner]):
                place = shared[end]
                if place in passed:
                    yield _cut_off(path, passed, passed[place], shared)
                if place >= 0:
                    passed[place] = len(path)
                path.append(end)
            corner = along_column[end]
        if path:
            yield path


def _cut_off(path: list[int], passed: dict[int, int], start: int, shared: list[int]) -> list[int]:
    loop = path[start:]
    del path[start:]
    for corner in loop:
        passed.pop(shared[corner], None)
    return loop


def join_holes(polygons: Sequence[Float]) -> list[Float]:
    """Join every hole to the outline around it by a channel of zero width, so that each polygon is independent.

    Parameters
    ----------
    polygons : sequence of (P, 2) float64
        As `trace_edges` returns them.

    Returns
    -------
    list of (P, 2) float64
        One for each outer boundary, in order. The channels run west along pixel edges, so no pixel centre is on one.
    """
    holes = {n: _north_west(polygon) for n, polygon in enumerate(polygons) if signed_area(polygon) < 0}
    if not holes:
        return list(polygons)
    edges = _VerticalEdges(polygons)
    channels: dict[int, list[_Channel]] = {}
    # A hole is joined to a polygon that reaches further west. From east to west, each hole is complete at its turn.
    for hole in sorted(holes, key=lambda n: -float(polygons[n][holes[n], 0])):
        corner = polygons[hole][holes[hole]]
        ring = _with_channels(polygons[hole], holes[hole], channels.get(hole, []))
        outline, edge, meeting = edges.west_of(corner, hole)
        distance = abs(float(meeting[1] - polygons[outline][edge, 1]))
        channels.setdefault(outline, []).append((edge, distance, np.vstack([meeting, ring, corner, meeting])))
    return [_with_channels(polygon, 0, channels.get(n, [])) for n, polygon in enumerate(polygons) if n not in holes]


def _north_west(polygon: Float) -> int:
    """Index of the westernmost corner; among several, of the northernmost one."""
    return int(np.lexsort((polygon[:, 1], polygon[:, 0]))[0])


def _with_channels(polygon: Float, first: int, channels: Sequence[_Channel]) -> Float:
    """Insert channels into a polygon; the result begins with its corner `first`."""
    size = len(polygon)
    rolled = np.roll(polygon, -first, axis=0)
    parts, done = [], 0
    for edge, _, points in sorted(channels, key=lambda channel: ((channel[0] - first) % size, channel[1])):
        stop = (edge - first) % size + 1
        parts += [rolled[done:stop], points]
        done = stop
    ring = np.vstack([*parts, rolled[done:]])
    return np.asarray(ring[(ring != np.roll(ring, -1, axis=0)).any(axis=1)])


class _VerticalEdges:
    """All pixel corners on the vertical edges of polygons, in reading order."""

    def __init__(self, polygons: Sequence[Float]) -> None:
        start, end = _edges(polygons)
        upright = np.flatnonzero(start[:, 0] == end[:, 0])
        low, high = np.sort([start[upright, 1] + 0.5, end[upright, 1] + 0.5], axis=0).astype(np.intp)
        self.width = int(start[:, 0].max()) + 2
        parts = list(_steps(low, high + 1))
        index = upright[np.concatenate([edge for edge, _ in parts])]
        places = np.concatenate([row for _, row in parts]) * self.width + (start[index, 0] + 0.5).astype(np.intp)
        order = np.argsort(places, kind="stable")
        sizes = [len(polygon) for polygon in polygons]
        self.places = places[order]
        self.outline = np.repeat(np.arange(len(sizes)), sizes)[index[order]]
        self.edge = index[order] - (np.cumsum(sizes) - sizes)[self.outline]

    def west_of(self, corner: Float, hole: int) -> tuple[int, int, Float]:
        """Find the first edge west of the corner of a hole: its polygon, its number there, and the point."""
        place = int((corner[1] + 0.5) * self.width + corner[0] + 0.5)
        found = int(np.searchsorted(self.places, place))
        at_corner = slice(found, int(np.searchsorted(self.places, place, side="right")))
        others = np.flatnonzero(self.outline[at_corner] != hole)
        # Another outline may touch the hole at this corner.
        found = found + int(others[0]) if others.size else found - 1
        row, column = divmod(int(self.places[found]), self.width)
        return int(self.outline[found]), int(self.edge[found]), np.array([column, row]) - 0.5


def fill_even_odd(polygons: Sequence[Float], shape: Shape) -> Mask:
    """Find the pixels with centres inside a set of polygons; the inverse of `trace_edges`.

    Parameters
    ----------
    polygons : sequence of (P, 2) float64
        Closed polygons of (column, row), finite, of any shape and winding; they may cross themselves and each other.
    shape : (rows, columns)
        Shape of the mask; parts outside are cut off.

    Returns
    -------
    (rows, columns) bool
        Inside are centres that an odd number of outlines surrounds (so holes and keyholes are outside), and centres
        within 0.001 pixel of an outline: "points lying along the path defined by the contour are considered to be part
        of the ROI" (DICOM PS3.3 C.8.8.6.3).
    """
    mask = np.zeros(shape, dtype=np.bool_)
    box, local = _crop(polygons, shape)
    mask[box] = _even_odd(local, mask[box].shape) | _on_path(local, mask[box].shape)
    return mask


def fill_contours(polygons: Sequence[Float], shape: Shape) -> Mask:
    """Find the pixels of a region that was drawn as several contours on one slice.

    Parameters
    ----------
    polygons, shape
        As in `fill_even_odd`.

    Returns
    -------
    (rows, columns) bool
        Contours are taken from the largest to the smallest. One that lies in the region so far is a hole; any other is
        added, also if it overlaps the region in part (by the even-odd rule the overlap would be lost). So an island in
        a hole is added again. Two contours that are nearly the same count as one. Centres on an outline are inside, as
        in `fill_even_odd`.
    """
    mask = np.zeros(shape, dtype=np.bool_)
    box, local = _crop(polygons, shape)
    region = mask[box]
    drawn: dict[bytes, float] = {}
    for polygon in sorted(local, key=lambda p: -abs(signed_area(p))):
        inside, area = _even_odd([polygon], region.shape), abs(signed_area(polygon))
        key = np.packbits(inside).tobytes()
        if area >= (1 - _SAME_AREA) * drawn.get(key, np.inf):
            continue
        drawn[key] = area
        if region[inside].all():
            region &= ~inside
        else:
            region |= inside
    region |= _on_path(local, region.shape)
    return mask


def _crop(polygons: Sequence[Float], shape: Shape) -> tuple[tuple[slice, slice], list[Float]]:
    """Return the bounding box of polygons in the pixels, and the polygons relative to its first pixel."""
    points = np.concatenate([np.zeros((0, 2)), *polygons])
    if not points.size:
        return (slice(0), slice(0)), []
    limits = np.array(shape[::-1])
    low = np.clip(np.floor(points.min(axis=0)), 0, limits).astype(np.intp)
    high = np.clip(np.ceil(points.max(axis=0)) + 1, low, limits).astype(np.intp)
    return (slice(low[1], high[1]), slice(low[0], high[0])), [polygon - low for polygon in polygons]


def _edges(polygons: Sequence[Float]) -> tuple[Float, Float]:
    """(E, 2) first and last points of all edges."""
    none = np.zeros((0, 2))
    ends = [part for polygon in polygons for part in (polygon[1:], polygon[:1])]
    return np.concatenate([none, *polygons]), np.concatenate([none, *ends])


def _steps(first: Integers, stop: Integers) -> Iterator[tuple[Integers, Integers]]:
    """All integers from first to before stop of every edge, as (number of the edge, integer), in chunks."""
    counts = np.maximum(stop - first, 0)
    some = np.flatnonzero(counts)
    chunks = np.cumsum(counts[some]) // _CHUNK
    for part in np.split(some, np.flatnonzero(np.diff(chunks)) + 1):
        edge = np.repeat(part, counts[part])
        before = np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        yield edge, first[edge] + np.arange(edge.size) - before


def _even_odd(polygons: Sequence[Float], shape: Shape) -> Mask:
    rows, columns = shape
    start, end = _edges(polygons)
    # From north to south, so that both directions along a channel give exactly the same points.
    swap = (start[:, 1] > end[:, 1])[:, None]
    north, south = np.where(swap, end, start), np.where(swap, start, end)
    first, stop = (np.clip(np.ceil(ends[:, 1]), 0, rows).astype(np.intp) for ends in (north, south))
    width, height = (south - north).T
    slope = np.divide(width, height, out=np.zeros_like(width), where=height > 0)
    crossings = np.zeros(rows * (columns + 1), dtype=np.intp)
    for edge, row in _steps(first, stop):
        column = north[edge, 0] + (row - north[edge, 1]) * slope[edge]
        place = row * (columns + 1) + np.clip(np.ceil(column), 0, columns).astype(np.intp)
        crossings += np.bincount(place, minlength=crossings.size)
    inside = np.cumsum(crossings.reshape(rows, columns + 1), axis=1) & 1
    return np.asarray(inside[:, :columns], dtype=np.bool_)


def _on_path(polygons: Sequence[Float], shape: Shape) -> Mask:
    """Pixels with centres on the outlines."""
    mask = np.zeros(shape, dtype=np.bool_)
    start, end = _edges(polygons)
    _mark_steep(mask, start, end)
    _mark_steep(mask.T, start[:, ::-1], end[:, ::-1])
    return mask


def _mark_steep(mask: Mask, start: Float, end: Float) -> None:
    """Mark the centres on edges that pass at least as many rows as columns: at most one centre in each row."""
    rows, columns = mask.shape
    across, down = (end - start).T
    steep = np.abs(down) >= np.abs(across)
    start, end, across, down = start[steep], end[steep], across[steep], down[steep]
    slope = np.divide(across, down, out=np.zeros_like(across), where=down != 0)
    first = np.clip(np.ceil(np.minimum(start[:, 1], end[:, 1]) - _ON_PATH), 0, rows).astype(np.intp)
    last = np.clip(np.floor(np.maximum(start[:, 1], end[:, 1]) + _ON_PATH), -1, rows - 1).astype(np.intp)
    for edge, row in _steps(first, last + 1):
        column = start[edge, 0] + (row - start[edge, 1]) * slope[edge]
        nearest = np.rint(column)
        hit = (np.abs(column - nearest) <= _ON_PATH) & (nearest >= 0) & (nearest < columns)
        mask[row[hit], nearest[hit].astype(np.intp)] = True
