from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from volseg.config import Config, parse_config
from volseg.errors import GeometryError, ModelError, UsageError
from volseg.geometry import Grid
from volseg.inference import predict
from volseg.labelmap import Label
from volseg.model.file import Model, make_generator
from volseg.slices import NORMAL_AXIS, Plane
from volseg.volume import Volume

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
LABELS = (Label(3, "wall", (200, 0, 0)), Label(300, "lumen", (0, 200, 0)))
VALUES = np.array([0, 3, 300])
LEVELS = torch.tensor([0.0, 1.0, 2.0])
# 48 ways to store the same voxels; every fifth one shows all permutations and flips.
STORAGES = [np.eye(3)[:, list(p)] * s for p in permutations(range(3)) for s in product((-1, 1), repeat=3)][::5]


class Nearest(nn.Module):
    """Stands in for a network: the class whose level is nearest to one input channel."""

    def __init__(self, channel: int = 0, *, levels: Tensor = LEVELS, sharpness: float = 20.0) -> None:
        super().__init__()
        self.channel, self.sharpness = channel, sharpness
        self.register_buffer("levels", levels)

    def forward(self, x: Tensor) -> Tensor:
        distance = x[:, self.channel, None] - self.levels[:, None, None]  # type: ignore[index]
        return -self.sharpness * distance**2


