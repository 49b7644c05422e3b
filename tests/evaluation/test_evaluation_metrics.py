from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from volseg.core.grid import Grid
from volseg.errors import GeometryError
from volseg.evaluation import metrics
from volseg.evaluation.scores import compare

GRID = Grid.from_spacing((14, 12, 10), (0.8, 1.1, 2.5), (5, -3, 2))
DIAGONAL_MM = math.sqrt((14 * 0.8) ** 2 + (12 * 1.1) ** 2 + (10 * 2.5) ** 2)


def cube(start: int, stop: int, grid: Grid = GRID) -> np.ndarray:
    mask = np.zeros(grid.shape, dtype=bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


EMPTY = cube(0, 0)


def test_cubes_shifted_by_one_voxel_by_hand() -> None:
    first, second = np.zeros(GRID.shape, dtype=bool), np.zeros(GRID.shape, dtype=bool)
    first[2:6, 2:6, 2:6] = True
    second[3:7, 2:6, 2:6] = True
    scores = compare(first, second, GRID)
    assert scores.dice == pytest.approx(48 / 64)
    assert scores.iou == pytest.approx(48 / 80)
    assert scores.hd95_mm == pytest.approx(0.8)
    assert scores.surface_dice == 1.0  # 0.8 mm is within 1 mm
    assert scores.prediction_ml == pytest.approx(64 * 0.8 * 1.1 * 2.5 / 1000)
    # Each has 56 surface voxels; 16 on the far side and 4 hidden inside the other are one voxel away.
    distances = metrics.surface_distances(first, second, GRID)
    assert len(distances.to_reference) == 56
    assert scores.assd_mm == pytest.approx(0.8 * np.count_nonzero(distances.to_reference) / 56)
    assert np.count_nonzero(distances.to_reference) == 20


def test_identical_masks_agree_fully() -> None:
    scores = compare(cube(2, 7), cube(2, 7), GRID)
    assert (scores.dice, scores.iou, scores.surface_dice, scores.hd95_mm, scores.assd_mm) == (1, 1, 1, 0, 0)


def test_both_empty_is_nothing_to_compare() -> None:
    scores = compare(EMPTY, EMPTY, GRID)
    values = (scores.dice, scores.iou, scores.hd95_mm, scores.assd_mm, scores.surface_dice)
    assert all(math.isnan(value) for value in values)
    assert (scores.prediction_ml, scores.reference_ml) == (0, 0)


@pytest.mark.parametrize(("prediction", "reference"), [(EMPTY, cube(2, 7)), (cube(2, 7), EMPTY)])
def test_a_miss_is_never_a_good_score(prediction: np.ndarray, reference: np.ndarray) -> None:
    scores = compare(prediction, reference, GRID, tolerance_mm=1000)
    assert (scores.dice, scores.iou, scores.surface_dice) == (0, 0, 0)
    assert scores.hd95_mm == pytest.approx(DIAGONAL_MM)
    assert scores.assd_mm == pytest.approx(DIAGONAL_MM)


def test_one_slice_is_measured_along_its_contour() -> None:
    grid = Grid.from_spacing((20, 20, 1), (1, 1, 5))
    first, second = np.zeros(grid.shape, dtype=bool), np.zeros(grid.shape, dtype=bool)
    first[4:12, 4:12] = True
    second[4:12, 6:14] = True
    distances = metrics.surface_distances(first, second, grid)
    assert len(distances.to_reference) == 28  # the outline of 8 x 8, not all 64
    assert metrics.hd95_mm(distances) == pytest.approx(2.0)


def test_surface_dice_of_two_outlines_by_hand() -> None:
    grid = Grid.from_spacing((20, 20, 1), (1, 1, 5))
    first, second = np.zeros(grid.shape, dtype=bool), np.zeros(grid.shape, dtype=bool)
    first[4:12, 4:12] = True
    second[4:12, 6:14] = True
    # Each outline has seven pieces of 1 mm a side and cuts its corners. Of each, six pieces on two sides and two
    # corners lie where the other has a piece.
    corner = math.sqrt(0.5)
    expected = (2 * 6 + 2 * corner) / (4 * 7 + 4 * corner)
    assert metrics.surface_dice(first, second, grid, tolerance_mm=0.5) == pytest.approx(expected)
    assert metrics.surface_dice(first, second, grid, tolerance_mm=2) == 1


@pytest.mark.parametrize("tolerance_mm", [0.7, 1.9])
def test_surface_dice_is_the_same_wherever_the_grid_lies(oblique_grid: Grid, tolerance_mm: float) -> None:
    straight = Grid.from_spacing(oblique_grid.shape, oblique_grid.spacing)
    random = np.random.default_rng(0)
    first, second = (random.random(straight.shape) < 0.2 for _ in range(2))
    expected = metrics.surface_dice(first, second, straight, tolerance_mm=tolerance_mm)
    assert metrics.surface_dice(first, second, oblique_grid, tolerance_mm=tolerance_mm) == pytest.approx(expected)
    thrice = Grid(straight.shape, np.diag([3, 3, 3, 1]) @ straight.affine)
    assert metrics.surface_dice(first, second, thrice, tolerance_mm=3 * tolerance_mm) == pytest.approx(expected)


def test_world_distances_hold_on_an_oblique_and_on_a_sheared_grid(oblique_grid: Grid) -> None:
    sheared = oblique_grid.affine.copy()
    sheared[:3, 2] += [0.0, 1.5, 0.0]
    for grid in (oblique_grid, Grid(oblique_grid.shape, sheared)):
        first, second = np.zeros(grid.shape, dtype=bool), np.zeros(grid.shape, dtype=bool)
        first[3, 4, 2], second[9, 6, 5] = True, True
        expected = np.linalg.norm(grid.to_world((3, 4, 2)) - grid.to_world((9, 6, 5)))
        assert metrics.hd95_mm(metrics.surface_distances(first, second, grid)) == pytest.approx(expected)


def test_a_spacing_off_by_float32_rounding_does_not_change_what_is_within_tolerance() -> None:
    grid = Grid.from_spacing((8, 8, 8), (1.0000001, 1, 1))
    first, second = np.zeros(grid.shape, dtype=bool), np.zeros(grid.shape, dtype=bool)
    first[2, 2, 2], second[3, 2, 2] = True, True
    assert metrics.surface_dice(first, second, grid, tolerance_mm=1.0) == 1.0


def test_a_box_cut_out_of_both_gives_the_same_scores() -> None:
    first, second = cube(2, 7), cube(4, 8)
    whole, part = (compare(first[b], second[b], GRID) for b in (np.s_[:, :, :], np.s_[1:9, 2:9, 2:8]))
    assert whole == part


def test_shapes_must_agree() -> None:
    for function in (metrics.dice, metrics.iou):
        with pytest.raises(GeometryError, match=r"\(14, 12, 10\), its reference \(14, 12, 9\); resample"):
            function(EMPTY, EMPTY[..., :9])
    for function in (compare, metrics.surface_dice):
        with pytest.raises(GeometryError, match="resample"):
            function(EMPTY, EMPTY[..., :9], GRID)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI calls itself the old way
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.9), st.floats(0.5, 4))
def test_equals_monai(seed: int, density: float, tolerance_mm: float) -> None:
    import torch
    from monai import metrics as peer

    random = np.random.default_rng(seed)
    first, second = (random.random(GRID.shape) < density for _ in range(2))
    first[0, 0, 0] = second[-1, -1, -1] = True  # neither is empty
    scores = compare(first, second, GRID, tolerance_mm=tolerance_mm)
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (first, second))
    how = {"include_background": True, "spacing": GRID.spacing}
    assert scores.dice == pytest.approx(peer.compute_dice(a, b).item(), rel=1e-5)
    assert scores.iou == pytest.approx(peer.compute_iou(a, b).item(), rel=1e-5)
    hd95 = peer.compute_hausdorff_distance(a, b, percentile=95, **how)
    assert scores.hd95_mm == pytest.approx(hd95.item(), rel=1e-5)
    assd = peer.compute_average_surface_distance(a, b, symmetric=True, **how)
    assert scores.assd_mm == pytest.approx(assd.item(), rel=1e-5)


