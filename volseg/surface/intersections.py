"""Where a surface intersects itself, and the repair of such places after smoothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.mesh import Mesh

Pairs = NDArray[np.int64]
_MOST_ROUNDS = 12
_RINGS = 4


def count_self_intersections(mesh: Mesh) -> int:
    """Return how many pairs of triangles without a common vertex intersect.

    Triangles that only touch, or lie in one plane, are not counted.

    Parameters
    ----------
    mesh : Mesh
    """
    return len(_crossings(mesh))


def without_crossings(smoothed: Mesh, marched: Mesh) -> Mesh:
    """Take smoothing back where a surface intersects itself.

    The vertices of intersecting triangles go half of the way back to where they were extracted, and those around them
    less, until no triangles intersect. The surface of a solid without hinges does not intersect itself as extracted.

    Parameters
    ----------
    smoothed : Mesh
    marched : Mesh
        The same faces before smoothing.

    Returns
    -------
    Mesh
        The same faces. Intersections remain if they were there before smoothing, or after 12 rounds.
    """
    mesh, kept = smoothed, np.ones(len(smoothed.vertices))
    edges = smoothed.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    for _ in range(_MOST_ROUNDS):
        crossing = np.unique(smoothed.faces[_crossings(mesh)])
        if not len(crossing):
            break
        back = np.zeros(len(kept))
        back[crossing] = 1
        for _ in range(_RINGS):
            around = back.copy()
            np.maximum.at(around, edges.ravel(), (back[edges[:, ::-1]] - 1 / _RINGS).ravel())
            back = around
        kept *= 1 - 0.5 * back
        kept[crossing[kept[crossing] < 0.1]] = 0
        mesh = smoothed.with_vertices(marched.vertices + kept[:, None] * (smoothed.vertices - marched.vertices))
    return mesh


def _crossings(mesh: Mesh) -> Pairs:
    """(P, 2) pairs of triangles that intersect and have no common vertex."""
    if not len(mesh.faces):
        return np.empty((0, 2), dtype=np.int64)
    corners = mesh.vertices[mesh.faces] - mesh.vertices[0]
    low, high = corners.min(axis=1), corners.max(axis=1)
    pairs = _near_pairs(mesh.faces, low, high)
    crossed = np.zeros(len(pairs), dtype=np.bool_)
    for one, other in ((0, 1), (1, 0)):
        triangles, edges = corners[pairs[:, one]], corners[pairs[:, other]]
        for n in range(3):
            crossed |= _pierces(edges[:, n], edges[:, (n + 1) % 3], triangles)
    return pairs[crossed]


def _near_pairs(faces: NDArray[np.int64], low: Float, high: Float) -> Pairs:
    """(P, 2) pairs of triangles with overlapping boxes and no common vertex, each pair once.

    Only triangles in a common cell of a grid are compared.
    """
    size, origin = float((high - low).max(axis=1).mean()) or 1.0, low.min(axis=0)
    first = np.floor((low - origin) / size).astype(np.int64)
    last = np.floor((high - origin) / size).astype(np.int64)
    cell, face = _cells(first, last)
    order = np.argsort(cell, kind="stable")
    cell, face = cell[order], face[order]
    found = [np.empty((0, 2), dtype=np.int64)]
    for step in range(1, int(np.bincount(np.unique(cell, return_inverse=True)[1]).max(initial=1))):
        together = cell[step:] == cell[:-step]
        a, b = face[:-step][together], face[step:][together]
        overlap = np.all((low[a] <= high[b]) & (low[b] <= high[a]), axis=1)
        a, b = a[overlap], b[overlap]
        apart = ~(faces[a][:, :, None] == faces[b][:, None, :]).any(axis=(1, 2))
        found.append(np.sort(np.stack([a[apart], b[apart]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _cells(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (cell, triangle) for every grid cell of every triangle; its box covers the cells `first` to `last`."""
    spans = last - first + 1
    counts = spans.prod(axis=1)
    face = np.repeat(np.arange(len(first)), counts)
    number = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    _, across, along = spans[face].T
    x, y, z = first[face].T + np.stack([number // (across * along), number // along % across, number % along])
    _, height, depth = last.max(axis=0) + 1
    return (x * height + y) * depth + z, face


def _pierces(start: Float, end: Float, triangles: Float) -> NDArray[np.bool_]:
    """(P,) whether each segment passes through the inside of its triangle."""
    a, b, c = triangles.swapaxes(0, 1)
    normal = np.cross(b - a, c - a)
    through = np.einsum("ij,ij->i", start - a, normal) * np.einsum("ij,ij->i", end - a, normal) < 0
    way = end - start
    sides = np.empty((3, len(way)))
    for n, (p, q) in enumerate(((a, b), (b, c), (c, a))):
        sides[n] = np.einsum("ij,ij->i", way, np.cross(p - start, q - start))
    return np.asarray(through & ((sides > 0).all(axis=0) | (sides < 0).all(axis=0)))
