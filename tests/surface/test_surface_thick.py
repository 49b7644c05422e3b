"""Surfaces of thick slices keep the shape of the slices: random shapes, and bodies that were once lost."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import pyvista as pv
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.surface import extract_surfaces
from volseg.surface.between_slices import thinner_slices
from volseg.surface.slice_groups import Stack
from volseg.surface.thick import MOST_MOVED, ThickSlices

PIXEL_MM, SLICE_MM = 0.8, 5.0
SPACING = (PIXEL_MM, PIXEL_MM, SLICE_MM)
Mask = np.ndarray


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Random bodies with branches, holes, pieces and cavities, some of which reach the borders."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(2, 6))
    coarse = draw(st.floats(1.5, 4.0))
    noise = ndimage.gaussian_filter(generator.normal(size=(26, 24, count)), (coarse, coarse, draw(st.floats(0.0, 1.0))))
    mask = np.asarray(noise > np.quantile(noise, draw(st.floats(0.5, 0.9))))
    if draw(st.booleans()):
        mask[:, :, 0] = False
    return mask


def grid_of(mask: Mask) -> Grid:
    return Grid.from_spacing(mask.shape, SPACING)


def surface_of(mask: Mask, grid: Grid | None = None) -> Mesh:
    grid = grid or grid_of(mask)
    (mesh,) = extract_surfaces(LabelMap.from_array(mask.astype(np.uint8), grid))
    return mesh


def inside(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Whether points lie inside: whether a ray along z leaves an odd number of times."""
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    double_areas = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    seen = np.abs(double_areas) > 1e-12
    a, along, other, area = a[seen], (b - a)[seen], (c - a)[seen], double_areas[seen]
    found = []
    for point in points + np.array([0.0137, 0.0071, 0]):  # beside the vertices, which lie over centres of pixels
        x, y, z = (point - a).T
        second = (x * other[:, 1] - other[:, 0] * y) / area
        third = (along[:, 0] * y - x * along[:, 1]) / area
        above = second * along[:, 2] + third * other[:, 2] > z
        found.append(np.count_nonzero((second >= 0) & (third >= 0) & (second + third <= 1) & above) % 2 == 1)
    return np.array(found, dtype=bool)


def outline_points(mask: Mask) -> np.ndarray:
    """(N, 2) points on the edges between pixels in and around a mask, in pixels, a tenth of one apart."""
    along = np.linspace(-0.5, 0.5, 11)
    points = []
    padded = np.pad(mask, 1)
    for axis in range(2):
        low, high = (np.take(padded, range(a, padded.shape[axis] - 1 + a), axis=axis) for a in (0, 1))
        for place in np.argwhere(low != high):
            edge = np.zeros((len(along), 2))
            edge[:, axis] = place[axis] - 0.5
            edge[:, 1 - axis] = place[1 - axis] - 1 + along
            points.append(edge)
    return np.concatenate(points)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(mask=masks())
def test_in_every_slice_the_outline_is_that_of_the_mask_within_half_a_pixel(mask: Mask) -> None:
    mesh = surface_of(mask)
    surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)
    for number in np.flatnonzero(mask.any(axis=(0, 1))):
        # Just beside the slice, as flat ends may lie in it.
        cut = surface.slice(normal=(0, 0, 1), origin=(0, 0, number * SLICE_MM + 0.02))
        found = np.asarray(cut.points)[:, :2] / PIXEL_MM
        known = outline_points(mask[:, :, number])
        away, _ = cKDTree(known).query(found)
        # Half a pixel; a little more at outlines of few pixels, which enclose as much as they do.
        assert away.max() < 0.62
        assert np.quantile(away, 0.95) < 0.5
        # The corners of pixels are cut; the middles of their edges are met.
        back, _ = cKDTree(found).query(known[5::11])
        assert np.quantile(back, 0.9) < 0.75


@settings(deadline=None, max_examples=40, derandomize=True)
@given(mask=masks())
def test_between_two_slices_nothing_is_lost_that_both_have(mask: Mask) -> None:
    padded = np.pad(mask, [(1, 1), (1, 1), (0, 0)])
    deep = np.stack([ndimage.distance_transform_edt(s) > 1.5 for s in np.moveaxis(padded, 2, 0)], 2)[1:-1, 1:-1]
    common = np.argwhere(deep[:, :, :-1] & deep[:, :, 1:])[::7]
    if len(common):
        mesh = surface_of(mask)
        for share in (0.25, 0.5, 0.75):
            assert inside(mesh, (common + np.array([0, 0, share])) * SPACING).all()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(mask=masks())
