"""The slices of a scan that a contact sheet shows, in the radiological display convention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid, box_grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation, reorient
from volseg.core.slices import NORMAL_AXIS, coarse_plane, in_plane, stack_slices
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError
from volseg.view.greyscale import display_window, to_grey

# The array axes grow to the patient's left, back and feet. Then columns run to the right of the picture and rows down
# in all three planes of the radiological convention (patient's right on the left; sagittal: front on the left).
DISPLAYED = "LPI"
# Letters at the left, right, upper and lower edge of a slice in the radiological convention.
EDGES: dict[Plane, str] = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
_MARGIN_MM = 20.0
_MARGIN_FRACTION = 0.25
_FARTHEST = 8  # largest common grid, as a multiple of the voxels of all label maps


@dataclass(frozen=True)
class SheetSlice:
    """One slice: (H, W) uint8 `grey`, (L, H, W) values of each label map, a position as in ``S 43.5 mm``, a number."""

    grey: NDArray[np.uint8]
    values: NDArray[Any]
    position: str
    number: int


@dataclass(frozen=True)
class Sheet:
    """Slices of one plane through the voxels of `grid`, with its (normal, row, column) axes."""

    slices: tuple[SheetSlice, ...]
    plane: Plane
    grid: Grid
    axes: tuple[int, int, int]

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Spacing of rows and of columns."""
        return self.grid.spacing[self.axes[1]], self.grid.spacing[self.axes[2]]

    def section(self, mesh: Mesh, one: SheetSlice) -> NDArray[np.float64]:
        """(S, 2, 2) segments in which a slice cuts a mesh: row and column of both ends, in pixels."""
        place = self.grid.to_voxel(mesh.vertices)
        normal, row, column = self.axes
        return mesh.with_vertices(place).section(place[:, normal], one.number)[:, :, [row, column]]


@dataclass(frozen=True, eq=False)
class Display:
    """A scan and its label maps in the order of display, to cut slices from.

    Parameters
    ----------
    grid : Grid
        Its axes grow to the patient's left, back and feet.
    array : (I, J, K), optional
        The scan; without it slices are black.
    values : tuple of (I, J, K) integers
        Of each label map.
    window : (low, high), optional
        Intensities that are drawn black and white.
    """

    grid: Grid
    array: NDArray[Any] | None
    values: tuple[NDArray[Any], ...]
    window: tuple[float, float] | None

    @classmethod
    def of(cls, volume: Volume | None, labels: Sequence[LabelMap]) -> Display:
        """Turn a scan and its label maps to the order of display.

        Parameters
        ----------
        volume : Volume or None
        labels : sequence of LabelMap
            They may overlap.

        Raises
        ------
        InputError
            Neither a scan nor a label map is given.
        GeometryError
            The voxels of scan and label maps do not coincide.
        """
        if volume is None:
            grid, array, window = common_grid(labels, DISPLAYED), None, None
        else:
            array, grid = reorient(volume.array, volume.grid, DISPLAYED)
            window = display_window(volume)
        described = (volume or labels[0]).grid.describe()
        return cls(grid, array, tuple(_values_on(grid, layer, described=described) for layer in labels), window)

    @cached_property
    def plane(self) -> Plane:
        """The plane of the slices as they were scanned; axial if they are nearly as thick as pixels are wide."""
        return coarse_plane(self.grid)

    @cached_property
    def _labelled(self) -> tuple[tuple[int, int], ...]:
        """The first and one-past-last labelled slice along each axis; all slices if nothing is labelled."""
        present = np.zeros(self.grid.shape, dtype=np.bool_)
        for layer in self.values:
            present |= layer != 0
        found = []
        for axis, size in enumerate(self.grid.shape):
            where = np.flatnonzero(present.any(axis=tuple({0, 1, 2} - {axis})))
            found.append((int(where[0]), int(where[-1]) + 1) if where.size else (0, size))
        return tuple(found)

    def extent(self, plane: Plane) -> tuple[int, int]:
        """Return the first slice of a plane that has labels, and the one after the last; all if nothing is labelled."""
        along = _box_around(self._labelled, self.grid, plane)[NORMAL_AXIS[plane]]
        return along.start, along.stop

    def sheet(self, plane: Plane, indices: Sequence[int]) -> Sheet:
        """Cut slices, cropped around the labels.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"}
        indices : sequence of int
            Along the normal axis of the plane, from the head, front or right onwards.
        """
        box, normal = _box_around(self._labelled, self.grid, plane), NORMAL_AXIS[plane]
        row_axis, column_axis = in_plane(plane)[::-1]
        # stack_slices gives (S, column axis, row axis) here, hence the transposition.
        crop = (slice(None), box[column_axis], box[row_axis])
        values = [stack_slices(layer, plane)[crop].transpose(0, 2, 1) for layer in self.values]
        shape = (box[row_axis].stop - box[row_axis].start, box[column_axis].stop - box[column_axis].start)
        slices = []
        for n in indices:
            grey = np.zeros(shape, dtype=np.uint8)
            if self.array is not None and self.window is not None:
                grey = to_grey(stack_slices(self.array, plane)[crop].transpose(0, 2, 1)[n], self.window)
            values_here = np.array([stack[n] for stack in values]).reshape(-1, *shape)
            slices.append(SheetSlice(grey, values_here, _position(self.grid, plane, n), n - box[normal].start))
        return Sheet(tuple(slices), plane, box_grid(self.grid, box), (normal, row_axis, column_axis))


