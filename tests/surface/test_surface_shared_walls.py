from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.errors import UsageError
from volseg.io import read_labels
from volseg.phantoms import Ellipsoid, rasterise
from volseg.surface import SurfaceSettings, extract_surfaces

SHEARED = np.array([[-0.7, 0.2, 0, 900], [0, 0.8, 0.9, -800], [0.1, 0, 1, 700], [0, 0, 0, 1.0]])
SHARED = SurfaceSettings(shared_walls=True)


def outer_volume_mm3(meshes: list[Mesh]) -> float:
    """The volume within the faces of one surface only; a face of two surfaces occurs in both directions."""
    joined = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes])
    numbers = np.unique(joined.reshape(-1, 3), axis=0, return_inverse=True)[1].reshape(-1, 3)
    _, first, counts = np.unique(np.sort(numbers, axis=1), axis=0, return_index=True, return_counts=True)
    a, b, c = np.moveaxis(joined[first[counts == 1]] - joined[0, 0], 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def check_shells(meshes: list[Mesh], labels: LabelMap) -> None:
    voxels = [np.count_nonzero(labels.mask(label)) for label in labels.labels]
    expected = [count * labels.grid.voxel_volume_mm3 for count in voxels if count]
    assert all(mesh.is_closed for mesh in meshes)
    np.testing.assert_allclose([mesh.volume_mm3 for mesh in meshes], expected, rtol=2e-3)
    assert outer_volume_mm3(meshes) == pytest.approx(sum(mesh.volume_mm3 for mesh in meshes), rel=1e-9)


@pytest.mark.parametrize("smooth", [False, True])
@given(array=arrays(np.uint8, (5, 4, 3), elements={"min_value": 0, "max_value": 3}).filter(np.any))
def test_any_label_map_gives_closed_outward_shells(array: np.ndarray, smooth: bool) -> None:
    labels = LabelMap.from_array(array, Grid(array.shape, SHEARED))
    meshes = extract_surfaces(labels, SurfaceSettings(smooth=smooth, shared_walls=True))
    assert all(mesh.is_closed and mesh.volume_mm3 > 0 for mesh in meshes)
    if not smooth:
        check_shells(meshes, labels)


@pytest.mark.parametrize("slice_mm", [1, 4])
@pytest.mark.parametrize("turned", [False, True])
def test_touching_bodies_have_one_wall_and_their_volumes(slice_mm: float, turned: bool, oblique_grid: Grid) -> None:
    turn = oblique_grid.affine[:3, :3] / np.linalg.norm(oblique_grid.affine[:3, :3], axis=0)
    affine = np.eye(4)
    affine[:3, :3] = (turn if turned else np.eye(3)) * [1, 1, slice_mm]
    shape = (44, 40, 36 // slice_mm)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    bodies = {"left": Ellipsoid((-7, 0, 0), (11, 9, 12)), "right": Ellipsoid((7, 0, 0), (11, 10, 9))}
    labels = rasterise(bodies, Grid(shape, affine))
    meshes = extract_surfaces(labels, SHARED)
    check_shells(meshes, labels)
    staircase = extract_surfaces(labels, SurfaceSettings(shared_walls=True, smooth=False))
    for mesh, rough in zip(meshes, staircase, strict=True):
        assert mesh.area_mm2 < 0.8 * rough.area_mm2
    left, right = ({tuple(v) for v in mesh.vertices} for mesh in meshes)
    wall = np.array(sorted(left & right))
    assert len(wall) > 50
    # Nothing of one lies in the other: no vertex of the right one inside of the left shell.
    shell = pv.PolyData.from_regular_faces(meshes[0].vertices, meshes[0].faces)
    alone = pv.PolyData(np.array(sorted(right - left))).compute_implicit_distance(shell)["implicit_distance"]
    assert np.mean(alone < -1e-3) < 0.01


def test_unsmoothed_shells_are_the_faces_of_the_voxels() -> None:
    array = np.zeros((4, 3, 3), dtype=np.uint8)
    array[0:2], array[2:4] = 1, 2
    meshes = extract_surfaces(
        LabelMap.from_array(array, Grid.from_spacing((4, 3, 3))), SurfaceSettings(shared_walls=True, smooth=False)
    )
    assert [mesh.area_mm2 for mesh in meshes] == [2 * (9 + 6 + 6)] * 2
    np.testing.assert_array_equal(meshes[0].bounds, [[-0.5, -0.5, -0.5], [1.5, 2.5, 2.5]])


def test_layers_on_thick_slices_touch_without_a_gap() -> None:
    array = np.zeros((20, 20, 5), dtype=np.uint8)
    for value, (start, stop) in enumerate(pairwise((1, 2, 4)), 1):
        array[4:16, 4:16, start:stop] = value
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape, (1, 1, 5)))
    check_shells(extract_surfaces(labels, SHARED), labels)


