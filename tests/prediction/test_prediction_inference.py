from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from volseg.config import Config, Normalisation, PreparationConfig, parse_config
from volseg.core.grid import Grid, box_grid
from volseg.core.labelmap import Label
from volseg.core.planes import PLANES, Plane
from volseg.core.slices import NORMAL_AXIS
from volseg.core.volume import Volume
from volseg.errors import GeometryError, ModelError, UsageError
from volseg.network.file import Model, make_generator
from volseg.prediction.answers import SOFTENING, can_hold
from volseg.prediction.calibration import soften
from volseg.prediction.inference import plane_weights, predict

LABELS = (Label(3, "wall", (200, 0, 0)), Label(300, "lumen", (0, 200, 0)))
VALUES = np.array([0, 3, 300])
LEVELS = torch.tensor([0.0, 1.0, 2.0])
# 48 ways to store the same voxels; every fifth one shows all permutations and flips.
STORAGES = [np.eye(3)[:, list(p)] * s for p in permutations(range(3)) for s in product((-1, 1), repeat=3)][::5]


class Nearest(nn.Module):
    """Stands in for a network: the class with the level nearest to one input channel."""

    def __init__(self, channel: int = 0, *, levels: Tensor = LEVELS, sharpness: float = 20.0) -> None:
        super().__init__()
        self.channel, self.sharpness = channel, sharpness
        self.register_buffer("levels", levels)

    def forward(self, x: Tensor) -> Tensor:
        distance = x[:, self.channel, None] - self.levels[:, None, None]  # type: ignore[index]
        return -SOFTENING * self.sharpness * distance**2


