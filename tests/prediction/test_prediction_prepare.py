from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from volseg.config import Normalisation, PreparationConfig
from volseg.core.grid import Grid
from volseg.core.planes import PLANES, Plane
from volseg.core.slices import in_plane
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, ModelError
from volseg.prediction.prepare import common_grid, gather_neighbours, prepare

SPACING_MM = (0.9, 0.8, 3.0)  # of the grid below, along the patient's axes
WINDOW = Normalisation(kind="window", low=-100, high=300, mean=40, std=80)


def awkward_grid() -> Grid:
    """Oblique, stored as (z up, x to the left, y to the back), hence left-handed."""
    affine = np.eye(4)
    axes = np.array([[0, -1, 0], [0, 0, -1], [-1, 0, 0]]) @ np.diag((3.0, 0.9, 0.8))
    affine[:3, :3] = Rotation.from_euler("xyz", (12, -8, 20), degrees=True).as_matrix() @ axes
    affine[:3, 3] = (30, -40, 7)
    return Grid((6, 11, 13), affine)


def scan(seed: int = 0, grid: Grid | None = None, name: str = "t1") -> Volume:
    grid = grid or awkward_grid()
    return Volume(np.random.default_rng(seed).normal(50, 150, grid.shape).astype(np.float32), grid, name=name)


def planned(*normalisation: Normalisation, neighbours: int = 1, coarser: float = 1.0) -> PreparationConfig:
    x, y, z = SPACING_MM
    return PreparationConfig(
        planes=PLANES,
        spacing_mm=(x * coarser, y * coarser, z * coarser),
        normalisation=normalisation,
        neighbours=neighbours,
    )


def by_hand(volumes: list[Volume], plane: Plane, neighbours: int, coarser: float) -> np.ndarray:
    """The whole stack (S, C * n, h, w), straight from the definition: no function of volseg, float64."""
    direction = volumes[0].grid.affine[:3, :3] / np.linalg.norm(volumes[0].grid.affine[:3, :3], axis=0)
    candidates = [(p, s) for p in permutations(range(3)) for s in product((1, -1), repeat=3)]
    axes, signs = max(candidates, key=lambda c: sum(c[1][a] * direction[a, c[0][a]] for a in range(3)))
    channels = []
    for volume in volumes:
        values = (np.clip(volume.array.astype(float), -100, 300) - 40) / 80
        values = np.flip(np.transpose(values, axes), [a for a in range(3) if signs[a] < 0])
        values = {"axial": values.transpose(2, 0, 1), "coronal": values.transpose(1, 0, 2), "sagittal": values}[plane]
        size = [round(n / coarser) for n in values.shape[1:]]
        slices = torch.from_numpy(values.copy())[:, None]
        slices = F.interpolate(slices, size=size, mode="bilinear", antialias=True, align_corners=False)[:, 0]
        channels.append(slices.numpy())
    count = len(channels[0])
    reach = range(-neighbours, neighbours + 1)
    rows = [[c[min(max(s + d, 0), count - 1)] for c in channels for d in reach] for s in range(count)]
    return np.array(rows)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("neighbours", "coarser"), [(0, 1.0), (1, 1.0), (2, 1.7), (1, 0.6)])
def test_batches_are_the_definition_on_an_oblique_left_handed_flipped_grid(
    plane: Plane, neighbours: int, coarser: float
) -> None:
    volumes = [scan(0), scan(1, name="t2")]
    assert volumes[0].grid.handedness == -1
    assert volumes[0].grid.orientation == "ILP"
    stack = prepare(volumes, planned(WINDOW, WINDOW, neighbours=neighbours, coarser=coarser), plane)
    expected = by_hand(volumes, plane, neighbours, coarser)
    assert len(stack) == len(expected) == {"axial": 6, "coronal": 13, "sagittal": 11}[plane]
    for batch in (1, 4, len(stack)):
        starts = range(0, len(stack), batch)
        found = np.concatenate([stack.batch(start, min(start + batch, len(stack))) for start in starts])
        assert found.dtype == np.float32
        assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("plane", PLANES)
def test_slices_have_the_models_spacing_and_know_their_size_as_scanned(plane: Plane) -> None:
    stack = prepare([scan()], planned(WINDOW, coarser=1.6), plane)
    height, width = stack.native_size
    assert (height, width) == {"axial": (11, 13), "coronal": (11, 6), "sagittal": (13, 6)}[plane]
    assert stack.size == (round(height / 1.6), round(width / 1.6))


def test_zscore_uses_each_channel_of_each_scan_by_itself() -> None:
    stack = prepare([scan(0), scan(1).with_array(scan(1).array * 1000)], planned(*[Normalisation()] * 2), "axial")
    for channel in stack.plain(0, len(stack)):
        assert channel.mean() == pytest.approx(0, abs=1e-4)
        assert channel.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("value", [0, 17])
@pytest.mark.parametrize("normalisation", [Normalisation(), WINDOW])
def test_a_constant_scan_has_no_nan(value: int, normalisation: Normalisation) -> None:
    flat = Volume(np.full(awkward_grid().shape, value, dtype=np.int16), awkward_grid())
    assert np.isfinite(prepare([flat], planned(normalisation), "axial").batch(0, 6)).all()