@pytest.mark.parametrize("slice_mm", [4, 5, 6])
def test_label_that_ends_beside_one_that_goes_on_keeps_its_place(slice_mm: float) -> None:
    array = np.zeros((60, 60, 10), dtype=np.uint8)
    array[45:55, 45:55, :] = 1
    array[5:15, 5:15, 4:6] = 2
    array[25, 25, 4] = 3
    grid = Grid.from_spacing(array.shape, (1, 1, slice_mm))
    meshes = extract_surfaces(LabelMap.from_array(array, grid), SHARED)
    assert [mesh.name for mesh in meshes] == ["label_1", "label_2", "label_3"]
    (alone,) = extract_surfaces(LabelMap.from_array((array == 2).astype(np.uint8), grid), SHARED)
    np.testing.assert_allclose(meshes[1].bounds, alone.bounds, atol=0.01)


@pytest.mark.parametrize("seed", [4, 19])
def test_no_lesion_among_others_is_lost_on_thick_slices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = ndimage.gaussian_filter(rng.normal(size=(6, 48, 48, 8)), (0, 5, 5, 1)).argmax(axis=0).astype(np.uint8)
    for _ in range(25):
        (row, column), layer, size = rng.integers(3, 45, 2), rng.integers(0, 8), rng.integers(1, 4)
        array[row - size // 2 :, column - size // 2 :, layer][:size, :size] = 6
    grid = Grid.from_spacing(array.shape, (0.8, 0.8, 5))
    meshes = extract_surfaces(LabelMap.from_array(array, grid), SHARED)
    assert len(meshes) == 6
    for value, mesh in enumerate(meshes, 1):
        voxels = grid.to_voxel(mesh.vertices)
        for box in ndimage.find_objects(ndimage.label(array == value, np.ones((3, 3, 3)))[0]):
            low, high = np.array([[s.start - 1.5, s.stop + 0.5] for s in box]).T
            assert np.any(np.all((voxels > low) & (voxels < high), axis=1)), (value, box)


def test_label_inside_another_and_single_voxels_survive() -> None:
    array = np.zeros((14, 14, 14), dtype=np.uint8)
    array[2:12, 2:12, 2:12] = 1
    array[6, 6, 6] = 2
    array[1, 5, 5] = 3
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape))
    check_shells(extract_surfaces(labels, SHARED), labels)


def test_probabilities_are_refused() -> None:
    labels = LabelMap.from_array(np.ones((3, 3, 3), dtype=np.uint8), Grid.from_spacing((3, 3, 3)))
    with pytest.raises(UsageError, match="made of the label map alone"):
        extract_surfaces(labels, SHARED, probabilities=[labels.array.astype(float)])


def test_organs_of_a_real_ct(shared_data: Path) -> None:
    labels = read_labels(shared_data / "ct" / "example_seg.nii.gz")
    meshes = extract_surfaces(labels, SHARED)
    assert len(meshes) == 41
    check_shells(meshes, labels)


def test_hippocampi_of_real_scans(shared_data: Path) -> None:
    for path in sorted((shared_data / "hippocampus" / "labelsTr").glob("*.nii.gz"))[:20]:
        labels = read_labels(path)
        check_shells(extract_surfaces(labels, SHARED), labels)
