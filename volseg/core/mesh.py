"""`Mesh`: a triangle surface in world millimetres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Colour
from volseg.errors import InputError

_AT_ONCE = 1 << 16  # faces; their corners fit into the cache of a core


@dataclass(frozen=True)
class Quality:
    """How sound a surface is, and how far it is from the labels or scan it was made from; see `volseg.surface.quality`.

    Parameters
    ----------
    triangles : int
    closed : bool
        Whether it bounds a solid.
    manifold : bool
        Whether it is closed and every edge has two triangles; a surface that touches itself at an edge has four there.
    pieces : int
        Number of connected surfaces; the wall of a cavity is one.
    euler_number : int
        2 for each piece without handles.
    self_intersections : int
        Number of pairs of triangles that intersect, without pairs that share a vertex.
    volume_mm3, expected_mm3 : float
        Volume inside the surface, and volume of the voxels or probabilities.
    area_mm2 : float
    mean_distance_mm, largest_distance_mm : float
        Distances between this surface and the one before smoothing and simplification, in both directions.
    """

    triangles: int
    closed: bool
    manifold: bool
    pieces: int
    euler_number: int
    self_intersections: int
    volume_mm3: float
    expected_mm3: float
    area_mm2: float
    mean_distance_mm: float
    largest_distance_mm: float

    def values(self) -> dict[str, str]:
        """Return each measure as text, by name, for tables and metadata; numbers have six digits."""
        texts = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in ("closed", "manifold"):
                texts[entry.name] = "yes" if value else "no"
            else:
                texts[entry.name] = f"{value:.6g}" if isinstance(value, float) else str(value)
        return texts

    def __str__(self) -> str:
        return " ".join(f"{name}={text}" for name, text in self.values().items())


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle surface.

    Parameters
    ----------
    vertices : (V, 3) float
        World mm, RAS+.
    faces : (F, 3) int
        Vertex indices, counter-clockwise seen from outside.
    name : str
        Name of the structure.
    colour : (red, green, blue), 0 to 255
    point_data : dict of str to (V, ...) arrays
        Values for each vertex.
    quality : Quality, optional
        Given if it was measured.

    Raises
    ------
    InputError
        Wrong shapes, vertices that are not finite, or faces with indices out of range.

    Examples
    --------
    >>> import volseg
    >>> corners = [(0, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 10)]
    >>> mesh = volseg.Mesh(corners, [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)], name="tetrahedron")
    >>> mesh.is_closed, round(mesh.volume_mm3, 1)
    (True, 166.7)
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    name: str = "surface"
    colour: Colour = (220, 200, 170)
    point_data: dict[str, NDArray[Any]] = field(default_factory=dict)
    quality: Quality | None = None

    def __post_init__(self) -> None:
        vertices = np.asarray(self.vertices, dtype=np.float64)
        faces = np.asarray(self.faces, dtype=np.int64)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
            raise InputError(f"mesh {self.name!r}: vertices have shape {vertices.shape}; expected finite (V, 3)")
        if faces.ndim != 2 or faces.shape[1] != 3:
            raise InputError(f"mesh {self.name!r}: faces have shape {faces.shape}; expected (F, 3)")
        # Read as unsigned, negative indices are too large as well, so one search finds both.
        if faces.size and faces.view(np.uint64).max() >= len(vertices):
            raise InputError(f"mesh {self.name!r}: faces name vertices outside 0..{len(vertices) - 1}")
        self._check_point_data(len(vertices))
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)

    def _check_point_data(self, count: int) -> None:
        wrong = []
        for name, values in self.point_data.items():
            if len(values) != count:
                wrong.append(name)
        if wrong:
            raise InputError(f"mesh {self.name!r}: point data {wrong} does not have one value for each vertex")

    @classmethod
    def joined(cls, meshes: Sequence[Mesh]) -> Mesh:
        """Put the vertices and faces of several meshes into one, without names, colours and point data.

        Parameters
        ----------
        meshes : sequence of Mesh
            At least one.
        """
        vertices, faces, offset = [], [], 0
        for mesh in meshes:
            vertices.append(mesh.vertices)
            faces.append(mesh.faces + offset)
            offset += len(mesh.vertices)
        return cls(np.concatenate(vertices), np.concatenate(faces))

    @property
    def is_closed(self) -> bool:
        """Whether every edge is used as often in one direction as in the other, so that the mesh bounds a solid."""
        edges = self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        forward = edges[:, 0] * len(self.vertices) + edges[:, 1]
        backward = edges[:, 1] * len(self.vertices) + edges[:, 0]
        return bool(len(edges)) and bool(np.array_equal(np.sort(forward), np.sort(backward)))

    @property
    def is_manifold(self) -> bool:
        """Whether each edge belongs to exactly two triangles, which run along it in opposite directions."""
        edges = self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        directed = edges[:, 0] * len(self.vertices) + edges[:, 1]
        return self.is_closed and len(np.unique(directed)) == len(directed)

    @property
    def volume_mm3(self) -> float:
        """Signed enclosed volume, mm3 (divergence theorem); positive if faces look outwards."""
        total = 0.0
        for volumes in self._signed_volumes():
            total += float(volumes.sum())
        return total

    @property
    def signed_volumes(self) -> NDArray[np.float64]:
        """(F,) volume between each face and the first vertex, mm3; positive if the face looks away from the vertex."""
        return np.concatenate([np.empty(0), *self._signed_volumes()])

    @property
    def area_mm2(self) -> float:
        """Surface area, mm2."""
        total = 0.0
        for _, normals in self._normals():
            total += float(np.linalg.norm(normals, axis=0).sum())
        return total / 2

    @property
    def area_vectors(self) -> NDArray[np.float64]:
        """(V, 3) sum of the outward normals of the faces at each vertex; a normal's length is twice its face's area."""
        sums = np.zeros_like(self.vertices)
        for faces, normals in self._normals():
            np.add.at(sums, faces, normals.T[:, None])
        return sums

    def _signed_volumes(self) -> Iterator[NDArray[np.float64]]:
        for _, (a, b, c) in self._parts():
            yield (a * np.cross(b, c, axis=0)).sum(axis=0) / 6

    def _normals(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield some faces at a time and their (3, F) normals, whose length is twice the face's area."""
        for faces, (a, b, c) in self._parts():
            yield faces, np.cross(b - a, c - a, axis=0)

    def _parts(self) -> Iterator[tuple[NDArray[np.int64], list[NDArray[np.float64]]]]:
        """Yield some faces at a time and their three corners, each (3, F).

        Corners are relative to a vertex of the mesh: the scanner's origin may be far away, which would cost digits.
        Rows of x, y and z are four times as quick to compute with as rows of corners.
        """
        axes = np.subtract(self.vertices.T, self.vertices[:1].T, order="C")
        for start in range(0, len(self.faces), _AT_ONCE):
            faces = self.faces[start : start + _AT_ONCE]
            yield faces, [axes.take(faces[:, n], axis=1) for n in range(3)]

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest world coordinates, mm RAS+."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    def section(self, heights: NDArray[np.float64], level: float) -> NDArray[np.float64]:
        """Cut the surface along a level of a value of its vertices.

        Parameters
        ----------
        heights : (V,) float
            A value for each vertex, such as one coordinate.
        level : float
            Where to cut.

        Returns
        -------
        (S, 2, 3) float
            Both ends of a segment through each triangle that is cut, world mm, RAS+.
        """
        above = heights[self.faces] > level
        cut = above.any(axis=1) & ~above.all(axis=1)
        corners, above = self.faces[cut], above[cut]
        lone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), above.argmin(axis=1))
        rows = np.arange(len(corners))
        start = corners[rows, lone]
        ends = []
        for step in (1, 2):
            end = corners[rows, (lone + step) % 3]
            share = (level - heights[start]) / (heights[end] - heights[start])
            ends.append(self.vertices[start] + share[:, None] * (self.vertices[end] - self.vertices[start]))
        return np.stack(ends, axis=1)

    def with_vertices(self, vertices: NDArray[np.float64]) -> Mesh:
        """Return the same surface with other vertices.

        Parameters
        ----------
        vertices : (V, 3) float
            World mm, RAS+, in the same order.
        """
        return replace(self, vertices=vertices)
