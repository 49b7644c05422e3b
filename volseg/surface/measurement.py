"""Size and place of each label and of each of its pieces, by its voxels and by its surface."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Float, Grid, box_grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.mesh import Mesh
from volseg.core.noise import MOST_FACES_OF_ONE, check_no_noise
from volseg.surface.extract import LabelCrop, crop_labels, extract_surface
from volseg.surface.longest import longest_distance, longest_within
from volseg.surface.settings import SurfaceSettings
from volseg.surface.sharpen import Probabilities, check_probabilities

Point = tuple[float, float, float]

_MOST_PIECES = 10_000

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extent:
    """Size and place of a body, measured by its voxels or by its smoothed surface.

    Parameters
    ----------
    volume_ml : float
    area_mm2 : float
        By voxels up to half too large, as they form a staircase; finer voxels do not help.
    centre_mm : (x, y, z)
        Centroid of the volume, world RAS+.
    bounds_mm : ((x, y, z), (x, y, z))
        Lowest and highest world coordinates, RAS+; for voxels, those of their outer corners.
    longest_mm : float
        Largest distance between two points of the body; for voxels, between their outer corners.
    longest_axial_mm : float
        Largest distance between two points in the same axial slice of the scan.
    """

    volume_ml: float
    area_mm2: float
    centre_mm: Point
    bounds_mm: tuple[Point, Point]
    longest_mm: float
    longest_axial_mm: float


@dataclass(frozen=True)
class Measurement:
    """Size and place of one label or one of its pieces.

    Parameters
    ----------
    name : str
    value : int
        Of the label.
    piece : int, optional
        Counted from 1, the largest; None for the whole label. Voxels that touch at a corner belong to one piece.
    pieces : int
        Number of pieces of the label.
    voxels : int
    by_voxels, by_surface : Extent, optional
        None if the label does not occur. `by_surface` is also None if the scan is a single slice or the label is noise.
    """

    name: str
    value: int
    piece: int | None
    pieces: int
    voxels: int
    by_voxels: Extent | None = None
    by_surface: Extent | None = None


def measure(labels: LabelMap, *, pieces: bool = False, probabilities: Probabilities | None = None) -> list[Measurement]:
    """Measure every label of a label map.

    Parameters
    ----------
    labels : LabelMap
    pieces : bool
        For labels of several pieces, also measure each piece. Pieces follow their label, the largest first; at most
        10,000 for a label.
    probabilities : (L, I, J, K), optional
        One array for each label, for the surfaces of whole labels; see `extract_surfaces`.

    Returns
    -------
    list of Measurement
        In order of label value. Labels that do not occur are included.

    Raises
    ------
    InputError
        The probabilities do not fit the labels, or the label map is noise; see `volseg.core.noise`.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> labels = sphere_labelmap(volseg.Grid.from_spacing((32, 32, 32)), radius_mm=10)
    >>> (sphere,) = volseg.measure(labels)
    >>> sphere.voxels, round(sphere.by_surface.volume_ml, 2)
    (4224, 4.22)
    """
    if probabilities is not None:
        check_probabilities(labels, probabilities)
    check_no_noise(labels, each=False)
    single = min(labels.grid.shape) == 1
    found: dict[int, list[Measurement]] = {}
    for crop in crop_labels(labels, probabilities):
        numbers, count = ndimage.label(crop.mask, np.ones((3, 3, 3)))
        entries = [_measure_crop(crop, None, count, surface=not single)]
        if pieces and count > 1:
            for n, part in enumerate(_pieces(crop, numbers), start=1):
                entries.append(_measure_crop(part, n, count, surface=not single))
        found[crop.label.value] = entries
    measured = []
    for label in labels.labels:
        measured += found.get(label.value, [_absent(label)])
    return measured


def _absent(label: Label) -> Measurement:
    return Measurement(name=label.name, value=label.value, piece=None, pieces=0, voxels=0)


def _pieces(crop: LabelCrop, numbers: NDArray[np.int32]) -> Iterator[LabelCrop]:
    """Cut the pieces of a label out of its crop, the largest first."""
    boxes = ndimage.find_objects(numbers)
    sizes = np.bincount(numbers.ravel())[1:]
    if len(boxes) > _MOST_PIECES:
        _LOG.warning(
            "%s: has %d pieces; the %d largest are measured, remove its specks to measure all",
            *(crop.label.name, len(boxes), _MOST_PIECES),
        )
    for n in np.argsort(-sizes, kind="stable")[:_MOST_PIECES]:
        box = boxes[n]
        i, j, k = box
        room = crop.room - (i.start, j.start, k.start)
        yield replace(crop, mask=numbers[box] == n + 1, grid=box_grid(crop.grid, box), room=room, sharp=None)


def _measure_crop(crop: LabelCrop, piece: int | None, pieces: int, *, surface: bool) -> Measurement:
    faces = _outer_faces(crop.mask)
    if surface and (count := sum(faces)) > MOST_FACES_OF_ONE:
        surface = False
        _LOG.warning(
            "%s: has %.3g million outer faces of voxels, as noise has; its surface is not measured, as it would take "
            "gigabytes of memory; remove its specks and holes",
            *(crop.label.name, count / 1e6),
        )
    mesh = extract_surface(crop, SurfaceSettings())[0] if surface else None
    return Measurement(
        name=crop.label.name,
        value=crop.label.value,
        piece=piece,
        pieces=pieces,
        voxels=int(np.count_nonzero(crop.mask)),
        by_voxels=_of_voxels(crop.mask, crop.grid, faces),
        by_surface=_of_surface(mesh, crop.grid) if mesh else None,
    )


def longest_of_voxels(mask: NDArray[np.bool_], grid: Grid) -> float:
    """Return the largest distance between two outer corners of a body's voxels, mm.

    Parameters
    ----------
    mask : (I, J, K) bool
        With a voxel at least.
    grid : Grid
    """
    return longest_distance(_outer_corners(mask, grid))


def _outer_corners(mask: NDArray[np.bool_], grid: Grid) -> Float:
    """(N, 3) world coordinates of the corners of the first and the last voxel of each row."""
    axial = _axial_axis(grid)
    middle, half_slice = grid.to_world(_outer_sides(mask, axial)), grid.affine[:3, axial] / 2
    return np.concatenate([middle - half_slice, middle + half_slice])


def _of_voxels(mask: NDArray[np.bool_], grid: Grid, faces: list[int]) -> Extent:
    axial = _axial_axis(grid)
    sides = _outer_sides(mask, axial)
    world = _outer_corners(mask, grid)
    return Extent(
        volume_ml=int(np.count_nonzero(mask)) * grid.voxel_volume_mm3 / 1000,
        area_mm2=_staircase_mm2(faces, grid),
        centre_mm=_point(grid.to_world([_middle(mask, axis) for axis in range(3)])),
        bounds_mm=(_point(world.min(axis=0)), _point(world.max(axis=0))),
        longest_mm=longest_distance(world),
        longest_axial_mm=longest_within(_split(grid.to_world(sides), sides[:, axial])),
    )


def _middle(mask: NDArray[np.bool_], axis: int) -> float:
    """Return the mean place of the voxels along an axis."""
    counts = np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis}))
    return float(np.average(np.arange(len(counts)), weights=counts))


def _outer_sides(mask: NDArray[np.bool_], axis: int) -> Float:
    """(N, 3) corners of the first and the last voxel of each row in slices across an axis, some twice; in voxels.

    They lie in the middle of the slice, half a slice from the voxels' corners in front of and behind it.
    """
    row, other = (axis + 1) % 3, (axis + 2) % 3
    rows = mask.any(axis=row)
    first = mask.argmax(axis=row)[rows]
    last = mask.shape[row] - 1 - np.flip(mask, row).argmax(axis=row)[rows]
    corners = np.empty((2, 2, len(first), 3))
    corners[..., sorted((axis, other))] = np.argwhere(rows)
    corners[0, ..., row], corners[1, ..., row] = first - 0.5, last + 0.5
    corners[:, 0, :, other] -= 0.5
    corners[:, 1, :, other] += 0.5
    return corners.reshape(-1, 3)


def _split(points: Float, slices: Float) -> list[Float]:
    """Group points by their slice."""
    order = np.argsort(slices, kind="stable")
    return np.split(points[order], np.flatnonzero(np.diff(slices[order])) + 1)


def _outer_faces(mask: NDArray[np.bool_]) -> list[int]:
    """Count the outer faces of the voxels, by the axis across which they lie."""
    padded = np.pad(mask, 1)
    return [int(np.count_nonzero(np.diff(padded, axis=axis))) for axis in range(3)]


def _staircase_mm2(faces: list[int], grid: Grid) -> float:
    """Area of the voxels' outer faces."""
    edges = grid.affine[:3, :3]
    areas = [np.linalg.norm(np.cross(edges[:, axis - 2], edges[:, axis - 1])) for axis in range(3)]
    return float(np.dot(faces, areas))