def test_between_two_slices_nothing_appears_that_neither_has(mask: Mask) -> None:
    bodies, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if any(Stack(bodies == n, SPACING).longest_lean for n in range(1, count + 1)):
        return  # a body that runs obliquely is between its slices where neither has it
    far = np.stack([ndimage.distance_transform_edt(~s) > 1.5 for s in np.moveaxis(mask, 2, 0)], axis=2)
    neither = np.argwhere(far[:, :, :-1] & far[:, :, 1:])[::29]
    mesh = surface_of(mask)
    for share in (0.25, 0.5, 0.75):
        assert not inside(mesh, (neither + np.array([0, 0, share])) * SPACING).any()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(mask=masks())
def test_no_point_lies_outside_the_scan_and_what_reaches_its_ends_is_cut_flat(mask: Mask) -> None:
    mesh = surface_of(mask)
    voxel = mesh.vertices / SPACING
    assert np.all(voxel >= -0.5 - 1e-9)
    assert np.all(voxel <= np.array(mask.shape) - 0.5 + 1e-9)
    for end, border in ((0, -0.5), (-1, mask.shape[2] - 0.5)):
        pixels = np.count_nonzero(mask[:, :, end])
        corners = voxel[mesh.faces]
        flat = corners[np.all(np.abs(corners[:, :, 2] - border) < 1e-4, axis=1)][:, :, :2]
        (x, y), (u, v) = (flat[:, 1] - flat[:, 0]).T, (flat[:, 2] - flat[:, 0]).T
        area = np.abs(x * v - y * u).sum() / 2
        edge = len(outline_points(mask[:, :, end])) / 11 if pixels else 0
        assert abs(area - pixels) <= 0.75 * edge  # half a pixel is the chamfer of marching cubes


@settings(deadline=None, max_examples=40, derandomize=True)
@given(mask=masks(), factor=st.floats(0.2, 5.0))
def test_the_volume_moves_a_surface_by_less_than_a_fifth_of_a_pixel(mask: Mask, factor: float) -> None:
    grid = grid_of(mask)
    room = np.array([np.zeros(3), mask.shape]) - 0.5
    thick = ThickSlices.of(mask, grid, room, 2)
    plain = thick.smoothed(thick.mesh.volume_mm3)
    other = thick.smoothed(thick.mesh.volume_mm3 * factor)
    moved = np.linalg.norm(other.vertices - plain.vertices, axis=1) / PIXEL_MM
    assert moved.max() <= 2 * MOST_MOVED + 1e-6  # one may have been moved inwards
    away = np.linalg.norm(other.vertices - thick.mesh.vertices, axis=1) / PIXEL_MM
    assert away.max() <= 0.5


@settings(deadline=None, max_examples=40, derandomize=True)
@given(mask=masks())
def test_pieces_and_cavities_are_those_of_the_voxels_or_a_warning_says_so(mask: Mask) -> None:
    from volseg.surface import thick

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    thick._LOG.addHandler(handler)
    try:
        mesh = surface_of(mask)
    finally:
        thick._LOG.removeHandler(handler)
    surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)
    bodies = surface.split_bodies()
    few, many = (ndimage.label(mask, shape)[1] for shape in (np.ones((3, 3, 3)), None))
    holes = ndimage.label(np.pad(~mask, 1, constant_values=True), None)[1] - 1
    assert few <= bodies.n_blocks <= many + holes or messages


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius_mm: float) -> Mask:
    place = (np.moveaxis(np.indices(shape), 0, -1) - centre) * SPACING
    return np.asarray(np.linalg.norm(place, axis=-1) <= radius_mm)


def tube(shape: tuple[int, int, int], radius_mm: float) -> Mask:
    place = (np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2)[..., :2] * PIXEL_MM
    return np.asarray(np.linalg.norm(place, axis=-1) <= radius_mm)


def radius_at(mesh: Mesh, slice_number: float) -> float:
    """Radius of the disc as large as the section of a surface, mm."""
    surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)
    cut = surface.slice(normal=(0, 0, 1), origin=(0, 0, slice_number * SLICE_MM + 0.02))
    points = np.asarray(cut.points)[:, :2]
    return float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean()) if len(points) else 0.0


