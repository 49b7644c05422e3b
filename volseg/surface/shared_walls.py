"""Surfaces of all labels with shared walls: where two labels touch, both have the same wall, without gap or overlap.

The walls start as the faces between voxels of different labels. All vertices are smoothed together, and then every
label gets its volume back: each has a pressure, and a wall moves along its normal by the difference of the pressures on
its two sides. No surface is ever moved alone, so gaps and overlaps cannot arise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from volseg.core.grid import Float, Grid, box_grid
from volseg.core.labelmap import LabelMap, label_boxes
from volseg.core.mesh import Mesh
from volseg.surface.between_slices import field_between_slices, thick_axis, thinner_slices
from volseg.surface.quality import graded
from volseg.surface.smooth import collapsed

_STEPS = 30
_INWARDS = 0.5
_OUTWARDS = 1 / (0.06 - 1 / _INWARDS)  # pass band 0.06, as for single surfaces
_NEWTON_STEPS = 8
_VOLUME_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Walls:
    """Quadrilaterals between voxels: the corners of `quads` are counter-clockwise seen from the `outer` label.

    Parameters
    ----------
    vertices : (V, 3) float
        World mm, RAS+.
    quads : (Q, 4) int
    inner, outer : (Q,) int
        Labels on the two sides, by value; 0 is background.
    """

    vertices: Float
    quads: NDArray[np.int64]
    inner: NDArray[np.int64]
    outer: NDArray[np.int64]

    def triangles(self) -> NDArray[np.int64]:
        """(2 Q, 3) the two triangles of each quadrilateral, one after the other, cut along its shorter diagonal."""
        places = self.vertices[self.quads]
        diagonals = np.linalg.norm(places[:, 2:] - places[:, :2], axis=2)
        turned = diagonals[:, 0] > diagonals[:, 1]
        corners = np.where(turned[:, None], np.roll(self.quads, -1, axis=1), self.quads)
        return corners[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)


def extract_shared(labels: LabelMap, *, smooth: bool = True, report: bool = False) -> list[Mesh]:
    """Extract closed surfaces of all labels that share their walls.

    Parameters
    ----------
    labels : LabelMap
    smooth : bool
        Remove the voxel staircase, after interpolating between thick slices; each surface then encloses as much as the
        voxels of its label. If False, the surfaces are the faces of the voxels.
    report : bool
        Grade each surface; `volseg.surface.quality`.

    Returns
    -------
    list of Mesh
        One for each label that occurs, in order of value: closed, world mm RAS+, faces counter-clockwise seen from
        outside. The two surfaces of a wall have exactly the same vertices there.
    """
    finer = _interpolate(labels) if smooth else labels
    walls = voxel_walls(finer.array, finer.grid)
    touched = set(np.unique([walls.inner, walls.outer]).tolist())
    present = [label for label in labels.labels if label.value in touched]
    if not present:
        return []
    smoothed = replace(walls, vertices=_filtered(walls)) if smooth else walls
    triangles = smoothed.triangles()
    shells, counts = [], []
    for label in present:
        shells.append(_Shell.of(walls, triangles, label.value))
        counts.append(np.count_nonzero(labels.array == label.value))
    volumes_mm3 = np.array(counts, dtype=np.float64) * labels.grid.voxel_volume_mm3
    vertices = smoothed.vertices
    if smooth:
        vertices = _without_collapse(vertices, walls.vertices, shells)
        vertices = _moved_to_volumes(vertices, triangles, shells, volumes_mm3)
    meshes = []
    for shell, label, volume in zip(shells, present, volumes_mm3, strict=True):
        mesh = Mesh(vertices[shell.used], shell.faces, name=label.name, colour=label.colour)
        if report:
            mesh = graded(mesh, mesh.with_vertices(walls.vertices[shell.used]), float(volume))
        meshes.append(mesh)
    return meshes


def voxel_walls(array: NDArray[np.integer], grid: Grid) -> Walls:
    """Return the faces between voxels of different value; beyond the border all is background.

    Parameters
    ----------
    array : (I, J, K) int
    grid : Grid
    """
    corners_shape = array.shape[0] + 1, array.shape[1] + 1, array.shape[2] + 1
    strides = (corners_shape[1] * corners_shape[2], corners_shape[2], 1)
    quads, inner, outer = [], [], []
    for axis in range(3):
        edge = [(0, 0)] * 3
        edge[axis] = (1, 1)
        padded = np.moveaxis(np.pad(array, edge), axis, 0)
        low, high = np.moveaxis(padded[:-1], 0, axis), np.moveaxis(padded[1:], 0, axis)
        where = np.nonzero(low != high)
        first = np.ravel_multi_index(where, corners_shape)
        across, along = strides[(axis + 1) % 3], strides[(axis + 2) % 3]
        quads.append(np.stack([first, first + across, first + across + along, first + along], axis=1))
        inner.append(low[where].astype(np.int64))
        outer.append(high[where].astype(np.int64))
    faces = np.concatenate(quads)
    if np.linalg.det(grid.affine[:3, :3]) < 0:
        faces = faces[:, ::-1]
    used, numbers = np.unique(faces, return_inverse=True)
    corners = np.stack(np.unravel_index(used, corners_shape), axis=1) - 0.5
    return Walls(grid.to_world(corners), numbers.reshape(-1, 4), np.concatenate(inner), np.concatenate(outer))


@dataclass(frozen=True, eq=False)
class _Shell:
    """The closed surface of one label.

    `used` (U,) are the numbers of its vertices among all; `faces` (F, 3) are triangles, numbered within `used`.
    """

    used: NDArray[np.int64]
    faces: NDArray[np.int64]

    @classmethod
    def of(cls, walls: Walls, triangles: NDArray[np.int64], value: int) -> _Shell:
        out, turned = (walls.inner == value).repeat(2), (walls.outer == value).repeat(2)
        faces = np.concatenate([triangles[out], triangles[turned, ::-1]])
        used, numbers = np.unique(faces, return_inverse=True)
        return cls(used, numbers.reshape(-1, 3))

    def volume_slopes(self, vertices: Float) -> Float:
        """(U, 3) derivative of the volume by each coordinate of its vertices."""
        return Mesh(vertices[self.used], self.faces).area_vectors / 6


def _filtered(walls: Walls) -> Float:
    """(V, 3) vertices after Taubin's low-pass filter, over the edges of the quadrilaterals."""
    ends = np.concatenate([walls.quads[:, [n, (n + 1) % 4]] for n in range(4)])
    count = len(walls.vertices)
    ones = np.ones(len(ends), dtype=np.float32)
    neighbours = sparse.coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()
    neighbours = neighbours + neighbours.T  # an edge at the border of the volume occurs in one direction only
    neighbours.data[:] = 1
    mean = sparse.diags_array(1 / neighbours.sum(axis=1)) @ neighbours
    origin = walls.vertices.mean(axis=0)
    points = walls.vertices - origin
    for _ in range(_STEPS):
        for step in (_INWARDS, _OUTWARDS):
            points += step * (mean @ points - points)
    return np.asarray(points + origin)


