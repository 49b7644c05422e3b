"""The content of a 3D picture: coloured meshes and three slices of a scan, all in world millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.view.greyscale import display_window, to_grey

_MARGIN_MM = 20.0
_MARGIN_FRACTION = 0.4


@dataclass(frozen=True)
class SlicePicture:
    """A slice as a flat picture in space.

    Parameters
    ----------
    grey : (H, W) uint8
    corners : (4, 3) float
        World mm of the outer corners of pixels (0, 0), (0, W-1), (H-1, W-1), (H-1, 0).
    """

    grey: NDArray[np.uint8]
    corners: Float


@dataclass(frozen=True)
class Scene:
    """Meshes and slices to draw. The data can be pickled, so that another process can draw it."""

    meshes: tuple[Mesh, ...]
    slices: tuple[SlicePicture, ...]
    title: str


def make_scene(*, meshes: Sequence[Mesh] = (), volume: Volume | None = None) -> Scene:
    """Put meshes and three orthogonal slices of a scan together.

    The slices run along the scan's own voxel axes through the middle of the meshes, and reach a little beyond them.
    They are placed by the scan's affine, so an oblique or sheared scan is drawn where it lies.

    Parameters
    ----------
    meshes : sequence of Mesh
        World mm RAS+. Meshes without faces are left out.
    volume : Volume, optional

    Raises
    ------
    InputError
        Neither a mesh with faces nor a scan is given.
    """
    solid = tuple(mesh for mesh in meshes if len(mesh.faces))
    if not solid and volume is None:
        raise InputError("nothing to draw; a 3D picture needs a mesh or a scan")
    title = (volume.name if volume else None) or ", ".join(mesh.name for mesh in solid[:3])
    return Scene(solid, _slices(volume, _bounds(solid)) if volume else (), title)


def _bounds(meshes: tuple[Mesh, ...]) -> Float | None:
    """(2, 3) lowest and highest world coordinates of all meshes."""
    if not meshes:
        return None
    bounds = np.stack([mesh.bounds for mesh in meshes])
    return np.stack([bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)])


def _slices(volume: Volume, bounds: Float | None) -> tuple[SlicePicture, ...]:
    start, stop = _voxel_box(volume, bounds)
    middle = np.add(start, stop) // 2
    if bounds is not None:
        middle = np.rint(volume.grid.to_voxel(bounds.mean(axis=0))).astype(int).clip(start, np.subtract(stop, 1))
    window = display_window(volume)
    pictures = []
    for axis in range(3):
        centre = int(middle[axis])
        rows, columns = sorted({0, 1, 2} - {axis})
        corner = np.tile(np.subtract(start, 0.5), (4, 1))
        corner[:, axis] = centre
        corner[2:, rows] = stop[rows] - 0.5
        corner[1:3, columns] = stop[columns] - 0.5
        # The two axes that are left keep their order: rows, then columns.
        picture = volume.array.take(centre, axis)[start[rows] : stop[rows], start[columns] : stop[columns]]
        pictures.append(SlicePicture(to_grey(picture, window), volume.grid.to_world(corner)))
    return tuple(pictures)


def _voxel_box(volume: Volume, bounds: Float | None) -> tuple[list[int], list[int]]:
    """Return the first and one-past-last voxels of the part of the scan around the meshes."""
    shape = np.array(volume.grid.shape)
    if bounds is None:
        return [0, 0, 0], shape.tolist()
    margin = _MARGIN_MM + _MARGIN_FRACTION * (bounds[1] - bounds[0])
    low, high = bounds[0] - margin, bounds[1] + margin
    corners = volume.grid.to_voxel([*product(*np.stack([low, high], axis=1))])
    # Meshes that lie outside the scan leave one layer of voxels at its border.
    start = np.clip(np.floor(corners.min(axis=0)), 0, shape - 1).astype(int)
    stop = np.clip(np.ceil(corners.max(axis=0)) + 1, start + 1, shape).astype(int)
    return start.tolist(), stop.tolist()