class Always(nn.Module):
    """Stands in for a network that is of one mind about every pixel: these are its softened probabilities."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(probabilities).log())

    def forward(self, x: Tensor) -> Tensor:
        return SOFTENING * self.logits[None, :, None, None].expand(len(x), -1, *x.shape[-2:])  # type: ignore[index,operator]


def settings_for(
    *planes: Plane,
    spacing: tuple[float, float, float] = (1, 1, 1),
    neighbours: int = 0,
    channels: int = 1,
    crop: bool | None = None,
    **network: object,
) -> Config:
    as_it_is = {"kind": "window", "low": -10, "high": 10, "mean": 0, "std": 1}
    return parse_config(
        {
            "preparation": {
                "planes": planes,
                "spacing_mm": spacing,
                "normalisation": [as_it_is] * channels,
                "neighbours": neighbours,
                "crop": crop,
            },
            "network": {"width": 4, "levels": 2, **network},
        }
    )


def model_of(*networks: nn.Module, config: Config, labels: Sequence[Label] = LABELS) -> Model:
    """Each plane has all of the networks."""
    channels = [f"channel {n}" for n in range(len(config.preparation.normalisation or ()))]
    planes = config.preparation.planes or ()
    named = {f"{plane}.{n}": network for plane in planes for n, network in enumerate(networks)}
    return Model(config, tuple(labels), tuple(channels), named)  # type: ignore[arg-type]


def model_across(spacing: tuple[float, float, float] = (1, 1, 1), **networks: nn.Module) -> Model:
    """Each plane has a network of its own, or no network; all are planned."""
    named = {f"{plane}.0": network for plane, network in networks.items()}
    return replace(model_of(config=settings_for(*PLANES, spacing=spacing)), networks=named)


def awkward(storage: np.ndarray, shape: tuple[int, int, int] = (7, 9, 11)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (12, -8, 20), degrees=True).as_matrix() @ storage
    affine[:3, 3] = (30, -40, 7)
    return Grid(shape, affine)


def random_classes(grid: Grid, seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).integers(0, 3, grid.shape).astype(np.int16), grid)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("storage", STORAGES)
def test_labels_lie_on_the_scans_own_grid_however_it_is_stored(plane: Plane, storage: np.ndarray) -> None:
    scan = random_classes(awkward(storage))
    labels = predict(model_of(Nearest(), config=settings_for(plane)), scan).labels
    assert labels.grid is scan.grid
    assert labels.labels == LABELS
    assert np.array_equal(labels.array, VALUES[scan.array])


def test_left_and_right_handed_storages_are_among_them() -> None:
    assert {awkward(storage).handedness for storage in STORAGES} == {-1, 1}


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("neighbours", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 1000, None])
def test_the_batch_size_changes_nothing(plane: Plane, neighbours: int, batch_size: int | None) -> None:
    scan = random_classes(awkward(STORAGES[3]))
    config = settings_for(plane, neighbours=neighbours)
    found = predict(model_of(Nearest(neighbours), config=config), scan, batch_size=batch_size).labels
    assert np.array_equal(found.array, VALUES[scan.array])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("offset", [-2, -1, 1, 2])
def test_neighbours_are_the_slices_beside_it_in_ras_order(plane: Plane, offset: int) -> None:
    scan = random_classes(Grid.from_spacing((7, 9, 11)))
    config = settings_for(plane, neighbours=2)
    found = predict(model_of(Nearest(2 + offset), config=config), scan, batch_size=3).labels
    axis = NORMAL_AXIS[plane]
    beside = np.clip(np.arange(scan.array.shape[axis]) + offset, 0, scan.array.shape[axis] - 1)
    assert np.array_equal(found.array, VALUES[scan.array.take(beside, axis=axis)])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("shape", [(1, 8, 9), (8, 1, 9), (8, 9, 1), (1, 1, 1)])
def test_single_slices_are_segmented(plane: Plane, shape: tuple[int, int, int]) -> None:
    scan = random_classes(awkward(STORAGES[4], shape))
    config = settings_for(plane, neighbours=1)
    assert np.array_equal(predict(model_of(Nearest(1), config=config), scan).labels.array, VALUES[scan.array])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("spacing", [(1.3, 0.9, 1.1), (0.45, 0.6, 0.5)])
def test_a_ball_stays_in_place_in_mm_at_another_spacing(plane: Plane, spacing: tuple[float, float, float]) -> None:
    """A ball on an oblique, left-handed, anisotropic grid, resampled in the plane and back."""
    affine = np.eye(4)
    axes = np.array([[0, -1, 0], [0, 0, -1], [-1, 0, 0]]) @ np.diag((0.9, 0.6, 0.7))
    affine[:3, :3] = Rotation.from_euler("xyz", (12, -8, 20), degrees=True).as_matrix() @ axes
    affine[:3, 3] = (30, -40, 7)
    grid = Grid((40, 60, 52), affine)
    assert grid.handedness == -1
    centre, radius = grid.to_world((18.3, 31.2, 24.6)), 12.0
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    depth = radius - np.linalg.norm(world - centre, axis=-1)
    scan = Volume(np.clip(depth, -0.5, 0.5) + 0.5, grid)  # 0.5 on the ball's surface

    model = model_of(
        Nearest(levels=torch.tensor([0.0, 1.0])), config=settings_for(plane, spacing=spacing), labels=LABELS[:1]
    )
    found = predict(model, scan).labels
    assert found.array.shape == grid.shape
    inside = found.mask(LABELS[0])
    assert np.abs(world[inside].mean(axis=0) - centre).max() < 0.05
    assert inside.sum() * grid.voxel_volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
    assert np.abs(depth[inside != (depth > 0)]).max() < 0.8  # mm from the surface: only border voxels differ


@pytest.mark.parametrize(("values", "dtype"), [((1, 2), np.uint8), ((3, 300), np.uint16), ((70_000, 5), np.uint32)])
def test_label_values_are_kept_in_the_smallest_type(values: tuple[int, int], dtype: type) -> None:
    scan = random_classes(awkward(STORAGES[2]))
    labels = tuple(Label(value, f"label {value}", (9, 9, 9)) for value in values)
    found = predict(model_of(Nearest(), config=settings_for("axial"), labels=labels), scan).labels
    assert found.array.dtype == dtype
    assert np.array_equal(found.array, np.array([0, *values])[scan.array])


def test_probabilities_lie_on_the_scans_grid_and_agree_with_the_labels() -> None:
    scan = random_classes(awkward(STORAGES[3]))
    model = model_of(Nearest(sharpness=1.0), config=settings_for("coronal"))
    found = predict(model, scan, probabilities=True, batch_size=2)
    assert found.probabilities is not None
    assert found.probabilities.dtype == np.float16
    assert found.probabilities.shape == (3, *scan.grid.shape)
    assert np.allclose(found.probabilities.sum(axis=0, dtype=np.float32), 1, atol=2e-3)
    assert np.array_equal(VALUES[found.probabilities.argmax(axis=0)], found.labels.array)
    expected = torch.softmax(-((torch.from_numpy(scan.array)[None] - LEVELS[:, None, None, None]) ** 2), dim=0)
    assert np.allclose(found.probabilities, expected.numpy(), atol=1e-2)


def test_probabilities_are_made_on_demand_only() -> None:
    scan = random_classes(awkward(STORAGES[0]))
    assert predict(model_of(Nearest(), config=settings_for("axial")), scan).probabilities is None


def test_several_networks_are_averaged() -> None:
    scan = random_classes(awkward(STORAGES[1]))
    networks = (Always(0.1, 0.2, 0.7), Always(0.5, 0.4, 0.1), Always(0.2, 0.7, 0.1))
    found = predict(model_of(*networks, config=settings_for("axial", spacing=(1.5, 1, 1))), scan, probabilities=True)
    assert found.probabilities is not None
    mean = np.array([0.8, 1.3, 0.9]) / 3
    assert np.allclose(found.probabilities, mean[:, None, None, None], atol=1e-3)
    assert (found.labels.array == 3).all()


def test_channels_come_in_the_models_order() -> None:
    grid = awkward(STORAGES[3])
    scans = [random_classes(grid, seed) for seed in (0, 1)]
    config = settings_for("sagittal", neighbours=1, channels=2)
    for number, middle in ((0, 1), (1, 4)):
        found = predict(model_of(Nearest(middle), config=config), scans).labels
        assert np.array_equal(found.array, VALUES[scans[number].array])


def test_progress_counts_slices() -> None:
    seen: list[tuple[int, int]] = []
    scan = random_classes(Grid.from_spacing((4, 5, 7)))
    config = settings_for("axial")
    predict(
        model_of(Nearest(), config=config), scan, batch_size=3, progress=lambda what, done, of: seen.append((done, of))
    )
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_what_does_not_fit_the_model_is_refused() -> None:
    grid = awkward(STORAGES[0])
    model = model_of(Nearest(), config=settings_for("axial", channels=2))
    with pytest.raises(ModelError, match="1 channels were given; the model was trained with 2"):
        predict(model, random_classes(grid))
    with pytest.raises(GeometryError, match="lie on different grids"):
        predict(model, [random_classes(grid), random_classes(grid.pad(1))])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_impossible_batch_sizes_are_refused(batch_size: int) -> None:
    model = model_of(Nearest(), config=settings_for("axial"))
    with pytest.raises(UsageError, match=f"batch_size is {batch_size}; expected at least 1"):
        predict(model, random_classes(awkward(STORAGES[0])), batch_size=batch_size)


def test_an_unusable_device_is_refused() -> None:
    model = model_of(Nearest(), config=settings_for("axial"))
    with pytest.raises(UsageError, match="--device abacus: cannot be used here"):
        predict(model, random_classes(awkward(STORAGES[0])), device="abacus")


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("block", ["double", "pix2pix"])
def test_a_real_network_answers_alike_in_any_batch_and_each_time(norm: str, block: str) -> None:
    """No batch statistics and no dropout at test time, even for a network that was left in training mode."""
    torch.manual_seed(0)
    config = settings_for("axial", neighbours=1, norm=norm, block=block, dropout=0.5)
    network = make_generator(config, channels=1, labels=2)
    network.train()
    for _ in range(3):
        network(torch.randn(4, 3, 16, 16))  # running statistics of their own
    scan = Volume(np.random.default_rng(0).normal(size=(9, 14, 13)), awkward(STORAGES[0], (9, 14, 13)))
    answers = []
    for batch_size in (1, 1, 4, 100):
        network.train()
        answer = predict(model_of(network, config=config), scan, batch_size=batch_size, probabilities=True)
        assert answer.probabilities is not None
        answers.append(answer.probabilities.astype(np.float32))
    assert np.array_equal(answers[0], answers[1])
    assert np.ptp(answers[0], axis=(1, 2, 3)).max() > 0.005  # it does answer to what it sees
    for other in answers[2:]:
        assert np.allclose(other, answers[0], atol=2e-3)


UNDECIDED = Always(1 / 3, 1 / 3, 1 / 3)
MINDS = {
    "axial": Always(0.2, 0.1, 0.7),
    "coronal": Always(0.3, 0.6, 0.1),
    "sagittal": Always(0.9, 0.04, 0.06),
}


def preparation_across(spacing: tuple[float, float, float] = (1, 1, 1)) -> PreparationConfig:
    return settings_for(*PLANES, spacing=spacing).preparation


def grid_of(spacing: Sequence[float], shape: tuple[int, int, int] = (7, 9, 11)) -> Grid:
    """For a scan with this spacing along the patient's axes."""
    return Grid.from_spacing(shape, (spacing[0], spacing[1], spacing[2]))