def _without_collapse(vertices: Float, before: Float, shells: Sequence[_Shell]) -> Float:
    """Give back their places `before` smoothing to the pieces that smoothing shrank too much."""
    kept = np.zeros(len(vertices), dtype=np.bool_)
    for shell in shells:
        kept[shell.used] |= collapsed(shell.faces, before[shell.used], vertices[shell.used])
    return np.where(kept[:, None], before, vertices)


def _moved_to_volumes(
    vertices: Float, triangles: NDArray[np.int64], shells: Sequence[_Shell], volumes_mm3: Float
) -> Float:
    """Find the pressures that give each label its volume (Newton's method) and move the vertices by them."""
    for _ in range(_NEWTON_STEPS):
        missing = volumes_mm3 - [Mesh(vertices[shell.used], shell.faces).volume_mm3 for shell in shells]
        if np.all(np.abs(missing) <= _VOLUME_TOLERANCE * volumes_mm3):
            break
        slopes = _volume_slopes(shells, vertices)
        a, b, c = vertices[triangles].swapaxes(0, 1)
        areas = np.zeros(len(vertices))
        np.add.at(areas, triangles, np.linalg.norm(np.cross(b - a, c - a), axis=1)[:, None])
        moves = slopes @ sparse.diags_array((1 / areas).repeat(3))
        # The matrix has the gain of each volume (row) by each pressure (column).
        pressures = np.linalg.lstsq((slopes @ moves.T).toarray(), missing, rcond=1e-9)[0]
        vertices = vertices + (pressures @ moves).reshape(-1, 3)
    return vertices


