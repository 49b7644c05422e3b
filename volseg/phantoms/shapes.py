"""Solids in world millimetres whose volume and area are known exactly, and how to put them on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.spatial.transform import Rotation

from volseg.core.grid import Grid
from volseg.core.labelmap import Colour, Label, LabelMap, default_colour, keep_colours_apart

Float = NDArray[np.float64]
Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]


class Shape(Protocol):
    """A solid in world millimetres (RAS+) with known volume and area."""

    @property
    def volume_mm3(self) -> float:
        """Exact volume."""

    @property
    def area_mm2(self) -> float:
        """Exact surface area."""

    @property
    def bounds(self) -> Float:
        """(2, 3) lowest and highest world coordinates, mm."""

    def distance_mm(self, xyz: ArrayLike) -> Float:
        """Signed distance from (..., 3) points to the surface, mm, negative inside."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; a sphere when the three radii are equal.

    Parameters
    ----------
    centre_mm : (x, y, z)
        World mm, RAS+.
    radii_mm : (a, b, c)
        Half axes along x, y, z before the rotation.
    rotation_deg : (x, y, z)
        Turns about the fixed world axes, in this order.
    """

    centre_mm: Point
    radii_mm: Point
    rotation_deg: Point = (0.0, 0.0, 0.0)

    @cached_property
    def _axes(self) -> Float:
        return np.asarray(Rotation.from_euler("xyz", self.rotation_deg, degrees=True).as_matrix())

    @property
    def volume_mm3(self) -> float:
        """Exact volume."""
        return float(4 / 3 * np.pi * np.prod(self.radii_mm))

    @property
    def area_mm2(self) -> float:
        """Exact surface area, by Carlson's symmetric integral R_G (DLMF 19.33.1)."""
        radii = np.asarray(self.radii_mm, dtype=float)
        return float(4 * np.pi * radii.prod() * special.elliprg(*radii**-2.0))

    @property
    def bounds(self) -> Float:
        """(2, 3) lowest and highest world coordinates, mm."""
        half = np.linalg.norm(self._axes * self.radii_mm, axis=1)
        return np.stack([self.centre_mm - half, self.centre_mm + half])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        """Signed distance, mm, negative inside; exact for a sphere, else exact to first order at the surface."""
        radii = np.asarray(self.radii_mm, dtype=float)
        scaled = (np.asarray(xyz, dtype=float) - self.centre_mm) @ self._axes / radii
        level = np.linalg.norm(scaled, axis=-1)
        slope = np.linalg.norm(scaled / radii, axis=-1)
        inside = np.full(level.shape, -radii.min())
        return np.asarray(np.divide(level * (level - 1), slope, out=inside, where=slope > 0))


@dataclass(frozen=True)
class Capsule:
    """A tube with round ends: all points within `radius_mm` of the segment from `start_mm` to `end_mm`."""

    start_mm: Point
    end_mm: Point
    radius_mm: float

    @property
    def volume_mm3(self) -> float:
        """Exact volume."""
        length = float(np.linalg.norm(np.subtract(self.end_mm, self.start_mm)))
        return float(np.pi * self.radius_mm**2 * (length + 4 / 3 * self.radius_mm))

    @property
    def area_mm2(self) -> float:
        """Exact surface area."""
        length = float(np.linalg.norm(np.subtract(self.end_mm, self.start_mm)))
        return float(2 * np.pi * self.radius_mm * (length + 2 * self.radius_mm))

    @property
    def bounds(self) -> Float:
        """(2, 3) lowest and highest world coordinates, mm."""
        ends = np.array([self.start_mm, self.end_mm], dtype=float)
        return np.stack([ends.min(axis=0) - self.radius_mm, ends.max(axis=0) + self.radius_mm])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        """Signed distance, mm, negative inside."""
        axis = np.subtract(self.end_mm, self.start_mm).astype(float)
        from_start = np.asarray(xyz, dtype=float) - self.start_mm
        along = np.clip(from_start @ axis / (axis @ axis), 0, 1)
        return np.asarray(np.linalg.norm(from_start - along[..., None] * axis, axis=-1) - self.radius_mm)


