from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import InputError, UsageError
from volseg.view.content import make_scene

TETRAHEDRON = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]])


def marker(centre_mm: np.ndarray, radius_mm: float = 1.0, name: str = "m") -> Mesh:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * radius_mm
    return Mesh(centre_mm + corners, TETRAHEDRON, name, (255, 0, 0))


def test_slices_lie_where_the_affine_says(oblique_grid: Grid) -> None:
    array = np.arange(np.prod(oblique_grid.shape), dtype=np.int32).reshape(oblique_grid.shape)
    at = oblique_grid.to_world((13, 6, 7))
    scene = make_scene(meshes=[marker(at)], volume=Volume(array, oblique_grid, modality="MR"))
    # In RAS order, whatever the order of the scan.
    order = np.argsort(oblique_grid.world_axes[0])
    i, j, k = np.array(oblique_grid.shape)[order]
    assert [picture.grey.shape for picture in scene.slices] == [(j, k), (i, k), (i, j)]
    outer = np.sort(scene.slices[0].corners, axis=0)
    axis = int(order[0])
    ends = np.array([[-0.5, -0.5, -0.5], np.array(oblique_grid.shape) - 0.5])
    corners = [[ends[a, 0], ends[b, 1], ends[c, 2]] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    on_plane = np.unique([[*corner[:axis], (13, 6, 7)[axis], *corner[axis + 1 :]] for corner in corners], axis=0)
    assert np.allclose(outer, np.sort(oblique_grid.to_world(on_plane), axis=0))
    for axis, picture in enumerate(scene.slices):
        # Every plane goes through the marker.
        normal = np.cross(picture.corners[1] - picture.corners[0], picture.corners[3] - picture.corners[0])
        assert np.dot(at - picture.corners[0], normal) == pytest.approx(0, abs=1e-6), axis


def test_slices_of_a_large_scan_end_near_the_meshes() -> None:
    grid = Grid.from_spacing((300, 300, 100), (1, 1, 3))
    volume = Volume(np.zeros(grid.shape, dtype=np.uint8), grid)
    scene = make_scene(meshes=[marker(np.array([100.0, 200.0, 150.0]), 10)], volume=volume)
    reach = 10 + 20 + 0.4 * 20
    corners = np.concatenate([picture.corners for picture in scene.slices])
    assert np.all(np.abs(corners - (100, 200, 150)) <= reach + 3)
    assert np.ptp(corners, axis=0) == pytest.approx((2 * reach, 2 * reach, 2 * reach), abs=6)


def test_meshes_outside_the_scan_do_not_fail() -> None:
    grid = Grid.from_spacing((10, 10, 10))
    scene = make_scene(meshes=[marker(np.array([500.0, 5, 5]))], volume=Volume(np.zeros(grid.shape), grid))
    assert scene.slices[0].grey.shape == (10, 10)


def test_meshes_without_faces_are_left_out() -> None:
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=int))
    assert [mesh.name for mesh in make_scene(meshes=[empty, marker(np.zeros(3))]).meshes] == ["m"]
    with pytest.raises(InputError, match="nothing to draw"):
        make_scene(meshes=[empty])


def test_a_movable_scene_starts_with_the_same_slices(oblique_grid: Grid) -> None:
    values = np.random.default_rng(2).integers(0, 1000, oblique_grid.shape).astype(np.int16)
    volume = Volume(values, oblique_grid, modality="MR")
    meshes = [marker(oblique_grid.to_world((13, 6, 7)))]
    scene = pickle.loads(pickle.dumps(make_scene(meshes=meshes, volume=volume, movable=True)))  # noqa: S301
    assert make_scene(meshes=meshes, volume=volume).block is None
    for axis, picture in enumerate(scene.slices):
        window = next(iter(scene.block.windows.values()))
        again = scene.block.cut(axis, scene.start[axis], window)
        assert np.allclose(again.corners, picture.corners)
        assert np.abs(again.grey.astype(int) - picture.grey).max() <= 3


@pytest.mark.parametrize("movable", [False, True])
def test_doubt_lies_on_the_slices_that_it_is_about(oblique_grid: Grid, movable: bool) -> None:
    array = np.zeros(oblique_grid.shape, np.float32)
    array[13, 6, 7] = 0.9
    at = oblique_grid.to_world((13, 6, 7))
    scan, doubt = Volume(np.zeros(oblique_grid.shape, np.int16), oblique_grid), Volume(array, oblique_grid)
    scene = make_scene(meshes=[marker(at)], volume=scan, doubt=doubt, movable=movable)
    assert scene.doubt_texts == ("0 sure", "0.9 least sure here")
    pictures = [*scene.slices]
    if scene.block is not None:
        window = next(iter(scene.block.windows.values()))
        pictures += [scene.block.cut(axis, scene.start[axis], window) for axis in range(3)]
    for picture in pictures:
        assert picture.doubt is not None
        assert sorted(np.unique(picture.doubt)) == [0, 255]
        ((row, column),) = np.argwhere(picture.doubt)
        down, right = picture.corners[3] - picture.corners[0], picture.corners[1] - picture.corners[0]
        height, width = picture.doubt.shape
        seen = picture.corners[0] + (row + 0.5) / height * down + (column + 0.5) / width * right
        assert np.allclose(seen, at)


def test_doubt_needs_the_scan_that_it_is_laid_over() -> None:
    grid = Grid.from_spacing((10, 10, 10))
    with pytest.raises(UsageError, match="doubt is drawn on the slices of a scan, and there is none"):
        make_scene(meshes=[marker(np.zeros(3))], doubt=Volume(np.zeros(grid.shape), grid))
    assert make_scene(volume=Volume(np.zeros(grid.shape), grid)).doubt_texts is None


def test_compared_meshes_share_rows_and_colours_by_name() -> None:
    at = np.zeros(3)
    first = [marker(at, name="liver"), marker(at, name="spleen")]
    other = replace(marker(at, name="spleen"), colour=(0, 255, 0))
    scene = make_scene(meshes={"a": first, "b": [other, marker(at, name="aorta")]})
    assert [pane.title for pane in scene.panes] == ["a", "b"]
    assert [structure.name for structure in scene.structures] == ["liver", "spleen", "aorta"]
    assert [pane.rows for pane in scene.panes] == [(0, 1), (1, 2)]
    assert scene.panes[1].meshes[0].colour == first[1].colour


def test_meshes_of_one_name_have_rows_of_their_own() -> None:
    scene = make_scene(meshes=[marker(np.zeros(3)), marker(np.ones(3))])
    assert scene.panes[0].rows == (0, 1)
