"""Size and place of each label, and of each of its pieces: of the voxels and of the surface, side by side."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Float, Grid
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
    """Size and place of a body, in one of two ways: of its voxels, or of its smoothed surface.

    Parameters
    ----------
    volume_ml : float
    area_mm2 : float
        The staircase of voxels has up to half too much, and finer voxels do not help; the surface has not.
    centre_mm : (x, y, z)
        Of its volume, world RAS+.
    bounds_mm : ((x, y, z), (x, y, z))
        Lowest and highest world coordinates, RAS+; of the voxels' outer corners.
    longest_mm : float
        Largest distance between two of its points; of voxels, between outer corners.
    longest_axial_mm : float
        The same within one axial slice of the scan, whichever has the largest.
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
        The label's.
    piece : int, optional
        From 1, the largest; None for the whole label. Voxels that touch at a corner are of one piece.
    pieces : int
        Of the label.
    voxels : int
    by_voxels, by_surface : Extent, optional
        None where the label does not occur; by surface also where the scan is a single slice, or the label noise.
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
        Also each piece of labels that have several, after the whole one, the largest first; up to 10,000 of a label.
    probabilities : (L, I, J, K), optional
        Of each label, for the surfaces of whole labels; see `extract_surfaces`.

    Returns
    -------
    list of Measurement
        In order of label value, present or not.

    Raises
    ------
    InputError
        The probabilities are not those of these labels, or the label map is noise; see `volseg.core.noise`.

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
        parts = _pieces(crop, numbers) if pieces and count > 1 else iter(())
        found[crop.label.value] = [
            _measure_crop(part, n or None, count, surface=not single) for n, part in enumerate((crop, *parts))
        ]
    return [entry for label in labels.labels for entry in found.get(label.value, [_absent(label)])]


def _absent(label: Label) -> Measurement:
    return Measurement(name=label.name, value=label.value, piece=None, pieces=0, voxels=0)


def _pieces(crop: LabelCrop, numbers: NDArray[np.int32]) -> Iterator[LabelCrop]:
    """Cut the pieces of a label out of its crop, the largest first."""
    boxes = ndimage.find_objects(numbers)
    sizes = np.bincount(numbers.ravel())[1:]
    if len(boxes) > _MOST_PIECES:
        _LOG.warning(
            "%s: has %d pieces; the %d largest are measured, remove its specks to have all",
            *(crop.label.name, len(boxes), _MOST_PIECES),
        )
    for n in np.argsort(-sizes, kind="stable")[:_MOST_PIECES]:
        box = boxes[n]
        start = tuple(s.start for s in box)
        grid = crop.grid.crop(start, tuple(s.stop for s in box))
        yield replace(crop, mask=numbers[box] == n + 1, grid=grid, room=crop.room - start, sharp=None)


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


def _of_voxels(mask: NDArray[np.bool_], grid: Grid, faces: list[int]) -> Extent:
    axial = _axial_axis(grid)
    sides = _outer_sides(mask, axial)
    half_slice = grid.affine[:3, axial] / 2
    middle = grid.to_world(sides)
    world = np.concatenate([middle - half_slice, middle + half_slice])
    return Extent(
        volume_ml=int(np.count_nonzero(mask)) * grid.voxel_volume_mm3 / 1000,
        area_mm2=_staircase_mm2(faces, grid),
        centre_mm=_point(grid.to_world([_middle(mask, axis) for axis in range(3)])),
        bounds_mm=(_point(world.min(axis=0)), _point(world.max(axis=0))),
        longest_mm=longest_distance(world),
        longest_axial_mm=longest_within(_split(middle, sides[:, axial])),
    )


def _middle(mask: NDArray[np.bool_], axis: int) -> float:
    """Return the mean place of the voxels along an axis."""
    counts = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
    return float(np.average(np.arange(len(counts)), weights=counts))


def _outer_sides(mask: NDArray[np.bool_], axis: int) -> Float:
    """(N, 3) corners, in voxels, of slices across an axis: of the first and the last voxel of each row, some twice.

    They lie in the middle of the slice, between the voxels' corners in front of and behind it.
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
    """Put points of one slice together."""
    order = np.argsort(slices, kind="stable")
    return np.split(points[order], np.flatnonzero(np.diff(slices[order])) + 1)


def _outer_faces(mask: NDArray[np.bool_]) -> list[int]:
    """Count the voxels' faces to the outside, by the axis that they lie across."""
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
    """Yield the points of the outlines of a surface in each axial slice; nothing where it lies between two."""
    axis = _axial_axis(grid)
    height = grid.to_voxel(mesh.vertices)[:, axis]
    levels = range(int(np.ceil(height.min())), int(np.floor(height.max())) + 1)
    # Sorted by their lowest corner, so that of all faces only a few are asked for each slice.
    lowest, highest = height[mesh.faces].min(axis=1), height[mesh.faces].max(axis=1)
    order, tallest = np.argsort(lowest), (highest - lowest).max()
    lowest = lowest[order]
    for level in levels:
        start, stop = np.searchsorted(lowest, (level - tallest, level), side="right")
        yield replace(mesh, faces=mesh.faces[order[start:stop]]).section(height, level).reshape(-1, 3)


def _point(coordinates: Float) -> Point:
    x, y, z = coordinates.tolist()
    return x, y, z