@dataclass(frozen=True)
class Torus:
    """A ring about the z axis: a solid with one hole."""

    centre_mm: Point
    ring_radius_mm: float
    tube_radius_mm: float

    @property
    def volume_mm3(self) -> float:
        """Exact volume."""
        return float(2 * np.pi**2 * self.ring_radius_mm * self.tube_radius_mm**2)

    @property
    def area_mm2(self) -> float:
        """Exact surface area."""
        return float(4 * np.pi**2 * self.ring_radius_mm * self.tube_radius_mm)

    @property
    def bounds(self) -> Float:
        """(2, 3) lowest and highest world coordinates, mm."""
        wide = self.ring_radius_mm + self.tube_radius_mm
        half = np.array([wide, wide, self.tube_radius_mm])
        return np.stack([self.centre_mm - half, self.centre_mm + half])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        """Signed distance, mm, negative inside."""
        offset = np.asarray(xyz, dtype=float) - self.centre_mm
        to_ring = np.hypot(offset[..., 0], offset[..., 1]) - self.ring_radius_mm
        return np.hypot(to_ring, offset[..., 2]) - self.tube_radius_mm


def rasterise(
    shapes: Mapping[str, Shape], grid: Grid, *, colours: Mapping[str, Colour] = MappingProxyType({})
) -> LabelMap:
    """Make a label map of named shapes.

    Parameters
    ----------
    shapes : mapping of name to Shape
        Labelled 1, 2, ... in this order. Where shapes overlap, the later one wins.
    grid : Grid
    colours : mapping of name to (red, green, blue), optional

    Returns
    -------
    LabelMap
        uint8; a voxel belongs to the shape that contains its centre.
    """
    array = np.zeros(grid.shape, dtype=np.uint8)
    labels = []
    for value, (name, shape) in enumerate(shapes.items(), start=1):
        box = touched_box(shape, grid)
        array[box][_inside(shape, grid, box, (0, 0, 0))] = value
        labels.append(Label(value, name, colours.get(name, default_colour(value, name))))
    given = [label.value for label in labels if label.name in colours]
    return LabelMap(array, grid, keep_colours_apart(labels, given))


def sphere_labelmap(grid: Grid, *, radius_mm: float, centre_mm: Point | None = None, name: str = "sphere") -> LabelMap:
    """Make a label map of one sphere.

    Parameters
    ----------
    grid : Grid
    radius_mm : float
    centre_mm : (x, y, z), optional
        World mm, RAS+; default the middle of the grid.
    name : str
        Of the label.
    """
    x, y, z = grid.corners().mean(axis=0) if centre_mm is None else centre_mm
    return rasterise({name: Ellipsoid((x, y, z), (radius_mm, radius_mm, radius_mm))}, grid)


def coverage(shape: Shape, grid: Grid, box: Box) -> NDArray[np.float32]:
    """Return the fraction of each voxel of a box that a shape fills, from sub-voxels of about 1.5 mm.

    Parameters
    ----------
    shape : Shape
    grid : Grid
    box : three slices
        Part of the grid to compute, with explicit starts and stops.

    Returns
    -------
    (i, j, k) float32
        0 to 1, for the voxels of the box. A voxel has 4 sub-voxels along each axis at most.
    """
    places = []
    for spacing_mm in grid.spacing:
        count = int(np.clip(round(spacing_mm / 1.5), 1, 4))
        places.append((np.arange(count) + 0.5) / count - 0.5)
    offsets = list(product(*places))
    total = np.zeros([s.stop - s.start for s in box], dtype=np.float32)
    for offset in offsets:
        total += _inside(shape, grid, box, offset)
    return total / np.float32(len(offsets))


def touched_box(shape: Shape, grid: Grid) -> Box:
    """Return the box of voxels that a shape can touch.

    Parameters
    ----------
    shape : Shape
    grid : Grid
    """
    ijk = grid.to_voxel(list(product(*shape.bounds.T)))
    start = np.clip(np.floor(ijk.min(axis=0)), 0, grid.shape).astype(int)
    stop = np.clip(np.ceil(ijk.max(axis=0)) + 1, start, grid.shape).astype(int)
    i, j, k = map(slice, start.tolist(), stop.tolist())
    return i, j, k


def _inside(shape: Shape, grid: Grid, box: Box, offset: Point) -> NDArray[np.bool_]:
    """Return for each voxel of the box whether the shape contains its centre, moved by `offset` voxels."""
    rows, columns, layers = (np.arange(s.start, s.stop) + o for s, o in zip(box, offset, strict=True))
    inside = np.zeros((len(rows), len(columns), len(layers)), dtype=bool)
    # Points are computed layer by layer, so that a large grid needs little memory.
    i, j = np.meshgrid(rows, columns, indexing="ij")
    plane = grid.to_world(np.stack([i, j, np.zeros(i.shape)], axis=-1))
    for index, layer in enumerate(layers):
        inside[..., index] = shape.distance_mm(plane + layer * grid.affine[:3, 2]) <= 0
    return inside
