"""Batches of slices: which are drawn, and where they are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from volseg.config import Config, load_config
from volseg.core.planes import PLANES, Plane
from volseg.datasets import Dataset, read_dataset
from volseg.network.generator import build_generator
from volseg.training.data import CachedCase, cache_case
from volseg.training.facts import find_facts
from volseg.training.growth import Stage
from volseg.training.plan import make_plan
from volseg.training.sampling import SliceSampler

ALL_PLANES = "preparation.planes=[axial, coronal, sagittal]"


def planned(dataset: Dataset, *overrides: str) -> Config:
    return make_plan(load_config(overrides=overrides), dataset, [find_facts(case) for case in dataset.cases])


def cached_cases(dataset: Dataset, config: Config, folder: Path, plane: Plane) -> list[CachedCase]:
    return [cache_case(case, folder, config=config, labels=dataset.labels)[plane] for case in dataset.cases]


def draw(sampler: SliceSampler, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A batch of whole slices."""
    training = sampler.config.training
    return sampler.draw(
        np.random.default_rng(seed), Stage(1.0, training.slice_size or (16, 24, 8), training.batch_size or 1)
    )


@pytest.mark.parametrize("plane", PLANES)
def test_sampler_draws_labels_as_often_as_asked(dataset_folder: Path, tmp_path: Path, plane: Plane) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(
        dataset,
        ALL_PLANES,
        "training.foreground_fraction=1.0",
        "training.batch_size=32",
        "training.slice_size=[24, 20, 16]",
        "network.levels=2",
        "preparation.neighbours=2",
    )
    cases = cached_cases(dataset, config, tmp_path / "cache", plane)
    sampler = SliceSampler(cases, config, plane)
    images, classes = draw(sampler)
    height, width = {"axial": (24, 20), "coronal": (24, 16), "sagittal": (20, 16)}[plane]
    assert images.shape == (32, 5, height, width)
    assert images.dtype == np.float32
    assert classes.shape == (32, height, width)
    assert classes.reshape(32, -1).any(axis=1).all()
    assert sampler.slices_per_epoch == sum(len(case.foreground) for case in cases)
    if plane == "axial":  # the bar is in every slice
        assert sampler.slices_per_epoch == 6 * 8


def test_crops_hold_the_label_when_asked(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    config = planned(dataset, "training.foreground_fraction=1.0", "training.slice_size=[8, 8, 8]", "network.levels=1")
    cases = cached_cases(dataset, config, tmp_path / "cache", "axial")
    _, classes = draw(SliceSampler(cases, config, "axial"))
    assert classes.shape[1:] == (8, 8)
    assert (classes.reshape(len(classes), -1) > 0).any(axis=1).mean() == 1.0


@pytest.mark.parametrize("block", ["double", "pix2pix"])
@pytest.mark.parametrize("shape", [(13, 21), (16, 19), (11, 24)])
def test_small_slices_lie_in_training_where_the_network_pads_them(block: str, shape: tuple[int, int]) -> None:
    """A deep network knows where a slice lies: padded otherwise at test time, it answers much worse."""
    config = load_config(
        overrides=(f"network.block={block}", "preparation.neighbours=0", "training.slice_size=[16,24,8]")
    )
    image = np.random.default_rng(0).normal(size=(1, 1, *shape)).astype(np.float16)
    case = CachedCase.of(image, np.ones((1, *shape), dtype=np.uint8))
    sampler = SliceSampler([case], config, "axial")
    images, _ = draw(sampler)
    network = build_generator(1, 3, config.network.model_copy(update={"levels": 3, "width": 4})).eval()
    top, left = ((want - have + 1) // 2 for want, have in zip((16, 24), shape, strict=True))
    with torch.no_grad():
        trained = network(torch.from_numpy(images[:1]))[..., top : top + shape[0], left : left + shape[1]]
        tested = network(torch.from_numpy(image[0, None].astype(np.float32)))
    torch.testing.assert_close(tested, trained)


def sampler_of(*classes: np.ndarray, size: int = 16, batch: int = 400, fraction: float = 1.0) -> SliceSampler:
    """A sampler of cases whose image has the number of its slice in every voxel."""
    cases = []
    for numbers in classes:
        image = np.broadcast_to(np.arange(len(numbers))[None, :, None, None], (1, *numbers.shape)).astype(np.float16)
        cases.append(CachedCase.of(image, numbers))
    overrides = (
        f"training.slice_size=[{size}, {size}, {size}]",
        f"training.batch_size={batch}",
        f"training.foreground_fraction={fraction}",
        "preparation.neighbours=0",
    )
    return SliceSampler(cases, load_config(overrides=overrides), "axial")


def test_each_class_of_a_case_is_drawn_alike_however_few_its_slices_are() -> None:
    classes = np.zeros((40, 16, 16), dtype=np.uint8)
    classes[:36, 4:12, 4:12] = 1
    classes[38, 5, 5] = 2  # a single pixel, in a slice of its own
    images, _ = draw(sampler_of(classes))
    drawn = images[:, 0, 0, 0].astype(int)
    assert np.mean(drawn == 38) == pytest.approx(0.5, abs=0.08)
    assert set(drawn) <= {*range(36), 38}
    assert len(set(drawn)) > 30


def test_the_window_lies_on_a_pixel_of_the_class_that_was_drawn() -> None:
    classes = np.zeros((1, 64, 64), dtype=np.uint8)
    classes[0, :30, :30] = 1
    classes[0, 60, 60] = 2  # in the same slice, and no window of 16 pixels holds both
    _, drawn = draw(sampler_of(classes))
    holds = [(drawn == number).any(axis=(1, 2)) for number in (1, 2)]
    assert (holds[0] ^ holds[1]).all()
    assert holds[1].mean() == pytest.approx(0.5, abs=0.08)


def test_cases_are_drawn_alike_and_a_share_of_slices_is_any() -> None:
    labelled, empty = np.zeros((10, 16, 16), dtype=np.uint8), np.zeros((10, 16, 16), dtype=np.uint8)
    labelled[3, 8, 8] = 1
    _, drawn = draw(sampler_of(labelled, empty, fraction=0.5))
    # half of the draws are of the case with a label: of these half, and a tenth of the others, of the labelled slice
    assert drawn.any(axis=(1, 2)).mean() == pytest.approx(0.5 * (0.5 + 0.5 / 10), abs=0.07)
    _, drawn = draw(sampler_of(labelled, empty, fraction=0.0))
    assert drawn.any(axis=(1, 2)).mean() == pytest.approx(0.5 / 10, abs=0.04)


def test_the_same_random_numbers_draw_the_same_slices() -> None:
    classes = np.random.default_rng(0).integers(0, 4, (10, 32, 32)).astype(np.uint8)
    first, second = (draw(sampler_of(classes), seed=5) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
