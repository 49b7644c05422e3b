"""`Grid`, the only geometry object: where the voxels of an array lie in the patient.

Voxel coordinates are ``ijk``, integers at voxel centres. World coordinates are millimetres in RAS+ (x to the
patient's right, y to the front, z to the head). DICOM, ITK and Slicer's mesh files speak LPS+; `RAS_TO_LPS`
is the one constant that changes between the two, and is its own inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
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
# Tolerances as shares of the smallest spacing: an invisible shift, and the largest allowed one.
_UNSEEN, _MOST = 0.05, 0.25
# Rounding in headers: relative to a coordinate (float32), and mm for each voxel in a row (spacings of six decimals).
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

    Examples
    --------
    >>> import volseg
    >>> grid = volseg.Grid.from_spacing((64, 64, 20), spacing=(1, 1, 5), origin=(-30, -40, 100))
    >>> grid.to_world((10, 0, 2))
    array([-20., -40., 110.])
    >>> grid.describe()
    '64x64x20 voxels, 1x1x5 mm, RAS, origin (-30.0, -40.0, 100.0)'
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
        """Make a grid whose axes are those of the world (RAS).

        Parameters
        ----------
        shape : (I, J, K)
            Number of voxels along each axis.
        spacing : (3,) float
            Distance between voxel centres, mm.
        origin : (3,) float
            World position of the centre of voxel (0, 0, 0), mm RAS+.
        """
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
        """The nearest world axis (0 x, 1 y, 2 z) of each array axis, and the sign along it."""
        direction = self.direction
        # Rounded, so that a tie (45 degrees) is always decided in the same way, whatever the last digit.
        axes = max(permutations(range(3)), key=lambda p: round(sum(abs(direction[p[a], a]) for a in range(3)), 6))
        i, j, k = (1 if direction[axes[a], a] >= 0 else -1 for a in range(3))
        return (axes[0], axes[1], axes[2]), (i, j, k)

    @property
    def orientation(self) -> str:
        """Three letters: the patient direction towards which each array axis grows, such as ``RAS``."""
        letters = ""
        for axis, sign in zip(*self.world_axes, strict=True):
            letters += _AXIS_LETTERS[axis][sign > 0]
        return letters

    @property
    def handedness(self) -> int:
        """+1 if the array axes form a right-handed system in RAS, else -1."""
        return 1 if np.linalg.det(self.affine[:3, :3]) > 0 else -1

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not perpendicular (a cosine above 1e-4)."""
        return bool(np.abs(self.direction.T @ self.direction - np.eye(3)).max() > 1e-4)

    def to_world(self, ijk: ArrayLike) -> Float:
        """Map voxel coordinates to world coordinates.

        Parameters
        ----------
        ijk : (..., 3) float

        Returns
        -------
        (..., 3) float64
            World mm, RAS+.
        """
        i, j, k = np.moveaxis(np.asarray(ijk, dtype=np.float64), -1, 0)
        world = np.empty((*i.shape, 3))
        # No matrix product: for many points by three BLAS starts threads, which cost more than the product.
        for axis, (a, b, c, offset) in enumerate(self.affine[:3]):
            world[..., axis] = a * i + b * j + c * k + offset
        return world

    def to_voxel(self, xyz: ArrayLike) -> Float:
        """Map world coordinates to voxel coordinates.

        Parameters
        ----------
        xyz : (..., 3) float
            World mm, RAS+.

        Returns
        -------
        (..., 3) float64
            Fractional voxel coordinates.
        """
        offsets = np.asarray(xyz, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(np.linalg.solve(self.affine[:3, :3], offsets.reshape(-1, 3).T).T.reshape(offsets.shape))

    def corners(self) -> Float:
        """(8, 3) world mm of the outer corners of the corner voxels (half a voxel outside their centres)."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return self.to_world(list(product(*ends)))

    def crop(self, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Grid:
        """Return the grid of ``array[i0:i1, j0:j1, k0:k1]``.

        Parameters
        ----------
        start, stop : (int, int, int)
            The first voxel, and the one after the last, on each axis. Values outside 0..shape pad instead of crop.
        """
        i, j, k = np.subtract(stop, start).tolist()
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(start)
        return Grid((i, j, k), affine)

    def pad(self, width: int) -> Grid:
        """Return the grid of an array that is padded on every side.

        Parameters
        ----------
        width : int
            Number of voxels on each side.
        """
        i, j, k = self.shape
        return self.crop((-width, -width, -width), (i + width, j + width, k + width))

    def is_close(self, other: Grid, *, tolerance_mm: float | None = None) -> bool:
        """Whether two grids are the same: equal shapes, and all corresponding outer corners within a tolerance.

        All code that needs files on the same grid uses this rule. The tolerance is 5 % of the smallest spacing of both
        grids. If the rounding of numbers in headers (float32; six decimals) is larger than that, which happens only for
        very small voxels, the tolerance is the rounding, up to 25 % of the spacing. The result is the same if the grids
        are exchanged, and if both are scaled.

        Parameters
        ----------
        other : Grid
        tolerance_mm : float, optional
            Replaces the tolerance of the rule.
        """
        if self.shape != other.shape:
            return False
        return self.distance_mm(other) <= (self.tolerance_mm(other) if tolerance_mm is None else tolerance_mm)

    def tolerance_mm(self, other: Grid) -> float:
        """Return the largest distance of corresponding corners at which two grids are the same, mm; see `is_close`.

        Parameters
        ----------
        other : Grid
        """
        spacing = min(*self.spacing, *other.spacing)
        farthest = max(np.abs(self.corners()).max(), np.abs(other.corners()).max())
        rounded = _ROUNDING * max(farthest, *self.shape, *other.shape)
        return float(np.clip(rounded, _UNSEEN * spacing, _MOST * spacing))

    def distance_mm(self, other: Grid) -> float:
        """Return the largest distance between corresponding outer corners of the two grids, mm.

        Parameters
        ----------
        other : Grid
        """
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())

    def describe(self) -> str:
        """Return one line for messages and tables: size, spacing, orientation, origin."""
        size = "{}x{}x{}".format(*self.shape)
        spacing = "{:.4g}x{:.4g}x{:.4g}".format(*self.spacing)
        origin = "{:.1f}, {:.1f}, {:.1f}".format(*self.origin)
        return f"{size} voxels, {spacing} mm, {self.orientation}, origin ({origin})"

    def __getstate__(self) -> dict[str, Any]:
        return {"shape": self.shape, "affine": np.array(self.affine)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "shape", state["shape"])
        object.__setattr__(self, "affine", state["affine"])
        self.affine.setflags(write=False)


def box_grid(grid: Grid, box: Sequence[slice]) -> Grid:
    """Return the grid of ``array[box]``.

    Parameters
    ----------
    grid : Grid
        Of the whole array.
    box : three slices
        With explicit starts and stops.
    """
    i, j, k = box
    return grid.crop((i.start, j.start, k.start), (i.stop, j.stop, k.stop))
