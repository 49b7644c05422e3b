"""Bodies for `surfaces.py` that are joined, hollowed or cut of simple ones; volume and area by a fine march."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from volseg.core.grid import Grid
from volseg.core.mesh import Mesh
from volseg.phantoms import Capsule, Ellipsoid
from volseg.phantoms.shapes import Point, Shape
from volseg.surface.march import march

Float = NDArray[np.float64]
FINE_MM = 0.5


def fine_mesh(shape: Shape, spacing_mm: float) -> Mesh:
    """March the signed distance of a body on a fine grid."""
    low, high = shape.bounds
    low = low - 2 * spacing_mm
    i, j, k = (int(n) for n in np.ceil((high - low) / spacing_mm) + 3)
    grid = Grid.from_spacing((i, j, k), (spacing_mm,) * 3, low)
    field = np.empty(grid.shape, dtype=np.float32)
    for n in range(i):
        field[n] = -shape.distance_mm(grid.to_world(np.moveaxis(np.indices((1, j, k)), 0, -1)[0] + [n, 0, 0]))
    return march(field, grid)


class Composite:
    """A body with volume and area from a fine march of its signed distance."""

    @cached_property
    def _mesh(self) -> Mesh:
        return fine_mesh(self, FINE_MM)  # type: ignore[arg-type]

    @property
    def volume_mm3(self) -> float:
        return self._mesh.volume_mm3

    @property
    def area_mm2(self) -> float:
        return self._mesh.area_mm2


@dataclass(frozen=True)
class Union(Composite):
    """The union of several bodies; inside, near the place where they meet, the distance is too small."""

    parts: tuple[Shape, ...]

    @property
    def bounds(self) -> Float:
        ends = np.array([part.bounds for part in self.parts])
        return np.stack([ends[:, 0].min(axis=0), ends[:, 1].max(axis=0)])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        return np.asarray(np.min([part.distance_mm(xyz) for part in self.parts], axis=0))


@dataclass(frozen=True)
class Hollow(Composite):
    """A body without another one that lies inside it."""

    outer: Shape
    inner: Shape

    @property
    def bounds(self) -> Float:
        return self.outer.bounds

    def distance_mm(self, xyz: ArrayLike) -> Float:
        return np.asarray(np.maximum(self.outer.distance_mm(xyz), -self.inner.distance_mm(xyz)))


@dataclass(frozen=True)
class Box(Composite):
    """A box along the world axes, from its lowest to its highest corner."""

    low: Point
    high: Point

    @property
    def bounds(self) -> Float:
        return np.array([self.low, self.high], dtype=float)

    def distance_mm(self, xyz: ArrayLike) -> Float:
        low, high = self.bounds
        beyond = np.abs(np.asarray(xyz, dtype=float) - (low + high) / 2) - (high - low) / 2
        outside = np.linalg.norm(np.maximum(beyond, 0), axis=-1)
        return np.asarray(outside + np.minimum(beyond.max(axis=-1), 0))


@dataclass(frozen=True)
class Plate(Composite):
    """An elliptic plate across z."""

    half_axes_mm: tuple[float, float]
    thickness_mm: float

    @property
    def bounds(self) -> Float:
        half = np.array([*self.half_axes_mm, self.thickness_mm / 2])
        return np.stack([-half, half])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        """Signed distance; across z exact, in its plane to first order."""
        points = np.asarray(xyz, dtype=float)
        axes = np.array(self.half_axes_mm)
        scaled = points[..., :2] / axes
        value = np.linalg.norm(scaled, axis=-1)
        slope = np.linalg.norm(scaled / axes, axis=-1) / np.maximum(value, 1e-9)
        across = (value - 1) / np.maximum(slope, 1 / axes.max())
        along = np.abs(points[..., 2]) - self.thickness_mm / 2
        outside = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
        return np.asarray(outside + np.minimum(np.maximum(across, along), 0))


@dataclass(frozen=True)
class Stenosis(Composite):
    """A vessel along z that narrows about z = 0, with flat ends."""

    radius_mm: float
    narrow_mm: float
    length_mm: float
    half_length_mm: float

    @property
    def bounds(self) -> Float:
        half = np.array([self.radius_mm, self.radius_mm, self.half_length_mm])
        return np.stack([-half, half])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        """Signed distance, to first order."""
        points = np.asarray(xyz, dtype=float)
        z = points[..., 2]
        bell = (self.radius_mm - self.narrow_mm) * np.exp(-((z / self.length_mm) ** 2))
        slope = 2 * z / self.length_mm**2 * bell
        across = (np.linalg.norm(points[..., :2], axis=-1) - (self.radius_mm - bell)) / np.hypot(1, slope)
        return np.asarray(np.maximum(across, np.abs(z) - self.half_length_mm))


@dataclass(frozen=True)
class Turned(Composite):
    """A body turned about the origin."""

    body: Shape
    turn_deg: tuple[float, float, float]

    @property
    def _turn(self) -> Float:
        return np.asarray(Rotation.from_euler("xyz", self.turn_deg, degrees=True).as_matrix())

    @property
    def bounds(self) -> Float:
        half = np.linalg.norm(np.abs(self.body.bounds).max(axis=0))
        return np.array([[-half] * 3, [half] * 3])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        return self.body.distance_mm(np.asarray(xyz, dtype=float) @ self._turn)


@dataclass(frozen=True)
class Scanned(Composite):
    """The part of a body within a scan: in the voxels of its grid, up to their outer faces."""

    body: Shape
    grid: Grid

    @property
    def bounds(self) -> Float:
        corners = self.grid.corners()
        low, high = self.body.bounds
        return np.stack([np.maximum(low, corners.min(axis=0)), np.minimum(high, corners.max(axis=0))])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        voxel = self.grid.to_voxel(xyz)
        half = (np.array(self.grid.shape) - 1) / 2
        beyond = (np.abs(voxel - half) - half - 0.5) * self.grid.spacing
        return np.asarray(np.maximum(self.body.distance_mm(xyz), beyond.max(axis=-1)))


DUMBBELL = Union(
    (
        Ellipsoid((0, 0, -24), (20, 20, 20)),
        Ellipsoid((0, 0, 24), (20, 20, 20)),
        Capsule((0, 0, -20), (0, 0, 20), 5),
    )
)
COLUMN_WITH_ARM = Union((Box((-10, -10, -30), (10, 10, 30)), Box((0, -10, -5), (40, 10, 5))))
Y_BRANCH = Union(
    (
        Capsule((0, 0, -30), (0, 0, 0), 5),
        Capsule((0, 0, 0), (16, 0, 26), 4),
        Capsule((0, 0, 0), (-16, 0, 26), 4),
    )
)
HOLLOW_BALL = Hollow(Ellipsoid((0, 0, 0), (20, 20, 20)), Ellipsoid((3, 0, 2), (6, 6, 6)))
AORTA = Capsule((-22, 0, -60), (22, 0, 60), 12)
SPINE = Union(
    (
        Capsule((0, 0, -60), (0, 0, 60), 14),
        Capsule((0, 22, -60), (0, 22, 60), 7),
        Box((-25, 10, -21), (25, 16, -9)),
        Box((-25, 10, 9), (25, 16, 21)),
        Box((-3, 12, -60), (3, 24, 60)),
    )
)