def test_a_single_slice_is_its_own_neighbour() -> None:
    grid = Grid.from_spacing((8, 9, 1), (0.9, 0.8, 3))
    stack = prepare([scan(grid=grid)], planned(WINDOW, neighbours=2), "axial")
    batch = stack.batch(0, 1)
    assert batch.shape == (1, 5, 8, 9)
    assert (batch == batch[:, :1]).all()


def test_a_spacing_coarser_than_the_scan_leaves_one_pixel() -> None:
    stack = prepare([scan()], planned(WINDOW, coarser=1000), "axial")
    assert stack.size == (1, 1)
    assert stack.batch(0, 6).shape == (6, 3, 1, 1)


def test_the_voxels_of_the_scan_are_not_copied_or_changed() -> None:
    volume = scan()
    before = volume.array.copy()
    stack = prepare([volume], planned(WINDOW), "coronal")
    stack.batch(0, 3)
    assert np.shares_memory(stack.channels[0], volume.array)
    assert np.array_equal(volume.array, before)


def test_channels_on_different_grids_are_refused_by_name() -> None:
    moved = awkward_grid().affine.copy()
    moved[0, 3] += 0.5
    other = scan(grid=Grid(awkward_grid().shape, moved), name="flair")
    with pytest.raises(
        GeometryError,
        match=r"channels 't1' \(6x11x13.*\) and 'flair' \(6x11x13.*\) lie on different grids, .* apart; resample",
    ):
        prepare([scan(), other], planned(WINDOW, WINDOW), "axial")


def test_a_header_rounded_to_a_micrometre_is_the_same_grid() -> None:
    moved = awkward_grid().affine.copy()
    moved[0, 3] += 0.001
    first = scan()
    assert common_grid([first, scan(grid=Grid(awkward_grid().shape, moved))]) is first.grid


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_number_of_channels_must_be_the_models(count: int) -> None:
    with pytest.raises(ModelError, match=f"{count} channels were given; the model was trained with 2"):
        prepare([scan()] * count, planned(WINDOW, WINDOW), "axial")


@pytest.mark.parametrize("missing", ["spacing_mm", "normalisation"])
def test_an_unplanned_preparation_is_refused(missing: str) -> None:
    config = planned(WINDOW).model_copy(update={missing: None})
    with pytest.raises(ModelError, match="the preparation is not planned"):
        prepare([scan()], config, "axial")


def test_neighbours_of_a_channel_stand_together() -> None:
    plain = np.arange(2 * 4).reshape(2, 4, 1, 1).astype(np.float32)  # channel 0: slices 0..3, channel 1: 4..7
    found = gather_neighbours(plain, np.array([[0, 0, 1], [2, 3, 3]]))
    assert found[:, :, 0, 0].tolist() == [[0, 0, 1, 4, 4, 5], [2, 3, 3, 6, 7, 7]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_refused(value: float) -> None:
    array = np.zeros((4, 4, 4), np.float32)
    array[1, 2, 3] = value
    volume = Volume(array, Grid.from_spacing(array.shape), name="holes")
    config = PreparationConfig(planes=("axial",), spacing_mm=(1, 1, 1), normalisation=(Normalisation(),))
    with pytest.raises(InputError, match="scan 'holes' has voxels that are not finite"):
        prepare([volume], config, "axial")


@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    finer=st.floats(1, 1e12),
    plane=st.sampled_from(PLANES),
)
@settings(deadline=None)
def test_slices_do_not_swell_out_of_proportion(shape: tuple[int, int, int], finer: float, plane: Plane) -> None:
    """Said before memory is taken: 40 slices of 1e12 times the pixels fit into no machine."""
    grid = Grid.from_spacing(shape, (finer * 1e-6,) * 3)
    config = PreparationConfig(planes=PLANES, spacing_mm=(1e-6,) * 3, normalisation=(WINDOW,))
    height, width = (shape[axis] for axis in in_plane(plane))
    volume = Volume(np.zeros(shape, dtype=np.float32), grid, name="t1")
    assume(abs(finer / 16 - 1) > 1e-6)
    if finer < 16:  # 40 x 40 pixels never reach the other bound
        assert prepare([volume], config, plane).size == (round(height * finer), round(width * finer))
    else:
        words = (
            f"scan 't1': {plane} slices of {height}x{width} pixels would become .* at the model's spacing of 1e-06 x"
        )
        with pytest.raises(ModelError, match=words):
            prepare([volume], config, plane)


def test_a_large_scan_may_be_made_a_little_finer() -> None:
    grid = Grid.from_spacing((2000, 2000, 1), (0.2, 0.2, 5.0))
    config = PreparationConfig(planes=("axial",), spacing_mm=(0.1, 0.1, 5.0), normalisation=(WINDOW,))
    assert prepare([Volume(np.zeros(grid.shape, dtype=np.uint8), grid)], config, "axial").size == (4000, 4000)
    fine = config.model_copy(update={"spacing_mm": (0.09, 0.09, 5.0)})
    with pytest.raises(ModelError, match=r"2000x2000 pixels would become 4444x4444 at the model's spacing of 0\.09 x"):
        prepare([Volume(np.zeros(grid.shape, dtype=np.uint8), grid)], fine, "axial")
