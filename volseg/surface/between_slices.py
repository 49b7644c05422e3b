"""Thick slices: the shape between them, and beyond the first and the last.

A surface through the voxels of thick slices is a staircase that no smoothing of the surface takes away without moving
it by millimetres. Here every slice becomes a signed distance map (in-plane, mm), and between two slices the maps are
blended: what the shape is, linearly; how large it is (the largest distance inside), so that its square runs smoothly,
as it does in anything that is round. Slices of a body that runs obliquely are laid over each other by their centroids
for that, which is undone on the finished surface (`march_between_slices`) or at each place (`field_between_slices`).
Beyond the last slice the body ends where its areas lead to zero, within one slice and within the box of its pixels.

Related: S. Raya and J. Udupa, Shape-based interpolation of multidimensional objects, IEEE TMI 9 (1990),
doi:10.1109/42.52980. Size apart from shape is ours; ``tests/surface/test_surface_between_slices.py`` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.geometry import Float, Grid
from volseg.mesh import Mesh
from volseg.resample import Reorientation
from volseg.surface.march import march

THICK = 1.5  # spacing across slices over spacing in them, from which on slices are thick

_LONGEST_END = 1.0  # slices that a body may go on beyond its last
_SHORTEST_END = 0.1
_LONE_END = 0.75  # of a body in one slice: a lens
# Of a body that does not taper, a strip and a disc: half an ellipsoid that holds half a slice, as is to be expected.
_BLUNT_ENDS = (2 / np.pi, 0.75)
_MIDDLE_GAIN = 0.5  # pixels by which a body may be thicker between two slices than linearly, where it does not end
_MARGIN = 3  # pixels around the body

Curve = Callable[[float], float]


def thick_axis(grid: Grid) -> int | None:
    """Return the voxel axis across which slices are thick, or None."""
    axis = int(np.argmax(grid.spacing))
    others = [spacing for n, spacing in enumerate(grid.spacing) if n != axis]
    return axis if grid.spacing[axis] > THICK * max(others) else None


def march_between_slices(mask: NDArray[np.bool_], grid: Grid, axis: int) -> Mesh:
    """Extract the surface of a mask on thick slices, each connected body by itself.

    Parameters
    ----------
    mask : (I, J, K) bool
    grid : Grid
    axis : int
        Across which the slices are thick.

    Returns
    -------
    Mesh
        Closed, world mm RAS+, about as fine as the pixels of the slices; each body encloses about its voxels, if it is
        wider than two pixels.
    """
    parts = thinner_slices(grid, axis)
    return Mesh.joined([_march_body(body, parts) for body in _bodies(mask, grid, axis)])


def field_between_slices(mask: NDArray[np.bool_], grid: Grid, axis: int) -> NDArray[np.float32]:
    """Cut the slices of a mask into thinner ones.

    Parameters
    ----------
    mask : (I, J, K) bool
    grid : Grid
    axis : int
        Across which the slices are thick; each becomes `thinner_slices`.

    Returns
    -------
    array like `mask`, longer along `axis`
        Millimetres, positive inside; each body has about its voxels. -inf where no body is near.
    """
    parts = thinner_slices(grid, axis)
    height, width, count = (*(n for d, n in enumerate(mask.shape) if d != axis), mask.shape[axis])
    field = np.full((height, width, count * parts), -np.inf, dtype=np.float32)
    for body in _bodies(mask, grid, axis):
        row, column, start = body.corner
        slices = np.arange(max(start - 1, 0) * parts, min(start + len(body.sizes) + 1, count) * parts)
        blended = _blended(body, (slices + 0.5) / parts - 0.5 - start, body.voxels * parts)
        rows, columns = slice(max(row, 0), row + len(blended)), slice(max(column, 0), column + blended.shape[1])
        part = field[rows, columns, slices[0] : slices[-1] + 1]
        first, second = rows.start - row, columns.start - column
        np.maximum(part, blended[first : first + len(part), second : second + part.shape[1]], out=part)
    return np.moveaxis(field, 2, axis)


def thinner_slices(grid: Grid, axis: int) -> int:
    """Into how many slices a thick one is cut, each about as thick as pixels are wide."""
    return max(1, round(grid.spacing[axis] / min(mm for n, mm in enumerate(grid.spacing) if n != axis)))


@dataclass(frozen=True, eq=False)
class _Body:
    """One connected body: its slices as signed distances (S, I, J) in mm, and their places.

    `corner` is the place of the first of them (row, column, slice) among those of the whole mask, `margin` (2,) how
    many pixels lie around the body's own. `to_move` (S, 2) is by how many pixels each slice is to be moved to lie over
    the others, `moved` (S, 2) by how many it has been; `sizes` (S,) are the largest distances inside. `ends` give the
    square of the size before the first and behind the last slice.
    """

    distances: Float
    corner: tuple[int, int, int]
    margin: NDArray[np.int64]
    to_move: Float
    moved: Float
    sizes: Float
    ends: tuple[Curve, Curve]
    voxels: int
    grid: Grid

    @classmethod
    def of(cls, mask: NDArray[np.bool_], grid: Grid, corner: tuple[int, int, int]) -> _Body:
        slices = np.moveaxis(mask, 2, 0)
        to_move = _displacements(slices)
        margin = np.ceil(np.abs(to_move).max(axis=0)).astype(int) + _MARGIN
        height, width = (int(n) for n in margin)
        padded = np.pad(slices, [(0, 0), (height, height), (width, width)])
        distances = np.stack([_signed_distance(s, grid.spacing[:2]) for s in padded])
        larger = grid.crop((-height, -width, 0), (grid.shape[0] + height, grid.shape[1] + width, grid.shape[2]))
        place = corner[0] - height, corner[1] - width, corner[2]
        sizes, areas = distances.max(axis=(1, 2)), slices.sum(axis=(1, 2)).astype(float)
        pixels = np.pi * sizes**2 / (grid.spacing[0] * grid.spacing[1])  # of discs of these sizes
        ends = _end_curve(sizes[0], areas[::-1], pixels[0]), _end_curve(sizes[-1], areas, pixels[-1])
        still = np.zeros_like(to_move)
        return cls(distances, place, margin, to_move, still, sizes, ends, int(mask.sum()), larger)

    def laid_over(self) -> _Body:
        """Move each slice over the others."""
        distances = np.stack([_shift(one, by) for one, by in zip(self.distances, self.to_move, strict=True)])
        return replace(self, distances=distances, to_move=self.moved, moved=self.to_move)


def _bodies(mask: NDArray[np.bool_], grid: Grid, axis: int) -> Iterator[_Body]:
    """Cut a mask into connected bodies, with the axis across slices last."""
    first, second = (n for n in range(3) if n != axis)
    turned = Reorientation((first, second, axis), (False, False, False))
    slices = turned.grid(grid)
    bodies, count = ndimage.label(turned.array(mask), np.ones((3, 3, 3)))
    for number, (rows, columns, layers) in enumerate(ndimage.find_objects(bodies, count), 1):
        corner = rows.start, columns.start, layers.start
        place = slices.crop(corner, (rows.stop, columns.stop, layers.stop))
        yield _Body.of(bodies[rows, columns, layers] == number, place, corner)


def _displacements(slices: NDArray[np.bool_]) -> Float:
    """(S, 2) pixels by which each slice is to be moved to lie over the others; not where a body forks."""
    steps = np.zeros((len(slices), 2))
    centres = np.array([ndimage.center_of_mass(s) for s in slices])
    for n in range(1, len(slices)):
        step = centres[n - 1] - centres[n]
        common = np.count_nonzero(slices[n - 1] & slices[n])
        laid_over = slices[n - 1] & ndimage.shift(slices[n], np.round(step), order=0, prefilter=False)
        if np.count_nonzero(laid_over) >= common:
            steps[n] = step
    moved = np.cumsum(steps, axis=0)
    return np.asarray(moved - moved.mean(axis=0))


def _signed_distance(mask: NDArray[np.bool_], spacing: tuple[float, float]) -> Float:
    """(I, J) distance in mm to the outline between the pixels, positive inside."""
    half = min(spacing) / 2
    inside = ndimage.distance_transform_edt(mask, spacing) - half * mask
    outside = ndimage.distance_transform_edt(~mask, spacing) - half * ~mask
    return np.asarray(inside - outside)


def _shift(image: Float, by: Float) -> Float:
    return np.asarray(ndimage.shift(image, by, order=1, mode="nearest")) if by.any() else image


def _march_body(body: _Body, parts: int) -> Mesh:
    """Blend the slices of one body laid over each other, march, and put the surface back where its slices were."""
    places = np.arange(-parts, len(body.sizes) * parts + 1) / parts
    field = _blended(body.laid_over(), places, body.voxels * parts)
    step = np.eye(4)
    step[2, 2], step[2, 3] = 1 / parts, -1
    mesh = march(field, Grid(field.shape, body.grid.affine @ step))
    # Only whole slices were moved: between two, by the share of each.
    voxel = body.grid.to_voxel(mesh.vertices)
    voxel[:, :2] -= _extended(voxel[:, 2], body.to_move)
    return mesh.with_vertices(body.grid.to_world(voxel))


def _extended(z: Float, values: Float) -> Float:
    """Interpolate (S, 2) values at 0, 1, 2 ... linearly, and go on beyond the ends as between the last two."""
    last = len(values) - 1
    first = np.clip(np.floor(z).astype(int), 0, max(last - 1, 0))
    second = np.minimum(first + 1, last)
    return np.asarray(values[first] + (z - first)[:, None] * (values[second] - values[first]))


def _blended(body: _Body, places: Float, count: int) -> NDArray[np.float32]:
    """(I, J, N) field at N places in slices from the first; `count` of its voxels are inside."""
    field = np.stack([_blend(body, place).astype(np.float32) for place in places], axis=2)
    field -= _level(field, count)
    return field


def _level(field: NDArray[np.float32], count: int) -> float:
    """Return the value above which as many voxels lie as there were, but at least one."""
    place = max(1, field.size - count)
    below, above = np.partition(field.ravel(), [place - 1, place])[place - 1 : place + 1]
    if above > below:
        return float(below + above) / 2
    top = field.max()
    return float(below) if below < top else float(field[field < top].max())


def _blend(body: _Body, place: float) -> Float:
    """(I, J) field at a place in slices from the first."""
    home = _extended(np.array([place]), body.to_move)[0]

    def at(n: int) -> Float:
        return _shift(body.distances[n], body.to_move[n] - home)

    sizes = body.sizes
    last = len(sizes) - 1
    if place < 0 or place > last or last == 0:
        end, beyond = (0, -place) if place < 0 else (-1, place - last)
        field = at(end) - sizes[end] + _root(body.ends[end](beyond))
        return np.asarray(np.minimum(field, _inside_box(body, place)))
    first = min(int(place), last - 1)
    share = place - first
    linear = (1 - share) * at(first) + share * at(first + 1)
    gain = _size_between(body, first, share) - ((1 - share) * sizes[first] + share * sizes[first + 1])
    if 0 < first < last - 1:
        gain = min(gain, _MIDDLE_GAIN * min(body.grid.spacing[:2]))
    return np.asarray(linear + gain)


def _inside_box(body: _Body, place: float) -> Float:
    """(I, J) distance in mm to the edges of the box of a body's own pixels: what leans does not run on beyond it."""
    edges, moved = [], _extended(np.array([place]), body.moved)[0]
    for axis in range(2):
        length = body.distances.shape[axis + 1]
        along = np.arange(length) - moved[axis] - (length - 1) / 2
        edges.append((length / 2 - body.margin[axis] - np.abs(along)) * body.grid.spacing[axis])
    return np.asarray(np.minimum.outer(*edges))


