"""Which slices of a scan a contact sheet shows, turned the way radiologists look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation, reorient
from volseg.core.slices import NORMAL_AXIS, in_plane, stack_slices
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError
from volseg.view.greyscale import display_window, to_grey

# Array axes grow to the patient's left, back and feet: columns then run to the right of the picture and rows down
# in all three planes of the radiological convention (patient's right on the left; sagittal: front on the left).
_DISPLAY = "LPI"
_MARGIN_MM = 20.0
_MARGIN_FRACTION = 0.25
_FARTHEST = 8  # times the voxels of all label maps


@dataclass(frozen=True)
class SheetSlice:
    """One slice: (H, W) uint8 `grey`, (L, H, W) values of each label map, place such as ``S 43.5 mm``, and number."""

    grey: NDArray[np.uint8]
    values: NDArray[Any]
    position: str
    number: int


@dataclass(frozen=True)
class Sheet:
    """Slices of one plane: which voxels of `grid` they show, as (normal, row, column) axes of it."""

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


def select_slices(volume: Volume | None, labels: Sequence[LabelMap], *, count: int) -> Sheet:
    """Choose evenly spaced slices across the coarse axis, over the extent of the labels and cropped around them.

    Parameters
    ----------
    volume : Volume or None
        The scan; without it the slices are black.
    labels : sequence of LabelMap
        They may overlap. Without labels, or where none occurs, the slices cover the whole scan.
    count : int
        At most so many slices.

    Returns
    -------
    Sheet
        Rows and columns in the radiological display convention, from the head, front or right onwards.

    Raises
    ------
    InputError
        Neither a scan nor a label map.
    GeometryError
        The voxels of scan and label maps do not coincide.
    """
    if volume is not None:
        array, grid = reorient(volume.array, volume.grid, _DISPLAY)
    else:
        grid = _common_grid(labels)
        array = np.zeros(grid.shape, dtype=np.uint8)
    values = [_values_on(grid, layer, described=(volume or labels[0]).grid.describe()) for layer in labels]
    plane = _coarse_plane(grid)
    box, normal = _box_around(values, grid, plane), NORMAL_AXIS[plane]
    first, last = box[normal].start, box[normal].stop
    indices = np.unique(np.floor(first + (np.arange(count) + 0.5) / count * (last - first)).astype(int))
    row_axis, column_axis = in_plane(plane)[::-1]
    # stack_slices gives (S, column axis, row axis) here, hence the transposition.
    crop = (slice(None), box[column_axis], box[row_axis])
    scan_stack = stack_slices(array, plane)[crop].transpose(0, 2, 1)
    value_stacks = [stack_slices(layer, plane)[crop].transpose(0, 2, 1) for layer in values]
    window = display_window(volume) if volume else None
    slices = tuple(
        SheetSlice(
            to_grey(scan_stack[n], window) if window else np.zeros(scan_stack[n].shape, dtype=np.uint8),
            np.array([stack[n] for stack in value_stacks]).reshape(-1, *scan_stack[n].shape),
            _position(grid, plane, int(n)),
            int(n) - first,
        )
        for n in indices
    )
    i, j, k = box
    cropped = grid.crop((i.start, j.start, k.start), (i.stop, j.stop, k.stop))
    return Sheet(slices, plane, cropped, (normal, row_axis, column_axis))


def _common_grid(labels: Sequence[LabelMap]) -> Grid:
    """Return the grid of the first label map, in display order, enlarged to hold the others."""
    if not labels:
        raise InputError("nothing to draw; a contact sheet needs a scan or a label map")
    grids = [Reorientation.between(layer.grid, _DISPLAY).grid(layer.grid) for layer in labels]
    first = grids[0]
    corners = first.to_voxel(np.concatenate([grid.corners() for grid in grids]))
    low, high = np.rint(corners.min(axis=0) + 0.5).astype(int), np.rint(corners.max(axis=0) + 0.5).astype(int)
    if np.prod((high - low).astype(float)) > _FARTHEST * sum(np.prod(grid.shape) for grid in grids):
        raise GeometryError("the label maps lie apart from each other; look at them one by one, or take a screenshot")
    start, stop = low.tolist(), high.tolist()
    return first.crop((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _values_on(grid: Grid, labels: LabelMap, *, described: str) -> NDArray[Any]:
    change = Reorientation.onto(labels.grid, grid)
    values, label_grid = change.array(labels.array), change.grid(labels.grid)
    i, j, k = np.rint(grid.to_voxel(label_grid.origin)).astype(int).tolist()
    start, stop = (i, j, k), (i + values.shape[0], j + values.shape[1], k + values.shape[2])
    overlap = [(max(a, 0), min(b, n)) for a, b, n in zip(start, stop, grid.shape, strict=True)]
    if not grid.crop(start, stop).is_close(label_grid) or any(a >= b for a, b in overlap):
        raise GeometryError(
            f"the label map ({labels.grid.describe()}) does not lie on voxels of the scan ({described}); "
            f"resample one onto the other, or take a screenshot, which places both by millimetres"
        )
    placed = np.zeros(grid.shape, dtype=values.dtype)
    inside = tuple(slice(a - s, b - s) for (a, b), s in zip(overlap, start, strict=True))
    placed[tuple(slice(a, b) for a, b in overlap)] = values[inside]
    return placed


def _coarse_plane(grid: Grid) -> Plane:
    # A lone slice shows its own plane; near-isotropic scans are looked at in axial slices.
    by_axis: dict[int, Plane] = {axis: plane for plane, axis in NORMAL_AXIS.items()}
    if grid.shape.count(1) == 1:
        return by_axis[grid.shape.index(1)]
    coarsest = int(np.argmax(grid.spacing))
    return by_axis[coarsest] if grid.spacing[coarsest] > 1.2 * sorted(grid.spacing)[1] else "axial"


def _box_around(values: Sequence[NDArray[Any]], grid: Grid, plane: Plane) -> list[slice]:
    box = []
    present = np.zeros(grid.shape, dtype=np.bool_)
    for layer in values:
        present |= layer != 0
    for axis, (size, spacing) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
        where = np.flatnonzero(present.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (int(where[0]), int(where[-1]) + 1) if where.size else (0, size)
        margin = int(np.ceil(_MARGIN_MM / spacing + _MARGIN_FRACTION * (last - first)))
        margin = 0 if axis == NORMAL_AXIS[plane] else margin
        box.append(slice(max(first - margin, 0), min(last + margin, size)))
    return box


def _position(grid: Grid, plane: Plane, index: int) -> str:
    centre = (np.array(grid.shape) - 1) / 2
    axis = NORMAL_AXIS[plane]
    centre[axis] = index
    position = float(grid.to_world(centre)[axis])
    return f"{('RAS' if position >= 0 else _DISPLAY)[axis]} {abs(position):.1f} mm"
