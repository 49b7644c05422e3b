"""`Grid`, the only geometry object: where the voxels of an array lie in the patient.

Voxel coordinates are ``ijk``, integers at voxel centres. World coordinates are millimetres in RAS+ (x to the
patient's right, y to the front, z to the head). DICOM, ITK and Slicer's mesh files speak LPS+; `RAS_TO_LPS`
is the one constant that changes between the two, and is its own inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from volseg.errors import GeometryError

Float = NDArray[np.float64]

RAS_TO_LPS: Float = np.diag([-1.0, -1.0, 1.0, 1.0])
RAS_TO_LPS.setflags(write=False)

# Voxels from the centre of one to its edge, and rounding.
TO_EDGE = 0.5 + 1e-3
# Of the smallest spacing: what changes nothing that anyone could see, and what is surely the same voxel.
_UNSEEN, _MOST = 0.05, 0.25
# What headers round, of a coordinate in mm (float32) and for each voxel in a row (spacings of six decimals).
_ROUNDING = 4e-6
_AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of voxels in world space.

    Parameters
    ----------
    shape : (I, J, K)
        Number of voxels along each array axis, each at least 1.
    affine : (4, 4) float64
        Voxel index -> world mm, RAS+. Shear (a tilted gantry) is legal.

    Raises
    ------
    GeometryError
        Wrong shape, non-finite or singular affine.
    """

    shape: tuple[int, int, int]
    affine: Float

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"grid shape is {shape}; expected three numbers of at least 1")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"affine is {affine.tolist()}; expected a finite 4x4 matrix")
        if not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise GeometryError(f"last row of the affine is {affine[3].tolist()}; expected [0, 0, 0, 1]")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        # Relative to the spacings, so that micrometre voxels are not mistaken for a singular matrix.
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise GeometryError(f"affine {affine[:3, :3].tolist()} is singular; expected three independent axes")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_spacing(
        cls, shape: tuple[int, int, int], spacing: ArrayLike = (1, 1, 1), origin: ArrayLike = (0, 0, 0)
    ) -> Grid:
        """Make an axis-aligned RAS grid from spacing (mm) and the world position of voxel (0, 0, 0)."""
        affine = np.diag([*np.asarray(spacing, dtype=float), 1.0])
        affine[:3, 3] = np.asarray(origin, dtype=float)
        return cls(shape, affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each array axis, mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def origin(self) -> tuple[float, float, float]:
        """World position of the centre of voxel (0, 0, 0), mm RAS+."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def direction(self) -> Float:
        """(3, 3) unit vectors of the array axes as columns, RAS+."""
        return np.asarray(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def world_axes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """For each array axis the nearest world axis (0 x, 1 y, 2 z), and the sign along it."""
        direction = self.direction
        # Rounded, so that at a tie (45 degrees) the same choice is made whatever the last digit.
        axes = max(permutations(range(3)), key=lambda p: round(sum(abs(direction[p[a], a]) for a in range(3)), 6))
        i, j, k = (1 if direction[axes[a], a] >= 0 else -1 for a in range(3))
        return (axes[0], axes[1], axes[2]), (i, j, k)

    @property
    def orientation(self) -> str:
        """Three letters: the patient direction towards which each array axis grows, such as ``RAS``."""
        axes, signs = self.world_axes
        return "".join(_AXIS_LETTERS[axis][sign > 0] for axis, sign in zip(axes, signs, strict=True))

    @property
    def handedness(self) -> int:
        """+1 where the array axes form a right-handed system in RAS, else -1."""
        return 1 if np.linalg.det(self.affine[:3, :3]) > 0 else -1

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not perpendicular (a cosine above 1e-4)."""
        return bool(np.abs(self.direction.T @ self.direction - np.eye(3)).max() > 1e-4)

    def to_world(self, ijk: ArrayLike) -> Float:
        """Map (..., 3) voxel coordinates to (..., 3) world mm, RAS+."""
        i, j, k = np.moveaxis(np.asarray(ijk, dtype=np.float64), -1, 0)
        world = np.empty((*i.shape, 3))
        # Not as a matrix product: many points by three make BLAS wake threads that cost more than the product.
        for axis, (a, b, c, offset) in enumerate(self.affine[:3]):
            world[..., axis] = a * i + b * j + c * k + offset
        return world

    def to_voxel(self, xyz: ArrayLike) -> Float:
        """Map (..., 3) world mm, RAS+, to (..., 3) fractional voxel coordinates."""
        offsets = np.asarray(xyz, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(np.linalg.solve(self.affine[:3, :3], offsets.reshape(-1, 3).T).T.reshape(offsets.shape))

    def corners(self) -> Float:
        """(8, 3) world mm of the outer corners of the corner voxels (half a voxel outside their centres)."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return self.to_world(list(product(*ends)))

    def crop(self, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Grid:
        """Return the grid of ``array[i0:i1, j0:j1, k0:k1]``; values outside 0..shape pad instead of crop."""
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(start)
        return Grid((shape[0], shape[1], shape[2]), affine)

    def pad(self, width: int) -> Grid:
        """Return the grid of an array padded by `width` voxels on every side."""
        i, j, k = self.shape
        return self.crop((-width, -width, -width), (i + width, j + width, k + width))

    def is_close(self, other: Grid, *, tolerance_mm: float | None = None) -> bool:
        """Whether two grids are the same: of one shape, and every outer corner within the tolerance of the other's.

        This is the one rule, wherever files must lie on the same grid. The tolerance is 5 % of the smallest spacing of
        the two. Where numbers in headers are rounded by more (float32; six decimals), which only very small voxels
        show, it is that, up to 25 % of the spacing. Neither order nor the scale of the world matters.

        Parameters
        ----------
        other : Grid
        tolerance_mm : float, optional
            In place of the rule's.
        """
        if self.shape != other.shape:
            return False
        return self.distance_mm(other) <= (self.tolerance_mm(other) if tolerance_mm is None else tolerance_mm)

    def tolerance_mm(self, other: Grid) -> float:
        """How far corners of two grids that are the same may be apart, mm; see `is_close`."""
        spacing = min(*self.spacing, *other.spacing)
        rounded = _ROUNDING * max(*(np.abs(grid.corners()).max() for grid in (self, other)), *self.shape, *other.shape)
        return float(np.clip(rounded, _UNSEEN * spacing, _MOST * spacing))

    def distance_mm(self, other: Grid) -> float:
        """Largest distance between corresponding outer corners of the two grids, mm."""
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())

    def describe(self) -> str:
        """One line for messages and tables: size, spacing, orientation, origin."""
        size = "x".join(map(str, self.shape))
        spacing = "x".join(f"{s:.4g}" for s in self.spacing)
        origin = ", ".join(f"{x:.1f}" for x in self.origin)
        return f"{size} voxels, {spacing} mm, {self.orientation}, origin ({origin})"

    def __getstate__(self) -> dict[str, Any]:
        return {"shape": self.shape, "affine": np.array(self.affine)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "shape", state["shape"])
        object.__setattr__(self, "affine", state["affine"])
        self.affine.setflags(write=False)