def _axial_axis(grid: Grid) -> int:
    """Return the voxel axis that runs between feet and head."""
    return grid.world_axes[0].index(2)


def _of_surface(mesh: Mesh, grid: Grid) -> Extent:
    low, high = mesh.bounds
    return Extent(
        volume_ml=mesh.volume_mm3 / 1000,
        area_mm2=mesh.area_mm2,
        centre_mm=_point(_centre(mesh)),
        bounds_mm=(_point(low), _point(high)),
        longest_mm=longest_distance(mesh.vertices),
        longest_axial_mm=longest_within(_sections(mesh, grid)),
    )


def _centre(mesh: Mesh) -> Float:
    """Centre of the enclosed volume."""
    origin = mesh.vertices[0]
    a, b, c = (mesh.vertices[mesh.faces[:, n]] - origin for n in range(3))
    volumes = np.einsum("ij,ij->i", a, np.cross(b, c))
    return np.asarray(origin + volumes @ (a + b + c) / (4 * volumes.sum()))


def _sections(mesh: Mesh, grid: Grid) -> Iterator[Float]:
    """Yield the points of the outlines of a surface in each axial slice; nothing if it lies between two slices."""
    axis = _axial_axis(grid)
    height = grid.to_voxel(mesh.vertices)[:, axis]
    levels = range(int(np.ceil(height.min())), int(np.floor(height.max())) + 1)
    # Faces are sorted by their lowest corner, so that each slice looks only at a few of them.
    lowest, highest = height[mesh.faces].min(axis=1), height[mesh.faces].max(axis=1)
    order, tallest = np.argsort(lowest), (highest - lowest).max()
    lowest = lowest[order]
    for level in levels:
        start, stop = np.searchsorted(lowest, (level - tallest, level), side="right")
        yield replace(mesh, faces=mesh.faces[order[start:stop]]).section(height, level).reshape(-1, 3)


def _point(coordinates: Float) -> Point:
    x, y, z = coordinates.tolist()
    return x, y, z
