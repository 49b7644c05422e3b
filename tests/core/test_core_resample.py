from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from volseg.core.grid import Grid
from volseg.core.resample import Reorientation, interpolation_matrix, reorient, resample_plane
from volseg.errors import GeometryError

quick = settings(deadline=None, max_examples=40)

STORAGES = [np.eye(3)[:, list(p)] * signs for p in permutations(range(3)) for signs in product((-1, 1), repeat=3)]
ORIENTATIONS = [
    "".join(letters)
    for axes in permutations(("RL", "AP", "SI"))
    for letters in product(*axes)
]  # fmt: skip
ANGLES = {"straight": (0, 0, 0), "oblique": (20, -15, 30), "tie": (0, 0, 45), "two ties": (45, 0, 45)}
SHAPE = (3, 4, 5)


def stored(storage: np.ndarray, angles: tuple[float, float, float]) -> Grid:
    """An anisotropic grid with axes stored in one of 48 ways and rotated in the patient."""
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = rotation @ storage @ np.diag((0.7, 1.1, 4))
    affine[:3, 3] = (5, -60, 200)
    return Grid(SHAPE, affine)


def positions(grid: Grid) -> np.ndarray:
    """(3, I, J, K) world position of every voxel: an image that knows where it is."""
    return np.moveaxis(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == len(STORAGES) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("angles", ANGLES)
def test_values_keep_their_world_positions_and_go_back_through_the_view(orientation: str, angles: str) -> None:
    for storage in STORAGES[::5]:
        grid = stored(storage, ANGLES[angles])
        change = Reorientation.between(grid, orientation)
        world = positions(grid)
        turned, target = change.array(world), change.grid(grid)
        assert turned.shape[1:] == target.shape
        assert np.allclose(turned, positions(target), atol=1e-9)
        assert np.shares_memory(turned, world)
        written = np.zeros_like(world)
        change.array(written)[...] = turned
        assert np.array_equal(written, world)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("angles", ["straight", "oblique"])
def test_the_grid_is_then_oriented_as_asked(orientation: str, angles: str) -> None:
    for storage in STORAGES[::7]:
        grid = stored(storage, ANGLES[angles])
        assert Reorientation.between(grid, orientation).grid(grid).orientation == orientation


@pytest.mark.parametrize("angles", ANGLES)
def test_ras_order_is_reached_in_one_go_even_at_a_tie(angles: str) -> None:
    for storage in STORAGES:
        grid = stored(storage, ANGLES[angles])
        target = Reorientation.between(grid, "RAS").grid(grid)
        assert target.orientation == "RAS"
        assert Reorientation.between(target, "RAS") == Reorientation((0, 1, 2), (False, False, False))


@quick
@given(st.sampled_from(STORAGES), st.tuples(*[st.floats(-25, 25)] * 3), st.integers(0, 2**31))
def test_ras_order_is_nibabels(storage: np.ndarray, angles: tuple[float, float, float], seed: int) -> None:
    grid = stored(storage, angles)
    array = np.random.default_rng(seed).normal(size=SHAPE)
    expected = nib.as_closest_canonical(nib.Nifti1Image(array, grid.affine))
    found, target = reorient(array, grid)
    assert np.array_equal(found, expected.get_fdata())
    assert np.allclose(target.affine, expected.affine)


def test_leading_axes_stay(oblique_grid: Grid) -> None:
    change = Reorientation.between(oblique_grid, "SPL")
    array = np.random.default_rng(0).normal(size=(2, 7, *oblique_grid.shape))
    assert change.array(array).shape == (2, 7, 10, 24, 20)
    assert np.array_equal(change.array(array)[1, 3], change.array(array[1, 3]))


@pytest.mark.parametrize("orientation", ["", "RA", "RASS", "RAX", "RRS", "RLS", "ras"])
def test_impossible_orientations_are_refused(orientation: str, oblique_grid: Grid) -> None:
    with pytest.raises(GeometryError, match="expected three letters such as RAS or LPI"):
        Reorientation.between(oblique_grid, orientation)


sizes = st.integers(1, 60)


@quick
@given(sizes, sizes)
def test_rows_sum_to_one_and_weights_are_not_negative(size_in: int, size_out: int) -> None:
    matrix = interpolation_matrix(size_in, size_out)
    assert matrix.shape == (size_out, size_in)
    assert np.allclose(matrix.sum(axis=1), 1)
    assert matrix.min() >= 0


@quick
@given(sizes, sizes)
def test_interpolation_is_mirror_symmetric(size_in: int, size_out: int) -> None:
    matrix = interpolation_matrix(size_in, size_out)
    assert np.allclose(matrix, matrix[::-1, ::-1])


@quick
@given(sizes)
def test_the_same_size_is_the_identity(size: int) -> None:
    assert np.array_equal(interpolation_matrix(size, size), np.eye(size))


@quick
@given(sizes, sizes)
def test_a_ramp_stays_in_place(size_in: int, size_out: int) -> None:
    """A picture of its own position, in shares of the extent: a shift of half a pixel would show."""
    ramp = (np.arange(size_in) + 0.5) / size_in
    wanted = (np.arange(size_out) + 0.5) / size_out
    error = np.abs(interpolation_matrix(size_in, size_out) @ ramp - wanted)
    # At the border, values beyond the outer pixel centres do not exist.
    margin = max(0.5 / size_in, 1 / size_out)
    interior = (wanted > margin) & (wanted < 1 - margin)
    # Exact for interpolation and for whole-number averaging; else a sampled triangle is a little lopsided.
    pixel = 1 / size_in
    exact = size_out >= size_in or size_in % size_out == 0
    assert error[interior].max(initial=0) < (1e-12 if exact else 0.1 * pixel)
    assert error.max() <= 0.5 * max(1 / size_in, 1 / size_out)


@pytest.mark.parametrize(("size_in", "size_out"), [(10, 7), (10, 4), (7, 16), (1, 5), (5, 1), (33, 32), (64, 20)])
def test_resampling_is_that_of_torch_with_antialiasing(size_in: int, size_out: int) -> None:
    slices = np.random.default_rng(0).normal(size=(2, 3, size_in, 9)).astype(np.float32)
    expected = F.interpolate(
        torch.from_numpy(slices), size=(size_out, 11), mode="bilinear", antialias=True, align_corners=False
    )
    assert np.allclose(resample_plane(slices, (size_out, 11)), expected.numpy(), atol=2e-6)


def test_coarser_means_averaged_not_skipped() -> None:
    stripes = np.tile([0.0, 1.0], 32)[None, :].repeat(4, axis=0)
    assert np.allclose(resample_plane(stripes, (4, 16))[:, 1:-1], 0.5)
    assert np.allclose(resample_plane(stripes, (4, 16)).mean(), 0.5)


@pytest.mark.parametrize("size", [(40, 60), (17, 60), (40, 23), (80, 91), (33, 111)])
def test_a_blob_stays_where_it_is_in_mm(size: tuple[int, int]) -> None:
    spacing, extent = np.array((0.8, 0.5)), np.array((40 * 0.8, 60 * 0.5))
    centre = np.array((17.3, 12.1))

    def mesh(shape: tuple[int, int]) -> np.ndarray:
        """(2, H, W) mm from the outer edge of pixel (0, 0)."""
        return (np.indices(shape) + 0.5) * (extent / shape)[:, None, None]

    def centre_of_mass(image: np.ndarray) -> np.ndarray:
        return (mesh(image.shape) * image).sum(axis=(1, 2)) / image.sum()

    assert np.allclose(extent / (40, 60), spacing)
    blob = np.exp(-((mesh((40, 60)) - centre[:, None, None]) ** 2).sum(axis=0) / (2 * 2.5**2))
    found = resample_plane(blob, size)
    assert found.shape == size
    assert np.allclose(centre_of_mass(found), centre_of_mass(blob), atol=0.02)
    assert found.sum() * np.prod(extent / size) == pytest.approx(blob.sum() * np.prod(spacing), rel=0.005)


@pytest.mark.parametrize("dtype", ["i2", ">i2", "u1", "?", "f8"])
def test_slices_of_the_wanted_size_only_become_float32(dtype: str) -> None:
    slices = (np.arange(24).reshape(2, 3, 4) % 5).astype(dtype)
    found = resample_plane(slices, (3, 4))
    assert found.dtype == np.float32
    assert np.array_equal(found, slices)
    assert resample_plane(slices, (6, 5)).dtype == np.float32
