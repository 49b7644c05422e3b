from __future__ import annotations

import pytest
import torch
from torch import Tensor

from volseg.config import AugmentationConfig, load_config
from volseg.training.augment import INTENSITY_CHANGES, augment

NOTHING = {
    "rotation_degrees": 0, "scaling": 0, "translation": 0, "mirror": False,
    "brightness": 0, "contrast": 0, "gamma": 0, "noise": 0, "blur": 0,
}  # fmt: skip
SPATIAL = {"rotation_degrees": 30, "scaling": 0.2, "translation": 0.1, "mirror": True}


def only(**changes: object) -> AugmentationConfig:
    return AugmentationConfig.model_validate({**NOTHING, **changes})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ellipse(height: int, width: int, *, count: int = 1) -> Tensor:
    """(count, H, W) classes: an ellipse off the centre, with a second class in its upper half."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    inside = ((y - 0.45) / 0.25) ** 2 + ((x - 0.55) / 0.3) ** 2 < 1
    return (inside.long() + (inside & (y < 0.45))).repeat(count, 1, 1)


def border(classes: Tensor) -> Tensor:
    """Pixels with another class within one pixel."""
    high = torch.nn.functional.max_pool2d(classes.float()[:, None], 3, 1, 1)
    low = -torch.nn.functional.max_pool2d(-classes.float()[:, None], 3, 1, 1)
    return (high != low)[:, 0]


def centre(mask: Tensor) -> Tensor:
    """(2,) mean (row, column) of a mask."""
    return mask.nonzero().float().mean(dim=0)


def test_every_change_of_the_settings_has_its_place() -> None:
    assert {*SPATIAL, *INTENSITY_CHANGES, "fade"} == set(AugmentationConfig.model_fields)


def test_all_zero_changes_nothing() -> None:
    images, classes = torch.randn(3, 2, 20, 30), ellipse(20, 30, count=3)
    found, moved = augment(images, classes, only(), seeded())
    assert torch.equal(found, images)
    assert torch.equal(moved, classes)


@pytest.mark.parametrize("change", [{k: v} for k, v in SPATIAL.items()] + [SPATIAL], ids=lambda c: "+".join(c))
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_image_and_labels_move_together(change: dict[str, object], size: tuple[int, int]) -> None:
    """A picture of the labels themselves stays a picture of the labels."""
    classes = ellipse(*size, count=8)
    picture = torch.stack([classes == 1, classes == 2], dim=1).float()
    images, moved = augment(picture, classes, only(**change), seeded())
    assert images.shape == picture.shape
    assert moved.shape == classes.shape
    assert moved.dtype == torch.int64
    assert set(moved.unique().tolist()) == {0, 1, 2}
    assert not torch.equal(moved, classes)
    inner = ~border(moved)
    for number in (1, 2):
        assert torch.equal((images[:, number - 1] > 0.5)[inner], (moved == number)[inner])


@pytest.mark.parametrize("mirror", [False, True])
def test_rotation_keeps_shapes_on_slices_that_are_not_square(mirror: bool) -> None:
    """A rotated disc is the same disc, of the same area, at the same distance from the middle of the slice."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(100.0), indexing="ij")
    disc = ((y - 40) ** 2 + (x - 60) ** 2 < 9**2).long().repeat(12, 1, 1)
    _, moved = augment(torch.zeros(12, 1, 60, 100), disc, only(rotation_degrees=90, mirror=mirror), seeded())
    middle, before = torch.tensor([29.5, 49.5]), torch.tensor([40.0, 60.0])
    angles = []
    for one in moved:
        assert int((one > 0).sum()) == pytest.approx(3.1416 * 81, rel=0.05)
        offset = centre(one > 0) - middle
        assert offset.norm().item() == pytest.approx((before - middle).norm().item(), abs=0.5)
        spread = (one > 0).nonzero().float().var(dim=0)
        assert spread[0].item() == pytest.approx(spread[1].item(), rel=0.1)  # still round
        angles.append(torch.atan2(*offset).item())
    assert max(angles) - min(angles) > 1.0  # radians


def test_mirroring_swaps_left_and_right_of_about_half_the_slices() -> None:
    classes = ellipse(24, 40, count=64)
    _, moved = augment(torch.zeros(64, 1, 24, 40), classes, only(mirror=True), seeded())
    mirrored = [bool(torch.equal(one, classes[0].flip(0))) for one in moved]  # rows run from left to right
    same = [bool(torch.equal(one, classes[0])) for one in moved]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_translation_and_scaling_stay_within_their_largest_change() -> None:
    classes = (ellipse(80, 120, count=64) > 0).long()
    blank = torch.zeros(64, 1, 80, 120)
    _, moved = augment(blank, classes, only(translation=0.1), seeded())
    shifts = torch.stack([centre(one) - centre(classes[0]) for one in moved]) / torch.tensor([80, 120])
    assert shifts.abs().max() < 0.105
    assert (shifts.amax(dim=0) > 0.07).all()
    assert (shifts.amin(dim=0) < -0.07).all()
    _, moved = augment(blank, classes, only(scaling=0.2), seeded())
    sizes = (moved.sum(dim=(1, 2)) / classes[0].sum()) ** 0.5
    assert 1 / 1.22 < sizes.min() < 0.9
    assert 1.1 < sizes.max() < 1 / 0.79