def _volume_slopes(shells: Sequence[_Shell], vertices: Float) -> sparse.csr_array:
    """(L, 3 V) derivative of each label's volume by the coordinates of all vertices."""
    rows, columns, values = [], [], []
    for n, shell in enumerate(shells):
        slopes = shell.volume_slopes(vertices).ravel()
        rows.append(np.full(len(slopes), n))
        columns.append((3 * shell.used[:, None] + np.arange(3)).ravel())
        values.append(slopes)
    places = np.concatenate(rows), np.concatenate(columns)
    return sparse.coo_array((np.concatenate(values), places), shape=(len(shells), vertices.size)).tocsr()


def _interpolate(labels: LabelMap) -> LabelMap:
    """Cut thick slices into thinner ones, about as thick as pixels are wide.

    Each label is interpolated alone, and so are all labels together. A voxel inside either goes to the label whose own
    field is largest there. So touching labels stay in touch, and each ends as it would alone.
    """
    axis = thick_axis(labels.grid)
    if axis is None:
        return labels
    parts, count = thinner_slices(labels.grid, axis), labels.grid.shape[axis]
    inside = field_between_slices(labels.array > 0, labels.grid, axis) > 0
    best = np.full(inside.shape, -np.inf, dtype=np.float32)
    finer = np.zeros(inside.shape, dtype=labels.array.dtype)
    for value, found in label_boxes(labels.array).items():
        # A label reaches into the next slice at most, and there not beyond its own pixels.
        first, last = max(found[axis].start - 1, 0), min(found[axis].stop + 1, count)
        box = [*found]
        box[axis] = slice(first, last)
        field = field_between_slices(labels.array[*box] == value, box_grid(labels.grid, box), axis)
        box[axis] = slice(first * parts, last * parts)
        nearer = field > best[*box]
        finer[*box][nearer], best[*box][nearer] = value, field[nearer]
    finer[~(inside | (best > 0))] = 0
    _give_back_lost(finer, labels.array, axis, parts)
    step = np.eye(4)
    step[axis, axis], step[axis, 3] = 1 / parts, 0.5 / parts - 0.5
    return LabelMap(finer, Grid(finer.shape, labels.grid.affine @ step), labels.labels)


def _give_back_lost(finer: NDArray[np.integer], thick: NDArray[np.integer], axis: int, parts: int) -> None:
    """Restore pieces of a label, such as small lesions, whose voxels have all gone to other labels."""
    for value, box in label_boxes(thick).items():
        mask = thick[box] == value
        finer_box = *box[:axis], slice(box[axis].start * parts, box[axis].stop * parts), *box[axis + 1 :]
        blocks = (*mask.shape[: axis + 1], parts, *mask.shape[axis + 1 :])
        kept = (finer[finer_box] == value).reshape(blocks).any(axis=axis + 1) & mask
        pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
        lost = np.setdiff1d(np.arange(1, count + 1), pieces[kept])
        if lost.size:
            finer[finer_box][np.isin(pieces, lost).repeat(parts, axis=axis)] = value