def bodies(seed: int, shape: tuple[int, ...], roughness: float) -> list[np.ndarray]:
    """Two masks from noise to smooth, each of at least one voxel, that may reach the border."""
    random = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(random.normal(size=shape), roughness) for _ in range(2)]
    masks = [field >= np.quantile(field, random.uniform(0.1, 0.98)) for field in fields]
    return [mask | (random.random(shape) < 0.02) for mask in masks]


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.integers(2, 14), min_size=2, max_size=3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    roughness=st.sampled_from((0.0, 1.0, 2.0)),
    tolerance_mm=st.floats(0.1, 6),
)
def test_surface_dice_is_the_published_one(
    seed: int, shape: list[int], spacing: tuple[float, float, float], roughness: float, tolerance_mm: float
) -> None:
    import torch
    from monai.metrics import compute_surface_dice

    first, second = bodies(seed, tuple(shape), roughness)
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (first, second))
    published = compute_surface_dice(
        a, b, [tolerance_mm], include_background=True, spacing=spacing[: len(shape)], use_subvoxels=True
    ).item()
    if len(shape) == 2:  # one slice
        first, second, shape = first[..., None], second[..., None], [*shape, 1]
    grid = Grid.from_spacing((shape[0], shape[1], shape[2]), spacing)
    assert metrics.surface_dice(first, second, grid, tolerance_mm=tolerance_mm) == pytest.approx(published, abs=1e-4)
