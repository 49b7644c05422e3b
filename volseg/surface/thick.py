"""The surface of one label on thick slices: extracted body by body, smoothed by less than half a pixel."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Float, Grid
from volseg.core.mesh import Mesh
from volseg.surface.between_slices import march_between_slices, pixel_mm
from volseg.surface.smooth import connected_pieces, moved_to_volume, smooth_mesh

_LOG = logging.getLogger(__name__)

MOST_MOVED = 0.2  # pixels by which a body may be moved outwards to enclose as much as its voxels
_MOST_SMOOTHED = 0.22  # pixels by which a vertex may be moved by smoothing
_MOST_SLID = 0.05  # pixels by which an outline moves in its slice where a wall slides along itself
_STEEPEST = 1e-6  # steeper walls count as upright
_AT_END = 1e-3  # slices
_CORNERS = np.ones((3, 3, 3), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class ThickSlices:
    """The connected bodies of a mask on thick slices.

    `bodies` are their surfaces as marched, with the volume of their voxels in mm3. `room` (2, 3) are the lowest and
    highest voxel coordinates of the scan on `grid`; `axis` is the one across slices.
    """

    bodies: tuple[tuple[Mesh, float], ...]
    grid: Grid
    room: Float
    axis: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_], grid: Grid, room: Float, axis: int) -> ThickSlices:
        """Extract the surfaces; see `march_between_slices`."""
        low, high = room[:, axis] == (-0.5, mask.shape[axis] - 0.5)
        found = march_between_slices(mask, grid, axis, cut=(bool(low), bool(high)))
        bodies = []
        for mesh, voxels in found:
            within = grid.to_world(np.clip(grid.to_voxel(mesh.vertices), *room))
            bodies.append((mesh.with_vertices(within), voxels * grid.voxel_volume_mm3))
        return cls(tuple(bodies), grid, room, axis)

    @property
    def mesh(self) -> Mesh:
        """All surfaces as marched."""
        return Mesh.joined([mesh for mesh, _ in self.bodies])

    def smoothed(self, volume_mm3: float, max_move_mm: float | None = None) -> Mesh:
        """Smooth the surfaces; they stay within the scan, and flat where it cuts them.

        Each is moved by `MOST_MOVED` pixels at most to enclose its share of the volume. No vertex moves further than
        half a pixel, or `max_move_mm`.
        """
        most = _MOST_SMOOTHED * self._pixel_mm
        outwards = MOST_MOVED * self._pixel_mm
        if max_move_mm is not None:
            most, outwards = min(most, max_move_mm / 2), min(outwards, max_move_mm / 2)
        counted_mm3 = sum(mm3 for _, mm3 in self.bodies)
        moved = []
        for mesh, mm3 in self.bodies:
            smooth = smooth_mesh(mesh, max_move_mm=most)
            smooth = moved_to_volume(smooth, volume_mm3 * mm3 / counted_mm3, np.eye(3), outwards)
            moved.append(self._held(mesh, smooth))
        return Mesh.joined(moved)

    def _held(self, before: Mesh, after: Mesh) -> Mesh:
        """Keep a smoothed surface within the scan, and its outlines in the slices where they are.

        Across slices a vertex moves at most half of its distance to a slice, or to the face where the scan ends. A flat
        end just above a slice would otherwise move away from it.
        """
        old, new = self.grid.to_voxel(before.vertices), self.grid.to_voxel(after.vertices)
        place = old[:, self.axis]
        low, high = self.room[:, self.axis]
        most = np.min(np.abs([place - np.round(place), place - low, place - high]), axis=0) / 2
        # A steep wall may slide along itself, as that moves its outline little.
        normals = before.area_vectors @ self.grid.affine[:3, :3] / self.grid.spacing
        across = np.abs(normals[:, self.axis])
        along = np.sqrt(np.maximum((normals**2).sum(axis=1) - across**2, 0))
        slide_mm = _MOST_SLID * self._pixel_mm * along / np.maximum(across, _STEEPEST * along + _STEEPEST)
        at_end = np.minimum(np.abs(place - low), np.abs(place - high)) < _AT_END
        most = np.where(at_end, 0, np.maximum(most, slide_mm / self.grid.spacing[self.axis]))
        new[:, self.axis] = place + np.clip(new[:, self.axis] - place, -most, most)
        return after.with_vertices(self.grid.to_world(np.clip(new, *self.room)))

    @property
    def _pixel_mm(self) -> float:
        return pixel_mm(self.grid, self.axis)


def warn_of_pieces(mesh: Mesh, mask: NDArray[np.bool_]) -> None:
    """Warn if a surface has not as many pieces or cavities as its voxels.

    Voxels that touch by an edge or a corner only may count as one piece or as two.

    Parameters
    ----------
    mesh : Mesh
        The surface of the mask.
    mask : (I, J, K) bool
    """
    numbers = connected_pieces(mesh.faces, len(mesh.vertices))[mesh.faces[:, 0]]
    volumes = np.bincount(numbers, weights=mesh.signed_volumes)
    pieces, cavities = np.count_nonzero(volumes > 0), np.count_nonzero(volumes < 0)
    outside = np.pad(~mask, 1, constant_values=True)
    for name, found, voxels, extra in (("pieces", pieces, mask, 0), ("cavities", cavities, outside, 1)):
        fewest = ndimage.label(voxels, _CORNERS)[1] - extra
        most = ndimage.label(voxels)[1] - extra
        if not fewest <= found <= most:
            _LOG.warning("%s: the surface has %d %s, the voxels have %d", mesh.name, found, name, fewest)
