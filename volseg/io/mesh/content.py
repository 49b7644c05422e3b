"""Content of a mesh file before its conversion to world coordinates, and functions that all readers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.labelmap import Colour
from volseg.core.mesh import Mesh

Integers = NDArray[np.int64]

MOST_SURFACES = 4096
_MOST_GROWTH = 100
_LEAST_SUSPECT = 1 << 28


@dataclass(frozen=True)
class MeshContent:
    """Content of a mesh file in its own coordinate system.

    Parameters
    ----------
    vertices : (V, 3) float64
    faces : (F, 3) int64
    tag : str
        Text that may contain ``SPACE=...``.
    colours : (F, 3) uint8, optional
        Colour of each triangle.
    parts : (F,) int64, optional
        Number of the surface of each triangle, from 0.
    names : tuple of str
        Names of the parts.

    Raises
    ------
    ValueError
        Faces refer to vertices that do not exist.
    """

    vertices: Float
    faces: Integers
    tag: str = ""
    colours: NDArray[np.uint8] | None = None
    parts: Integers | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_corners(self.faces, len(self.vertices))


@dataclass(frozen=True)
class Part:
    """One of several separate surfaces in a file; `colours` is one colour, (F, 3) uint8, or None if unknown."""

    vertices: Float
    faces: Integers
    name: str = ""
    colours: Colour | NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        check_corners(self.faces, len(self.vertices))


def join_parts(parts: Sequence[Part], tag: str) -> MeshContent:
    """Join the surfaces of a file.

    Parameters
    ----------
    parts : sequence of Part
        If some have colours, the others get `Mesh.colour`.
    tag : str
        Text that may contain ``SPACE=...``.

    Raises
    ------
    ValueError
        There are more than `MOST_SURFACES`.
    """
    if len(parts) > MOST_SURFACES:
        raise ValueError(f"it holds {len(parts)} surfaces; expected at most {MOST_SURFACES}")
    sizes, names = [], []
    vertices, faces, shades = [np.zeros((0, 3))], [np.zeros((0, 3), dtype=np.int64)], []
    start = 0
    for part in parts:
        vertices.append(part.vertices)
        faces.append(part.faces + start)
        shade = np.asarray(Mesh.colour if part.colours is None else part.colours, dtype=np.uint8)
        shades.append(np.broadcast_to(shade, (len(part.faces), 3)))
        start += len(part.vertices)
        sizes.append(len(part.faces))
        names.append(part.name)
    return MeshContent(
        vertices=np.concatenate(vertices),
        faces=np.concatenate(faces),
        tag=tag,
        colours=np.concatenate(shades) if any(part.colours is not None for part in parts) else None,
        parts=np.repeat(np.arange(len(parts)), np.array(sizes, dtype=np.int64)),
        names=tuple(names),
    )


def triangulate(corners: Integers, sizes: Integers, *, strips: bool = False) -> tuple[Integers, Integers]:
    """Turn polygons into fans of triangles, or strips into their triangles.

    Parameters
    ----------
    corners : (N,) int64
        Corners of all polygons or strips, one after the other.
    sizes : (P,) int64
        Number of corners of each; fewer than three give no triangle.
    strips : bool
        Whether they are strips.

    Returns
    -------
    faces : (T, 3) int64
    owner : (T,) int64
        Number of the polygon or strip of each triangle.

    Raises
    ------
    ValueError
        The sizes do not fit the corners.
    """
    if (sizes < 0).any() or sizes.sum() != len(corners):
        raise ValueError(f"its faces have {sizes.sum()} corners, the file has {len(corners)}")
    counts = np.maximum(sizes - 2, 0)
    owner = np.repeat(np.arange(len(sizes)), counts)
    start = (np.cumsum(sizes) - sizes)[owner]
    step = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    if strips:
        odd = step % 2  # every second triangle of a strip has the opposite winding
        index = np.column_stack([start + step + odd, start + step + 1 - odd, start + step + 2])
    else:
        index = np.column_stack([start, start + step + 1, start + step + 2])
    return corners[index], owner


def check_corners(faces: Integers, vertices: int) -> None:
    """Refuse faces with vertices that do not exist.

    Parameters
    ----------
    faces : (F, 3) int64
    vertices : int
        Number of vertices.

    Raises
    ------
    ValueError
        A vertex number is negative or too large.
    """
    if faces.size and not 0 <= faces.min() <= faces.max() < vertices:
        raise ValueError(f"faces refer to vertices outside 0..{vertices - 1}")


def weld(corners: Float) -> tuple[Float, Integers]:
    """Merge the corners of triangles at the same position into one vertex; triangles without area are left out.

    Parameters
    ----------
    corners : (F, 3, 3) float

    Returns
    -------
    vertices : (V, 3) float64
    faces : (T, 3) int64
    """
    points = corners.reshape(-1, 3) + 0.0  # without negative zeros
    order = np.lexsort(points.T)
    ordered = points[order]
    new = np.ones(len(points), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    numbers = np.empty(len(points), dtype=np.int64)
    numbers[order] = np.cumsum(new) - 1
    faces = numbers.reshape(-1, 3)
    return ordered[new].astype(np.float64), faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def to_bytes(colours: NDArray[Any], kind: np.dtype[Any]) -> NDArray[np.uint8]:
    """Return colours as (N, 3) uint8; channels after blue are left out.

    Parameters
    ----------
    colours : (N, 3 or more)
    kind : dtype
        Type in the file: floats are from 0 to 1 unless one is larger; 16-bit integers from 0 to 65535.
    """
    values = np.nan_to_num(colours[:, :3].astype(np.float64), posinf=0, neginf=0)
    if kind.kind == "f" and values.max(initial=0) <= 1:
        values *= 255
    elif kind == np.uint16:
        values /= 257
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def check_growth(needed: int, there: int) -> None:
    """Refuse a file that expands out of proportion, before memory is allocated.

    Parameters
    ----------
    needed, there : int
        Bytes in memory, and bytes of the file.

    Raises
    ------
    ValueError
        It needs more than 100 times the size of the file and more than 256 MiB; real surfaces need at most 20 times.
    """
    if needed > _LEAST_SUSPECT and needed > _MOST_GROWTH * there:
        raise ValueError(f"its {there} bytes would become {needed / 2**30:.1f} GiB, over {_MOST_GROWTH} times as much")