@pytest.mark.parametrize("storage", STORAGES)
def test_fused_planes_lie_on_the_scans_own_grid_however_it_is_stored(storage: np.ndarray) -> None:
    scan = random_classes(awkward(storage))
    found = predict(model_of(Nearest(), config=settings_for(*PLANES)), scan, probabilities=True, batch_size=4)
    assert found.labels.grid is scan.grid
    assert np.array_equal(found.labels.array, VALUES[scan.array])
    assert found.probabilities is not None
    # Two planes would outvote a third that is out of place; together they are sure only where all agree.
    assert np.take_along_axis(found.probabilities, scan.array[None].astype(int), axis=0).min() > 0.99


@pytest.mark.parametrize("plane", PLANES)
def test_the_plane_that_knows_decides_where_the_others_do_not(plane: Plane) -> None:
    scan = random_classes(awkward(STORAGES[3]))
    model = model_across(**{**dict.fromkeys(PLANES, UNDECIDED), plane: Nearest()})
    assert np.array_equal(predict(model, scan).labels.array, VALUES[scan.array])


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.6, 0.6, 0.6), (0.3, 1, 0.5), (2.5, 2.5, 2.5)], ids=str)
def test_planes_count_alike_where_none_is_coarser_than_another(spacing: tuple[float, float, float]) -> None:
    """Also where the scan is finer than the networks have learnt from, in whatever direction."""
    weights = plane_weights(preparation_across(), grid_of(spacing))
    assert weights == pytest.approx(dict.fromkeys(PLANES, 1 / 3))
    stretched = grid_of([mm * learnt for mm, learnt in zip(spacing, (0.5, 0.8, 1.1), strict=True)])
    assert plane_weights(preparation_across((0.5, 0.8, 1.1)), stretched) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("spacing", "counts"),
    [
        ((1, 1, 1.3), (1, 1 / 1.3**2, 1 / 1.3**2)),
        ((1.3, 1, 1), (1 / 1.3**2, 1 / 1.3**2, 1)),
        ((1, 1.49, 1), (1 / 1.49**2, 1, 1 / 1.49**2)),
        ((2, 2, 2.6), (1, 1 / 1.3**2, 1 / 1.3**2)),
        ((1, 1.2, 1.4), (1, (1.2 / 1.4) ** 2, (1.2 / 1.4) ** 2)),
    ],
    ids=str,
)
def test_a_plane_with_coarser_pixels_counts_less(
    spacing: tuple[float, float, float], counts: tuple[float, ...]
) -> None:
    weights = plane_weights(preparation_across(), grid_of(spacing))
    assert [weights[plane] for plane in PLANES] == pytest.approx(np.array(counts) / sum(counts))
    assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.parametrize(("axis", "plane"), [(NORMAL_AXIS[plane], plane) for plane in PLANES])