def select_slices(volume: Volume | None, labels: Sequence[LabelMap], *, count: int) -> Sheet:
    """Choose evenly spaced slices across the coarse axis, over the extent of the labels and cropped around them.

    Parameters
    ----------
    volume : Volume or None
        The scan; without it the slices are black.
    labels : sequence of LabelMap
        They may overlap. If no label occurs, the slices cover the whole scan.
    count : int
        Largest number of slices.

    Returns
    -------
    Sheet
        Rows and columns in the radiological display convention, from the head, front or right onwards.

    Raises
    ------
    InputError
        Neither a scan nor a label map is given.
    GeometryError
        The voxels of scan and label maps do not coincide.
    """
    display = Display.of(volume, labels)
    return display.sheet(display.plane, spread_slices(display.extent(display.plane), count))


def spread_slices(extent: tuple[int, int], count: int) -> list[int]:
    """Return the numbers of slices that are spread evenly over an extent.

    Parameters
    ----------
    extent : (first, stop)
    count : int
        Largest number of slices.
    """
    first, stop = extent
    places = np.floor(first + (np.arange(count) + 0.5) / count * (stop - first))
    numbers: list[int] = np.unique(places.astype(int)).tolist()
    return numbers


def common_grid(labels: Sequence[LabelMap], orientation: str) -> Grid:
    """Return the grid of the first label map, in another order, enlarged to hold the others.

    Parameters
    ----------
    labels : sequence of LabelMap
    orientation : str
        Three letters, as for `volseg.core.resample.reorient`.

    Raises
    ------
    InputError
        There is no label map.
    GeometryError
        The label maps lie so far apart that the grid would be mostly empty.
    """
    if not labels:
        raise InputError("nothing to draw; a contact sheet needs a scan or a label map")
    first = Reorientation.between(labels[0].grid, orientation).grid(labels[0].grid)
    corners, voxels = [], 0
    for layer in labels:
        corners.append(first.to_voxel(layer.grid.corners()))
        voxels += layer.array.size
    places = np.concatenate(corners)
    low, high = np.rint(places.min(axis=0) + 0.5).astype(int), np.rint(places.max(axis=0) + 0.5).astype(int)
    if np.prod((high - low).astype(float)) > _FARTHEST * voxels:
        raise GeometryError("the label maps lie apart from each other; look at them one by one, or take a screenshot")
    start, stop = low.tolist(), high.tolist()
    return first.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _values_on(grid: Grid, labels: LabelMap, *, described: str) -> NDArray[Any]:
    """(I, J, K) values of a label map on the voxels of a grid; 0 outside the label map."""
    change = Reorientation.onto(labels.grid, grid)
    values, label_grid = change.array(labels.array), change.grid(labels.grid)
    i, j, k = np.rint(grid.to_voxel(label_grid.origin)).astype(int).tolist()
    start, stop = (i, j, k), (i + values.shape[0], j + values.shape[1], k + values.shape[2])
    target, source, overlaps = [], [], True
    for first, last, size in zip(start, stop, grid.shape, strict=True):
        low, high = max(first, 0), min(last, size)
        target.append(slice(low, high))
        source.append(slice(low - first, high - first))
        overlaps = overlaps and low < high
    if not overlaps or not grid.crop(start, stop).is_close(label_grid):
        raise GeometryError(
            f"the label map ({labels.grid.describe()}) does not lie on voxels of the scan ({described}); "
            f"resample one onto the other, or take a screenshot, which places both by millimetres"
        )
    placed = np.zeros(grid.shape, dtype=values.dtype)
    placed[*target] = values[*source]
    return placed


def _box_around(labelled: Sequence[tuple[int, int]], grid: Grid, plane: Plane) -> list[slice]:
    """Return the box of what is labelled along each axis, with a margin within the plane."""
    box = []
    for axis, (size, spacing) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
        first, last = labelled[axis]
        margin = int(np.ceil(_MARGIN_MM / spacing + _MARGIN_FRACTION * (last - first)))
        margin = 0 if axis == NORMAL_AXIS[plane] else margin
        box.append(slice(max(first - margin, 0), min(last + margin, size)))
    return box


def _position(grid: Grid, plane: Plane, index: int) -> str:
    centre = (np.array(grid.shape) - 1) / 2
    axis = NORMAL_AXIS[plane]
    centre[axis] = index
    position = float(grid.to_world(centre)[axis])
    return f"{('RAS' if position >= 0 else DISPLAYED)[axis]} {abs(position):.1f} mm"