def _size_between(body: _Body, first: int, share: float) -> float:
    """Size between two slices: its square by Catmull and Rom's cubic through the squares at the slices."""
    a, b, c, d = np.array([body.ends[0](1.0), *body.sizes**2, body.ends[1](1.0)])[first : first + 4]
    cubic = b + share / 2 * (c - a + share * (2 * a - 5 * b + 4 * c - d + share * (3 * (b - c) + d - a)))
    return _root(max(0.0, cubic))


def _root(square: float) -> float:
    return float(np.sign(square) * np.sqrt(abs(square)))


def _end_curve(size: float, areas: Float, disc: float) -> Curve:
    """Return the square of the size beyond the last slice, by slices: as the last three areas go on.

    The area of a section through an ellipsoid is a quadratic of its place. `disc` is the area of a disc of this size.
    """
    square = float(size) ** 2
    if len(areas) == 1:
        return lambda beyond: square * (1 - beyond / _LONE_END)
    bend = min(0.0, (areas[-1] - 2 * areas[-2] + areas[-3]) / 2) if len(areas) > 2 else 0.0
    slope = areas[-1] - areas[-2] + bend
    ends = np.roots([bend, slope, areas[-1]]) if bend else np.array([-areas[-1] / slope if slope else np.inf])
    tip = min((float(root) for root in ends if root > 0), default=np.inf)
    if tip < _SHORTEST_END:
        return lambda beyond: square * (1 - beyond / _SHORTEST_END)
    if tip > _LONGEST_END:
        # It ends sooner than it would, and the blunter the less it tapers.
        blunt = float(np.interp(disc / areas[-1], (0, 1), _BLUNT_ENDS))
        tip = blunt + (_LONGEST_END - blunt) * _LONGEST_END / tip
        bend = -(areas[-1] + slope * tip) / tip**2
    return lambda beyond: square * (1 + (slope * beyond + bend * beyond**2) / areas[-1])