@pytest.mark.parametrize("mm", [1.5, 5.0])
def test_thick_slices_are_cut_as_they_were_scanned(axis: int, plane: Plane, mm: float) -> None:
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = mm
    assert plane_weights(preparation_across(), grid_of(spacing)) == {plane: 1.0}


@pytest.mark.parametrize("storage", STORAGES)
def test_weights_are_those_of_the_patients_axes_however_the_scan_is_stored(storage: np.ndarray) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.diag((1, 1.2, 1.4)) @ storage
    weights = plane_weights(preparation_across(), Grid((7, 9, 11), affine))
    assert weights == pytest.approx(plane_weights(preparation_across(), grid_of((1, 1.2, 1.4))))
    assert len(set(weights.values())) > 1


@pytest.mark.parametrize("mm", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("plane", PLANES)
def test_of_a_single_slice_the_plane_is_its_own_whatever_the_file_says_of_its_thickness(
    plane: Plane, mm: float
) -> None:
    shape, spacing = [8, 9, 10], [1.0, 1.0, 1.0]
    shape[NORMAL_AXIS[plane]], spacing[NORMAL_AXIS[plane]] = 1, mm
    assert plane_weights(preparation_across(), grid_of(spacing, (shape[0], shape[1], shape[2]))) == {plane: 1.0}


@pytest.mark.parametrize("missing", ["planes", "spacing_mm"])
def test_an_unplanned_preparation_has_no_weights(missing: str) -> None:
    with pytest.raises(ModelError, match="the preparation is not planned: planes and spacing_mm must be set"):
        plane_weights(preparation_across().model_copy(update={missing: None}), grid_of((1, 1, 1)))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_scan_of_thick_slices_is_segmented_as_by_the_one_plane_alone(storage: np.ndarray) -> None:
    """The patient's foot-head axis is the coarse one, whichever of the stored axes that is."""
    affine = awkward(storage).affine.copy()
    affine[:3, :3] = Rotation.from_euler("xyz", (5, -4, 8), degrees=True).as_matrix() @ np.diag((1, 1, 5)) @ storage
    scan = random_classes(Grid((7, 9, 11), affine))
    seen: list[int] = []
    axial = Nearest(sharpness=1.0)
    fused = predict(
        model_across(axial=axial, coronal=Always(0.98, 0.01, 0.01), sagittal=Always(0.01, 0.01, 0.98)),
        scan,
        probabilities=True,
        progress=lambda _what, _done, total: seen.append(total),
    )
    alone = predict(model_of(axial, config=settings_for("axial")), scan, probabilities=True)
    assert np.array_equal(fused.labels.array, alone.labels.array)
    assert np.array_equal(fused.labels.array, VALUES[scan.array])
    assert fused.probabilities is not None
    assert alone.probabilities is not None
    assert np.array_equal(fused.probabilities, alone.probabilities)
    foot_head = int(np.argmax(np.abs(storage[2])))
    assert set(seen) == {scan.grid.shape[foot_head]}  # nothing is computed in vain


@pytest.mark.parametrize("plane", PLANES)
def test_a_single_slice_is_never_cut_into_lines(plane: Plane) -> None:
    shape = [8, 9, 10]
    shape[NORMAL_AXIS[plane]] = 1
    scan = random_classes(Grid.from_spacing((shape[0], shape[1], shape[2])))
    others = {other: Always(0.01, 0.01, 0.98) for other in PLANES}
    model = model_across(**{**others, plane: Nearest(sharpness=1.0)})
    assert np.array_equal(predict(model, scan).labels.array, VALUES[scan.array])


@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 1, 1), (1, 1, 8)])
def test_a_line_and_a_voxel_are_segmented_in_three_planes(shape: tuple[int, int, int]) -> None:
    scan = random_classes(Grid.from_spacing(shape))
    found = predict(model_of(Nearest(), config=settings_for(*PLANES)), scan, probabilities=True)
    assert np.array_equal(found.labels.array, VALUES[scan.array])
    assert found.probabilities is not None
    assert np.allclose(found.probabilities.max(axis=0), 1, atol=2e-3)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 1.3), (1.4, 1, 1)], ids=str)
