"""`Mesh`: a triangle surface in world millimetres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Colour
from volseg.errors import InputError

_AT_ONCE = 1 << 18  # faces


@dataclass(frozen=True)
class Quality:
    """How sound a surface is, and how near to what it was made of; see `volseg.surface.quality`.

    Parameters
    ----------
    triangles : int
    closed : bool
        Whether it bounds a solid.
    manifold : bool
        Closed, and with two triangles at every edge: surfaces that touch themselves at an edge have four there.
    pieces : int
        Connected surfaces; a hole inside has one of its own.
    euler_number : int
        2 for each piece without handles.
    self_intersections : int
        Pairs of triangles that run through each other; those that share a vertex are not looked at.
    volume_mm3, expected_mm3 : float
        Enclosed, and of the voxels or the probabilities.
    area_mm2 : float
    mean_distance_mm, largest_distance_mm : float
        Between this surface and the one before smoothing and simplification, both ways.
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
        """Return each grade as text, by name, for tables and metadata; numbers with six digits."""
        grades = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        texts = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in grades.items()}
        return texts | {name: "yes" if grades[name] else "no" for name in ("closed", "manifold")}

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
        What it is the surface of.
    colour : (red, green, blue), 0 to 255
    point_data : dict of str to (V, ...) arrays
        Values per vertex.
    quality : Quality, optional
        Its grades, where they were asked for.

    Raises
    ------
    InputError
        Wrong shapes, non-finite vertices, or faces that name vertices which are not there.
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
        # Read as unsigned, negative numbers are too large as well: one search, not two.
        if faces.size and faces.view(np.uint64).max() >= len(vertices):
            raise InputError(f"mesh {self.name!r}: faces name vertices outside 0..{len(vertices) - 1}")
        if wrong := [key for key, values in self.point_data.items() if len(values) != len(vertices)]:
            raise InputError(f"mesh {self.name!r}: point data {wrong} has not one value for each vertex")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)

    @classmethod
    def joined(cls, meshes: Sequence[Mesh]) -> Mesh:
        """Put the vertices and faces of at least one mesh into one, without names, colours and point data."""
        offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
        return cls(
            np.concatenate([mesh.vertices for mesh in meshes]),
            np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
        )

    @property
    def is_closed(self) -> bool:
        """Whether every edge is used as often in one direction as in the other, so that the mesh bounds a solid."""
        edges = self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        forward = edges[:, 0] * len(self.vertices) + edges[:, 1]
        backward = edges[:, 1] * len(self.vertices) + edges[:, 0]
        return bool(len(edges)) and bool(np.array_equal(np.sort(forward), np.sort(backward)))

    @property
    def is_manifold(self) -> bool:
        """Whether each edge is of exactly two triangles, which go along it in opposite directions."""
        edges = self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        directed = edges[:, 0] * len(self.vertices) + edges[:, 1]
        return self.is_closed and len(np.unique(directed)) == len(directed)

    @property
    def volume_mm3(self) -> float:
        """Signed enclosed volume, mm3 (divergence theorem): positive where faces look outwards."""
        return float(sum(volumes.sum() for volumes in self._signed_volumes()))

    @property
    def signed_volumes(self) -> NDArray[np.float64]:
        """(F,) volume between each face and the first vertex, mm3, positive where it looks away from it."""
        return np.concatenate([np.empty(0), *self._signed_volumes()])

    @property
    def area_mm2(self) -> float:
        """Surface area, mm2."""
        return float(sum(np.linalg.norm(normals, axis=1).sum() for _, normals in self._normals()) / 2)

    @property
    def area_vectors(self) -> NDArray[np.float64]:
        """(V, 3) sum of the outward normals of the faces at each vertex, each twice its face's area long, mm2."""
        sums = np.zeros_like(self.vertices)
        for faces, normals in self._normals():
            np.add.at(sums, faces, normals[:, None])
        return sums

    def _signed_volumes(self) -> Iterator[NDArray[np.float64]]:
        # About a vertex of the mesh, not the scanner's origin, which may be far away and would cost digits.
        for faces in self._parts():
            a, b, c = (self.vertices[faces[:, n]] - self.vertices[0] for n in range(3))
            yield np.einsum("ij,ij->i", a, np.cross(b, c)) / 6

    def _normals(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield some faces at a time and their normals, each twice the face's area long."""
        for faces in self._parts():
            a, b, c = (self.vertices[faces[:, n]] for n in range(3))
            yield faces, np.cross(b - a, c - a)

    def _parts(self) -> Iterator[NDArray[np.int64]]:
        """Yield some faces at a time, for the sake of memory."""
        for start in range(0, len(self.faces), _AT_ONCE):
            yield self.faces[start : start + _AT_ONCE]

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest world coordinates, mm RAS+."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    def section(self, heights: NDArray[np.float64], level: float) -> NDArray[np.float64]:
        """Cut the surface where a value of its vertices passes a level.

        Parameters
        ----------
        heights : (V,) float
            Of the vertices, such as one coordinate.
        level : float

        Returns
        -------
        (S, 2, 3) float
            Both ends of a segment through each triangle that is cut, in the coordinates of the vertices.
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
        """Return the same surface with its vertices moved."""
        return replace(self, vertices=vertices)