def test_a_neck_in_two_slices_stays_between_them() -> None:
    shape = (61, 61, 14)
    mask = ball(shape, (30, 30, 3), 20) | ball(shape, (30, 30, 10), 20)
    mask[:, :, 6:8] = tube(shape, 5)[:, :, 6:8]
    mesh = surface_of(mask)
    assert len(pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces).split_bodies()) == 1
    for place in (6, 6.25, 6.5, 6.75, 7):
        assert radius_at(mesh, place) == pytest.approx(5, abs=PIXEL_MM / 2)


def test_a_stenosis_keeps_its_width() -> None:
    shape = (31, 31, 10)
    mask = tube(shape, 8)
    mask[:, :, 4:6] = tube(shape, 3)[:, :, 4:6]
    mesh = surface_of(mask)
    assert radius_at(mesh, 4.5) == pytest.approx(3, abs=PIXEL_MM / 2)


def test_a_cavity_and_the_solid_around_it_keep_their_sizes() -> None:
    shape = (61, 61, 11)
    mask = ball(shape, (30, 30, 5), 20) & ~ball(shape, (30, 30, 5), 6)
    mesh = surface_of(mask)
    shells = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces).split_bodies()
    reach = sorted(np.ptp(np.asarray(shell.points), axis=0)[0] / 2 for shell in shells)
    assert reach == pytest.approx([6, 20], abs=PIXEL_MM / 2)


def test_an_outline_in_one_slice_is_as_wide_as_drawn() -> None:
    shape = (100, 70, 5)
    i, j = np.indices(shape[:2])
    mask = np.zeros(shape, dtype=bool)
    mask[:, :, 2] = ((i - 49.5) * PIXEL_MM / 30) ** 2 + ((j - 34.5) * PIXEL_MM / 20) ** 2 <= 1
    mesh = surface_of(mask)
    np.testing.assert_allclose(np.ptp(mesh.bounds, axis=0), [60, 40, 5], atol=PIXEL_MM)
    assert mesh.volume_mm3 == pytest.approx(np.pi * 30 * 20 * 5, rel=0.02)


def test_an_arm_is_no_wedge_and_the_column_stays_in_its_place() -> None:
    mask = np.zeros((80, 40, 14), dtype=bool)
    mask[5:30, 5:30, 1:13] = True
    mask[30:75, 5:30, 6:8] = True
    mesh = surface_of(mask)
    arm = mesh.vertices[(mesh.vertices[:, 0] > 32 * PIXEL_MM) & (mesh.vertices[:, 0] < 72 * PIXEL_MM)]
    middle = arm[np.abs(arm[:, 1] - 17 * PIXEL_MM) < 3]
    for x in np.arange(33, 71, 4) * PIXEL_MM:
        here = middle[np.abs(middle[:, 0] - x) < 2]
        np.testing.assert_allclose([here[:, 2].min(), here[:, 2].max()], [27.5, 37.5], atol=0.5)
    left = mesh.vertices[np.abs(mesh.vertices[:, 1] - 17 * PIXEL_MM) < 3][:, 0].min()
    assert left == pytest.approx(4.5 * PIXEL_MM, abs=0.1 * PIXEL_MM)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_vessel_that_leaves_the_scan_is_cut_flat_at_its_border(axis: int) -> None:
    mask = np.moveaxis(tube((41, 41, 6), 12), 2, axis)
    spacing = np.roll([SLICE_MM, PIXEL_MM, PIXEL_MM], axis)
    grid = Grid.from_spacing(mask.shape, spacing, (-7, 8, 9))
    mesh = surface_of(mask, grid)
    low, high = grid.corners().min(axis=0), grid.corners().max(axis=0)
    np.testing.assert_allclose(mesh.bounds[:, axis], [low[axis], high[axis]], atol=1e-6)
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(np.pi * 12**2 * 30, rel=0.02)


def test_thin_slices_lie_in_the_middle_of_thick_ones() -> None:
    for slice_mm in (1.3, 2.5, 3.0, 5.0, 7.5):
        assert thinner_slices(Grid.from_spacing((4, 4, 4), (0.8, 0.8, slice_mm)), 2) % 2 == 1


def test_pieces_that_the_surface_has_lost_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    from volseg.surface.thick import warn_of_pieces

    mask = np.zeros((12, 12, 4), dtype=bool)
    mask[2:5, 2:5, 1:3] = True
    whole = mask.copy()
    whole[7:10, 7:10, 1:3] = True
    with caplog.at_level(logging.WARNING):
        warn_of_pieces(surface_of(mask), whole)
    assert "the surface has 1 pieces, the voxels have 2" in caplog.text