def test_the_answers_of_planes_are_averaged_by_their_weights(spacing: tuple[float, float, float]) -> None:
    scan = random_classes(grid_of(spacing, (6, 7, 8)))
    weights = plane_weights(preparation_across(), scan.grid)
    expected = sum(weights[plane] * MINDS[plane].logits.exp().numpy() for plane in PLANES)
    found = predict(model_across(**MINDS), scan, probabilities=True)
    assert found.probabilities is not None
    assert np.allclose(found.probabilities, expected[:, None, None, None], atol=2e-3)
    assert (found.labels.array == VALUES[expected.argmax()]).all()


def test_folds_of_each_plane_are_averaged_before_planes_are() -> None:
    scan = random_classes(Grid.from_spacing((6, 7, 8)))
    config = settings_for("axial", "coronal")
    networks = {"axial.0": MINDS["axial"], "axial.1": MINDS["coronal"], "coronal.0": MINDS["sagittal"]}
    found = predict(replace(model_of(config=config), networks=networks), scan, probabilities=True)
    a, b, c = (MINDS[plane].logits.exp().numpy() for plane in PLANES)
    assert found.probabilities is not None
    assert np.allclose(found.probabilities, ((a + b) / 4 + c / 2)[:, None, None, None], atol=2e-3)


def test_fused_labels_need_no_probabilities_to_be_kept() -> None:
    scan = random_classes(awkward(STORAGES[1]))
    model = model_across(axial=Nearest(sharpness=1.0), coronal=MINDS["coronal"], sagittal=UNDECIDED)
    without, with_them = predict(model, scan), predict(model, scan, probabilities=True)
    assert without.probabilities is None
    assert np.array_equal(without.labels.array, with_them.labels.array)
    assert len(np.unique(without.labels.array)) > 1