def test_classes_stay_in_their_set_and_are_never_mixed() -> None:
    classes = torch.tensor([0, 7, 200])[torch.randint(0, 3, (6, 40, 40), generator=seeded())]
    _, moved = augment(torch.zeros(6, 1, 40, 40), classes, only(**SPATIAL), seeded())
    assert set(moved.unique().tolist()) <= {0, 7, 200}


INTENSITY = {"brightness": 0.3, "contrast": 0.4, "gamma": 0.4, "noise": 0.2, "blur": 1.0}


@pytest.mark.parametrize(("name", "amount"), INTENSITY.items())
def test_intensity_changes_touch_some_slices_and_no_labels(name: str, amount: float) -> None:
    images, classes = torch.randn(40, 2, 16, 16, generator=seeded(1)), ellipse(16, 16, count=40)
    found, moved = augment(images, classes, only(**{name: amount}), seeded())
    assert torch.equal(moved, classes)
    assert torch.isfinite(found).all()
    changed = [not torch.allclose(a, b, atol=1e-5) for a, b in zip(found, images, strict=True)]
    assert 8 < sum(changed) < 32  # about half


@pytest.mark.parametrize(("name", "amount"), INTENSITY.items())
def test_intensity_changes_are_finite_on_empty_slices(name: str, amount: float) -> None:
    found, _ = augment(torch.zeros(20, 1, 8, 8), ellipse(8, 8, count=20), only(**{name: amount}), seeded())
    assert torch.isfinite(found).all()


def test_brightness_adds_and_contrast_multiplies() -> None:
    images, classes = torch.randn(40, 1, 16, 16, generator=seeded(1)), ellipse(16, 16, count=40)
    found, _ = augment(images, classes, only(brightness=0.3), seeded())
    change = (found - images).reshape(40, -1)
    assert change.std(dim=1).max() < 1e-6
    assert 0.2 < change.abs().max() <= 0.3
    found, _ = augment(images, classes, only(contrast=0.4), seeded())
    factors = (found / images).reshape(40, -1)
    assert factors.std(dim=1).max() < 1e-4
    assert 0.6 <= factors.min() < 0.75
    assert 1.25 < factors.max() <= 1.4001


def test_gamma_keeps_the_range_and_the_order() -> None:
    images = torch.linspace(-2, 5, 256).reshape(1, 1, 16, 16).repeat(20, 1, 1, 1)
    found, _ = augment(images, ellipse(16, 16, count=20), only(gamma=0.4), seeded())
    assert torch.allclose(found.amin(dim=(1, 2, 3)), torch.tensor(-2.0), atol=1e-4)
    assert torch.allclose(found.amax(dim=(1, 2, 3)), torch.tensor(5.0), atol=1e-4)
    assert (found.flatten(1).diff(dim=1) >= 0).all()
    assert not torch.allclose(found, images)


def test_blur_keeps_the_mean_and_lowers_the_noise() -> None:
    images = torch.randn(20, 1, 64, 64, generator=seeded(1))
    found, _ = augment(images, ellipse(64, 64, count=20), only(blur=1.0), seeded())
    assert torch.allclose(found.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)), atol=5e-3)
    assert found.std(dim=(1, 2, 3)).max() < images.std(dim=(1, 2, 3)).max() + 1e-4
    assert found.std(dim=(1, 2, 3)).min() < 0.5


@pytest.mark.parametrize("config", [AugmentationConfig(), load_config(preset="pix2pix-paper").augmentation])
def test_the_same_generator_gives_the_same_changes(config: AugmentationConfig) -> None:
    images, classes = torch.randn(4, 3, 20, 26), ellipse(20, 26, count=4)
    first, second, other = (augment(images, classes, config, seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    augment(images, classes, config, seeded())
    assert torch.equal(torch.random.get_rng_state(), before)  # no other source of chance is touched


def test_the_batch_that_went_in_is_not_changed() -> None:
    images, classes = torch.randn(4, 1, 20, 26), ellipse(20, 26, count=4)
    kept = images.clone(), classes.clone()
    augment(images, classes, AugmentationConfig(mirror=True), seeded())
    assert torch.equal(images, kept[0])
    assert torch.equal(classes, kept[1])