class Always(nn.Module):
    """Stands in for a network that is of one mind about every pixel."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(probabilities).log())

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[None, :, None, None].expand(len(x), -1, *x.shape[-2:])  # type: ignore[index,operator]


def settings_for(
    plane: Plane, *, spacing: tuple[float, float], neighbours: int = 0, channels: int = 1, **network: object
) -> Config:
    as_it_is = {"kind": "window", "low": -10, "high": 10, "mean": 0, "std": 1}
    return parse_config(
        {
            "preparation": {
                "plane": plane,
                "spacing_mm": spacing,
                "normalisation": [as_it_is] * channels,
                "neighbours": neighbours,
            },
            "network": {"width": 4, "levels": 2, **network},
        }
    )


def model_of(*networks: nn.Module, config: Config, labels: Sequence[Label] = LABELS) -> Model:
    channels = [f"channel {n}" for n in range(len(config.preparation.normalisation or ()))]
    named = {f"{config.preparation.plane}.{n}": network for n, network in enumerate(networks)}
    return Model(config, tuple(labels), tuple(channels), named)  # type: ignore[arg-type]


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
    labels = predict(model_of(Nearest(), config=settings_for(plane, spacing=(1, 1))), scan).labels
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
    config = settings_for(plane, spacing=(1, 1), neighbours=neighbours)
    found = predict(model_of(Nearest(neighbours), config=config), scan, batch_size=batch_size).labels
    assert np.array_equal(found.array, VALUES[scan.array])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("offset", [-2, -1, 1, 2])
def test_neighbours_are_the_slices_beside_it_in_ras_order(plane: Plane, offset: int) -> None:
    scan = random_classes(Grid.from_spacing((7, 9, 11)))
    config = settings_for(plane, spacing=(1, 1), neighbours=2)
    found = predict(model_of(Nearest(2 + offset), config=config), scan, batch_size=3).labels
    axis = NORMAL_AXIS[plane]
    beside = np.clip(np.arange(scan.array.shape[axis]) + offset, 0, scan.array.shape[axis] - 1)
    assert np.array_equal(found.array, VALUES[scan.array.take(beside, axis=axis)])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("shape", [(1, 8, 9), (8, 1, 9), (8, 9, 1), (1, 1, 1)])
def test_single_slices_are_segmented(plane: Plane, shape: tuple[int, int, int]) -> None:
    scan = random_classes(awkward(STORAGES[4], shape))
    config = settings_for(plane, spacing=(1, 1), neighbours=1)
    assert np.array_equal(predict(model_of(Nearest(1), config=config), scan).labels.array, VALUES[scan.array])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("spacing", [(1.3, 0.9), (0.45, 0.6)])
def test_a_ball_stays_in_place_in_mm_at_another_spacing(plane: Plane, spacing: tuple[float, float]) -> None:
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
    found = predict(model_of(Nearest(), config=settings_for("axial", spacing=(1, 1)), labels=labels), scan).labels
    assert found.array.dtype == dtype
    assert np.array_equal(found.array, np.array([0, *values])[scan.array])


def test_probabilities_lie_on_the_scans_grid_and_agree_with_the_labels() -> None:
    scan = random_classes(awkward(STORAGES[3]))
    model = model_of(Nearest(sharpness=1.0), config=settings_for("coronal", spacing=(1, 1)))
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
    assert predict(model_of(Nearest(), config=settings_for("axial", spacing=(1, 1))), scan).probabilities is None


def test_several_networks_are_averaged() -> None:
    scan = random_classes(awkward(STORAGES[1]))
    networks = (Always(0.1, 0.2, 0.7), Always(0.5, 0.4, 0.1), Always(0.2, 0.7, 0.1))
    found = predict(model_of(*networks, config=settings_for("axial", spacing=(1.5, 1))), scan, probabilities=True)
    assert found.probabilities is not None
    mean = np.array([0.8, 1.3, 0.9]) / 3
    assert np.allclose(found.probabilities, mean[:, None, None, None], atol=1e-3)
    assert (found.labels.array == 3).all()


def test_channels_come_in_the_models_order() -> None:
    grid = awkward(STORAGES[3])
    scans = [random_classes(grid, seed) for seed in (0, 1)]
    config = settings_for("sagittal", spacing=(1, 1), neighbours=1, channels=2)
    for number, middle in ((0, 1), (1, 4)):
        found = predict(model_of(Nearest(middle), config=config), scans).labels
        assert np.array_equal(found.array, VALUES[scans[number].array])


def test_progress_counts_slices() -> None:
    seen: list[tuple[int, int]] = []
    scan = random_classes(Grid.from_spacing((4, 5, 7)))
    config = settings_for("axial", spacing=(1, 1))
    predict(model_of(Nearest(), config=config), scan, batch_size=3, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_what_does_not_fit_the_model_is_refused() -> None:
    grid = awkward(STORAGES[0])
    model = model_of(Nearest(), config=settings_for("axial", spacing=(1, 1), channels=2))
    with pytest.raises(ModelError, match="1 channels were given; the model was trained with 2"):
        predict(model, random_classes(grid))
    with pytest.raises(GeometryError, match="lie on different grids"):
        predict(model, [random_classes(grid), random_classes(grid.pad(1))])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_impossible_batch_sizes_are_refused(batch_size: int) -> None:
    model = model_of(Nearest(), config=settings_for("axial", spacing=(1, 1)))
    with pytest.raises(UsageError, match=f"batch_size is {batch_size}; expected at least 1"):
        predict(model, random_classes(awkward(STORAGES[0])), batch_size=batch_size)


def test_an_unusable_device_is_refused() -> None:
    model = model_of(Nearest(), config=settings_for("axial", spacing=(1, 1)))
    with pytest.raises(UsageError, match="--device abacus: cannot be used here"):
        predict(model, random_classes(awkward(STORAGES[0])), device="abacus")


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("block", ["double", "pix2pix"])
def test_a_real_network_answers_alike_in_any_batch_and_each_time(norm: str, block: str) -> None:
    """No batch statistics and no dropout at test time, even for a network that was left in training mode."""
    torch.manual_seed(0)
    config = settings_for("axial", spacing=(1, 1), neighbours=1, norm=norm, block=block, dropout=0.5)
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
    assert np.ptp(answers[0], axis=(1, 2, 3)).max() > 0.01  # it does answer to what it sees
    for other in answers[2:]:
        assert np.allclose(other, answers[0], atol=2e-3)