def test_a_scan_whose_probabilities_are_too_large_is_fused_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scan = random_classes(awkward(STORAGES[1]))
    model = model_across(axial=Nearest(sharpness=1.0), coronal=MINDS["coronal"], sagittal=UNDECIDED)
    expected = predict(model, scan)
    monkeypatch.setattr("volseg.prediction.answers.can_hold", lambda _model, _shape: False)
    found, seen = predict(model, scan, batch_size=2), predict(model, scan, probabilities=True)
    assert np.array_equal(found.labels.array, expected.labels.array)
    assert seen.probabilities is not None  # they are asked for
    assert np.array_equal(seen.labels.array, expected.labels.array)
    assert caplog.messages == []


def test_many_classes_are_held_up_to_a_limit_and_few_always(monkeypatch: pytest.MonkeyPatch) -> None:
    few = model_across(**MINDS)
    many = replace(few, labels=few.labels * 20)  # 41 classes
    monkeypatch.setattr("volseg.prediction.answers._MOST_BYTES", 2 * 41 * 1000)
    assert can_hold(many, (10, 10, 10))
    assert not can_hold(many, (10, 10, 11))
    assert can_hold(few, (10, 10, 11))
    assert can_hold(few, (10000, 10000, 10000))


def test_progress_counts_the_slices_of_all_planes() -> None:
    seen: list[tuple[int, int]] = []
    scan = random_classes(Grid.from_spacing((4, 5, 7)))
    model = model_of(Nearest(), config=settings_for(*PLANES))
    predict(model, scan, batch_size=3, progress=lambda what, done, of: seen.append((done, of)))
    assert seen == [(done, 16) for done in (3, 6, 7, 10, 12, 15, 16)]


def test_a_plane_without_a_network_is_refused() -> None:
    model = model_across(axial=Nearest(), sagittal=Nearest())
    with pytest.raises(ModelError, match=r"the model has no network for coronal slices, only axial\.0, sagittal\.0"):
        predict(model, random_classes(Grid.from_spacing((4, 5, 7))))


@pytest.mark.parametrize("planes", [("coronal",), PLANES], ids=len)
@pytest.mark.parametrize("temperature", [1e-3, 0.2, 0.9, 1.7, 5.0, 100.0])
def test_a_temperature_moves_probabilities_but_never_a_label(planes: tuple[Plane, ...], temperature: float) -> None:
    scan = Volume(np.random.default_rng(0).uniform(0, 2, (7, 9, 11)), awkward(STORAGES[3]))
    model = model_of(Nearest(sharpness=3.0), config=settings_for(*planes))
    plain = predict(model, scan, probabilities=True)
    found = predict(replace(model, temperature=temperature), scan, probabilities=True)
    assert np.array_equal(found.labels.array, plain.labels.array)
    assert set(np.unique(found.labels.array)) == set(VALUES)
    assert plain.probabilities is not None
    assert found.probabilities is not None
    assert np.allclose(found.probabilities.sum(axis=0, dtype=np.float32), 1, atol=2e-3)
    moved = found.probabilities.max(axis=0) - plain.probabilities.max(axis=0)
    assert (moved.mean() > 0.01) if temperature < 0.9 else (moved.mean() < -0.01) if temperature > 1 else moved.any()
    # Where one class is well ahead of the others it stays there, in the probabilities too.
    first, second = np.sort(plain.probabilities.astype(np.float32), axis=0)[:-3:-1]
    ahead = first > 1.3 * second
    assert ahead.mean() > 0.5
    assert np.array_equal(VALUES[found.probabilities.argmax(axis=0)][ahead], found.labels.array[ahead])


def test_the_temperature_acts_after_planes_are_fused() -> None:
    scan = random_classes(Grid.from_spacing((6, 7, 8)))
    found = predict(replace(model_across(**MINDS), temperature=2.0), scan, probabilities=True).probabilities
    mean = sum(MINDS[plane].logits.exp().numpy() for plane in PLANES) / 3
    assert found is not None
    assert np.allclose(found, soften(mean, 2.0)[:, None, None, None], atol=2e-3)


