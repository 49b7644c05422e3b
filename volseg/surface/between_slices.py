"""Thick slices: the shape between them, and beyond the first and the last.

A surface through the voxels of thick slices is a staircase. Smoothing it away would move the surface by millimetres.
Here every outline of a slice becomes a signed distance map (in-plane, mm), and the maps of outlines that belong
together (`volseg.surface.slice_groups`) are blended between their slices:

* A border that keeps moving over several slices slopes, and is blended linearly. A border that moves between two
  slices only is a ledge, halfway between the two.
* The size of the shape (the largest distance inside) changes so that its square is smooth, as in round bodies. It is
  never less than in both slices, and exceeds both by half a pixel at most.
* An outline that moves as a whole belongs to an oblique body, and is moved along with it.
* Pixels that both slices have are kept between them.
* A body ends within one slice of its last outlines (`volseg.surface.ends`). At the first and the last slice of the
  scan it is cut flat.

Related: S. Raya and J. Udupa, Shape-based interpolation of multidimensional objects, IEEE TMI 9 (1990),
doi:10.1109/42.52980. Ledges, and size apart from shape, are ours; ``benchmarks/surfaces.py`` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Float, Grid
from volseg.core.mesh import Mesh
from volseg.core.resample import Reorientation
from volseg.surface.ends import End
from volseg.surface.march import march
from volseg.surface.slice_groups import Ends, Group, Pieces, Stack, moved

THICK = 1.5  # slices are thick when their spacing is more than this multiple of the spacing within them

_IN_SLICE = ((1, 2), (0, 2), (0, 1))  # voxel axes within a slice, by the axis across slices
_MOST_GROWN = 0.5  # pixels by which a body may be thicker between two slices than in both
_SLOPE = 0.3  # a border slopes if it moves by this share of its movement in a neighbouring pair of slices too
_SLOPE_SLACK = 0.5  # pixels; smaller movements always count as slopes
_SHARPEST = 0.02  # share of the way between two slices that a ledge takes
_MARGIN = 3  # pixels around the body
_LEDGE_REACH = 1.5  # pixels
_SLIGHT = 0.1  # pixels
_NOWHERE_MM = 1e4  # distance to a missing outline


def thick_axis(grid: Grid) -> int | None:
    """Return the voxel axis across which slices are thick, or None.

    Parameters
    ----------
    grid : Grid
    """
    axis = int(np.argmax(grid.spacing))
    return axis if grid.spacing[axis] > THICK * sorted(grid.spacing)[1] else None


def pixel_mm(grid: Grid, axis: int) -> float:
    """Return the smaller of the two spacings within slices, mm.

    Parameters
    ----------
    grid : Grid
    axis : int
        Voxel axis across the slices.
    """
    first, second = _IN_SLICE[axis]
    return min(grid.spacing[first], grid.spacing[second])


def thinner_slices(grid: Grid, axis: int) -> int:
    """Return into how many slices a thick one is cut, each about as thick as pixels are wide.

    The number is odd, so that one of them lies in the middle of the thick slice.

    Parameters
    ----------
    grid : Grid
    axis : int
        Voxel axis across which the slices are thick.
    """
    return max(1, 2 * round((grid.spacing[axis] / pixel_mm(grid, axis) - 1) / 2) + 1)


def march_between_slices(
    mask: NDArray[np.bool_], grid: Grid, axis: int, *, cut: Ends = (False, False)
) -> list[tuple[Mesh, int]]:
    """Extract the surface of each connected body of a mask on thick slices.

    Parameters
    ----------
    mask : (I, J, K) bool
    grid : Grid
    axis : int
        Voxel axis across which the slices are thick.
    cut : (bool, bool)
        Whether the scan ends with the first, and with the last slice of the mask. Bodies that reach such a slice are
        cut flat there.

    Returns
    -------
    list of (Mesh, int)
        The surface of each body (closed, world mm RAS+, about as fine as the pixels of the slices) and its number of
        voxels.
    """
    parts = thinner_slices(grid, axis)
    first, second = _IN_SLICE[axis]
    turned = Reorientation((first, second, axis), (False, False, False))
    slices, place = turned.array(mask), turned.grid(grid)
    found = []
    for body in _bodies(slices, place.spacing, cut):
        earlier, field = body.field(parts)
        row, column, start = body.corner
        finer = np.diag([1.0, 1.0, 1 / parts, 1.0])
        finer[:3, 3] = row, column, start - earlier + 0.5 / parts - 0.5
        found.append((march(field, Grid(field.shape, place.affine @ finer)), body.voxels))
    return found


def field_between_slices(mask: NDArray[np.bool_], grid: Grid, axis: int) -> NDArray[np.float32]:
    """Cut the slices of a mask into thinner ones.

    Parameters
    ----------
    mask : (I, J, K) bool
        Bodies that reach its first or last slice continue to its border.
    grid : Grid
    axis : int
        Voxel axis across which the slices are thick; each slice becomes `thinner_slices`.

    Returns
    -------
    array like `mask`, longer along `axis`
        Millimetres, positive inside; -inf far from every body.
    """
    parts = thinner_slices(grid, axis)
    slices = np.moveaxis(mask, axis, 2)
    first, second = _IN_SLICE[axis]
    spacing = grid.spacing[first], grid.spacing[second], grid.spacing[axis]
    finer = np.full((*slices.shape[:2], slices.shape[2] * parts), -np.inf, dtype=np.float32)
    for body in _bodies(slices, spacing, (True, True)):
        earlier, field = body.field(parts)
        row, column, start = body.corner
        rows, columns = slice(max(row, 0), row + field.shape[0]), slice(max(column, 0), column + field.shape[1])
        part = finer[rows, columns, (start - earlier) * parts : (start - earlier) * parts + field.shape[2]]
        above, left = rows.start - row, columns.start - column
        np.maximum(part, field[above : above + part.shape[0], left : left + part.shape[1]], out=part)
    return np.moveaxis(finer, 2, axis)


@dataclass(frozen=True, eq=False)
class _Body:
    """One connected body with its cavities filled.

    `corner` is the place of its first pixel (row, column, slice) in the whole mask. The cavities are bodies too; their
    corners are places in the array of this body.
    """

    stack: Stack
    corner: tuple[int, int, int]
    cavities: tuple[_Body, ...]

    @property
    def voxels(self) -> int:
        """Number of voxels, without those of the cavities."""
        return int(np.count_nonzero(self.stack.mask)) - sum(cavity.voxels for cavity in self.cavities)

    def field(self, parts: int) -> tuple[int, NDArray[np.float32]]:
        """Return the number of thick slices by which the field starts before the body, and the field on thin slices."""
        cut_before, cut_behind = self.stack.cut
        before, behind = int(not cut_before), int(not cut_behind)
        places = (np.arange(-before * parts, (self.stack.count + behind) * parts) + 0.5) / parts - 0.5
        field = _blended(self.stack, places)
        _clean(field, parts, before, self.stack)
        for cavity in self.cavities:
            earlier, hollow = cavity.field(parts)
            row, column, start = cavity.corner
            layer = (start - earlier + before) * parts
            height, width, depth = hollow.shape
            around = field[row : row + height, column : column + width, layer : layer + depth]
            np.minimum(around, -hollow, out=around)
        return before, field


def _bodies(
    mask: NDArray[np.bool_], spacing: tuple[float, float, float], cut: Ends, *, cavities: bool = True
) -> Iterator[_Body]:
    """Cut a mask with slices along its third axis into connected bodies."""
    bodies, count = ndimage.label(mask, np.ones((3, 3, 3)) if cavities else None)
    for number, box in enumerate(ndimage.find_objects(bodies, count), 1):
        rows, columns, layers = box
        own = bodies[box] == number
        filled = ndimage.binary_fill_holes(np.pad(own, 1))[1:-1, 1:-1, 1:-1] if cavities else own
        margin = _MARGIN + int(np.ceil(Stack(filled, spacing).longest_lean))
        room = [(margin, margin), (margin, margin), (0, 0)]
        holes = _bodies(np.pad(filled & ~own, room), spacing, (False, False), cavities=False) if cavities else ()
        ends = cut[0] and layers.start == 0, cut[1] and layers.stop == mask.shape[2]
        stack = Stack(np.pad(filled, room), spacing, ends)
        yield _Body(stack, (rows.start - margin, columns.start - margin, layers.start), tuple(holes))


def _blended(stack: Stack, places: Float) -> NDArray[np.float32]:
    """(I, J, N) field at places across slices, counted in slices from the first."""
    field = np.full((*stack.mask.shape[:2], len(places)), -stack.slice_mm, dtype=np.float32)
    firsts = np.floor(places).astype(int)
    for first in range(-1, stack.count):
        layers = np.flatnonzero(firsts == first)
        for group in stack.groups(first):
            part = _between(stack, first, group)
            for n in layers:
                np.maximum(field[:, :, n], part(float(places[n]) - first), out=field[:, :, n])
    return field


def _clean(field: NDArray[np.float32], parts: int, before: int, stack: Stack) -> None:
    """Remove specks and enclosed gaps that lie between slices and occur in no slice."""
    slight = np.float32(_SLIGHT * min(stack.pixel_mm))
    pieces, count = ndimage.label(field > 0)
    if count > 1:
        middles = pieces[:, :, before * parts + parts // 2 :: parts][:, :, : stack.count]
        field[(pieces > 0) & ~np.isin(pieces, np.unique(middles[stack.mask]))] = -slight
    gaps, count = ndimage.label(field <= 0)
    if count > 1:
        kept = {0}  # the body, and the gaps that reach a face of the array
        for axis in range(3):
            for end in (0, -1):
                kept.update(np.unique(gaps.take(end, axis)).tolist())
        field[~np.isin(gaps, list(kept))] = slight


def _between(stack: Stack, first: int, group: Group) -> Callable[[float], Float]:
    """Return the field of a group at a share of the way from its first slice to the next."""
    if not group.above:
        return End.of(stack, first, group.below, 1).at
    if not group.below:
        end = End.of(stack, first + 1, group.above, -1)
        return lambda share: end.at(1 - share)
    return _Pair.of(stack, first, group).at


@dataclass(frozen=True, eq=False)
class _Pair:
    """Outlines of a slice and of the next that belong together.

    `one` and `other` (I, J) are their distances. The outlines of the next slice lie `by` (2,) pixels further, and
    `other` is moved back by that to lie over `one`. `common` (I, J) is the distance to the pixels of both slices,
    without such a move. `sloping` (I, J) is 1 where the border slopes and near 0 where it is a ledge. `squares` are the
    squared sizes in the slice before, in the two, and in the slice behind. `inner` says whether outlines continue both
    before and behind.
    """

    one: Float
    other: Float
    common: Float
    sloping: Float
    by: Float
    squares: tuple[float, float, float, float]
    inner: bool
    pixel_mm: float

    @classmethod
    def of(cls, stack: Stack, first: int, group: Group) -> _Pair:
        one, other = stack.section(first, group.below), stack.section(first + 1, group.above)
        by = stack.lean(first, group.below, 1)
        before, size_before = _neighbour(stack, first, group.below, -1)
        behind, size_behind = _neighbour(stack, first + 1, group.above, 1)
        laid_over, behind = moved(other.distance, -by), moved(behind, -by)
        pixel_mm = min(stack.pixel_mm)
        sloping = _sloping(before - one.distance, one.distance - laid_over, laid_over - behind, pixel_mm)
        b, c = one.size_mm**2, other.size_mm**2
        # Beyond the border of the scan the size changes as between the two slices.
        a = 2 * b - c if size_before is None else size_before
        d = 2 * c - b if size_behind is None else size_behind
        inner = bool(stack.linked(first, group.below, -1) and stack.linked(first + 1, group.above, 1))
        common = np.minimum(one.distance, other.distance)
        return cls(one.distance, laid_over, common, sloping, by, (a, b, c, d), inner, pixel_mm)

    def at(self, share: float) -> Float:
        """(I, J) field at a share of the way from the first slice to the next."""
        way = np.clip((share - 0.5) / self.sloping + 0.5, 0, 1)
        # At a ledge, distances far from the border only tell inside from outside.
        reach = _LEDGE_REACH * self.pixel_mm + _NOWHERE_MM * self.sloping**4
        one, other = np.clip(self.one, -reach, reach), np.clip(self.other, -reach, reach)
        field = (1 - way) * one + way * other + self._gain(share) * self.sloping
        field = np.minimum(field, np.maximum(one, other) + _MOST_GROWN * self.pixel_mm)
        field = moved(np.maximum(field, np.minimum(one, other)), share * self.by)
        return np.maximum(field, self.common) if self.by.any() else field

    def _gain(self, share: float) -> float:
        """Return how much larger the body is than a linear blend: squared sizes follow a Catmull-Rom cubic."""
        a, b, c, d = self.squares
        square = b + share / 2 * (c - a + share * (2 * a - 5 * b + 4 * c - d + share * (3 * (b - c) + d - a)))
        most = _MOST_GROWN * self.pixel_mm
        one, other = np.sqrt(b), np.sqrt(c)
        size = np.clip(np.sqrt(max(square, 0.0)), min(one, other), max(one, other) + most)
        gain = float(size - ((1 - share) * one + share * other))
        return min(gain, most) if self.inner else gain


def _neighbour(stack: Stack, number: int, pieces: Pieces, step: int) -> tuple[Float, float | None]:
    """Return the distances of the outlines that follow some pieces, moved to lie over them, and their squared size.

    Where the body ends, the distances are those to a missing outline. Where the scan ends, they are those of the pieces
    themselves, and the size is None.
    """
    following = stack.linked(number, pieces, step)
    if following:
        section = stack.section(number + step, following)
        return moved(section.distance, -stack.lean(number, pieces, step)), section.size_mm**2
    distance = stack.section(number, pieces).distance
    if stack.is_cut(number, step):
        return distance, None
    return np.full_like(distance, -_NOWHERE_MM), End.of(stack, number, pieces, step).square_beyond


def _sloping(previous: Float, own: Float, following: Float, pixel_mm: float) -> Float:
    """(I, J) from near 0, where the border between two slices is a ledge, to 1, where it slopes.

    All three say how much the distance falls from one slice to the next.
    """
    along = np.maximum(np.maximum(previous * np.sign(own), following * np.sign(own)), 0)
    need = _SLOPE * np.maximum(np.abs(own) - _SLOPE_SLACK * pixel_mm, 0)
    share = np.where(need > 0, along / np.where(need > 0, need, 1), 1.0)
    return np.clip(share, _SHARPEST, 1)