BOX = (slice(3, 5), slice(2, 5), slice(4, 9))  # of what `bordered` holds


def bordered(storage: np.ndarray, border: int = -5) -> Volume:
    """Classes in a border of one value, which `Nearest` takes for background."""
    scan = random_classes(awkward(storage))
    content = scan.array[BOX].copy()
    content[:, 0, 0] = content[0, :, 0] = content[0, 0] = 1
    content[-1, -1, -1] = content[-1, 2, :] = 1
    scan.array[:] = border
    scan.array[BOX] = content
    return scan


@pytest.mark.parametrize("planes", [("axial",), ("coronal",), ("sagittal",), PLANES], ids=str)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("probabilities", [False, True])
def test_a_model_that_crops_answers_on_the_whole_grid(
    planes: tuple[Plane, ...], storage: np.ndarray, probabilities: bool
) -> None:
    scan = bordered(storage)
    config = settings_for(*planes, neighbours=1, crop=True)
    found = predict(model_of(Nearest(1), config=config), scan, probabilities=probabilities)
    assert found.labels.grid is scan.grid
    assert np.array_equal(found.labels.array, VALUES[np.maximum(scan.array, 0)])
    assert (found.probabilities is not None) == probabilities
    if found.probabilities is not None:
        assert found.probabilities.shape == (3, *scan.grid.shape)
        assert np.allclose(found.probabilities.sum(axis=0), 1, atol=2e-3)
        assert np.array_equal(found.probabilities.argmax(axis=0), np.maximum(scan.array, 0))


@pytest.mark.parametrize("planes", [("coronal",), PLANES], ids=str)
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("crop", [False, None, True])
def test_only_a_model_that_crops_leaves_the_borders_out(
    planes: tuple[Plane, ...], probabilities: bool, crop: bool | None
) -> None:
    scan = bordered(STORAGES[2])
    model = model_of(Always(0.1, 0.1, 0.8), config=settings_for(*planes, crop=crop))
    found = predict(model, scan, probabilities=probabilities)
    expected = np.full(scan.grid.shape, 0 if crop else 300)
    expected[BOX] = 300
    assert np.array_equal(found.labels.array, expected)
    if found.probabilities is not None:
        assert (found.probabilities[:, expected == 0] == np.array([[1], [0], [0]])).all()
        assert np.allclose(found.probabilities[2][expected == 300], 0.8, atol=2e-3)


@pytest.mark.parametrize("kind", ["zscore", "zscore_unclipped"])
def test_a_scan_is_normalised_by_what_is_not_empty(kind: str) -> None:
    config = settings_for(*PLANES, crop=True)
    normalisation = (Normalisation(kind=kind),)  # type: ignore[arg-type]
    config = config.model_copy(
        update={"preparation": config.preparation.model_copy(update={"normalisation": normalisation})}
    )
    model = model_of(Nearest(), config=config)
    scan = bordered(STORAGES[0], border=-1000)
    small = Volume(scan.array[BOX].copy(), Grid.from_spacing(scan.array[BOX].shape))
    whole = predict(model, scan).labels.array
    by_hand = predict(model, replace(small, grid=box_grid(scan.grid, BOX))).labels.array
    assert len(np.unique(whole[BOX])) > 1
    assert np.array_equal(whole[BOX], by_hand)


@pytest.mark.parametrize("value", [0, 1, -1024])
def test_a_model_that_crops_takes_a_scan_of_one_value(value: int) -> None:
    scan = random_classes(awkward(STORAGES[0]))
    scan.array[:] = value
    config = settings_for(*PLANES, crop=True)
    expected = predict(model_of(Nearest(), config=settings_for(*PLANES)), scan).labels.array
    assert np.array_equal(predict(model_of(Nearest(), config=config), scan).labels.array, expected)


def test_the_limit_of_memory_for_fusing_is_for_what_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    scan, shapes = bordered(STORAGES[0]), []
    monkeypatch.setattr("volseg.prediction.answers.can_hold", lambda _model, shape: shapes.append(shape) or True)
    for crop in (True, False):
        predict(model_of(Nearest(), config=settings_for(*PLANES, crop=crop)), scan)
    assert shapes == [scan.array[BOX].shape, scan.array.shape]
