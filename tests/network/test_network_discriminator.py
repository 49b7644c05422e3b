from __future__ import annotations

import pytest
import torch
from torch import nn

from volseg.config import DiscriminatorConfig
from volseg.network.discriminator import RECEPTIVE_FIELD, build_discriminator, discriminator_layers


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_the_receptive_fields_are_those_of_the_gradient(layers: int, field: int) -> None:
    assert RECEPTIVE_FIELD[layers] == field
    torch.manual_seed(0)
    size = (208, 208)
    config = DiscriminatorConfig(width=2, max_layers=layers)
    network = build_discriminator(1, 1, slice_size=size, config=config).eval()
    x = torch.randn(1, 2, *size, requires_grad=True)
    patches = network(x)[-1]
    patches[0, 0, patches.shape[2] // 2, patches.shape[3] // 2].backward()
    assert x.grad is not None
    for axis in (1, 2):
        seen = x.grad[0].abs().sum(dim=0).sum(dim=axis - 1).nonzero().flatten()
        assert int(seen.max() - seen.min()) + 1 == field


@pytest.mark.parametrize(
    ("size", "most", "layers"),
    [
        ((8, 8), 4, 1),
        ((16, 16), 4, 1),
        ((33, 200), 4, 1),
        ((34, 200), 4, 2),
        ((70, 70), 4, 3),
        ((69, 200), 4, 2),
        ((142, 142), 4, 4),
        ((256, 256), 3, 3),
        ((256, 256), 1, 1),
    ],
)
def test_the_largest_patch_that_fits_is_judged(size: tuple[int, int], most: int, layers: int) -> None:
    assert discriminator_layers(size, max_layers=most) == layers


@pytest.mark.parametrize("size", [(8, 8), (34, 40), (70, 96), (142, 150)])
def test_patches_come_out_for_every_size(size: tuple[int, int]) -> None:
    network = build_discriminator(3, 2, slice_size=size, config=DiscriminatorConfig(width=4))
    patches = network(torch.randn(2, 5, *size))[-1]
    assert patches.shape[:2] == (2, 1)
    assert min(patches.shape[2:]) >= 1
    assert torch.isfinite(patches).all()


def test_at_256_pixels_it_is_the_papers_70_pixel_patchgan() -> None:
    with torch.device("meta"):
        network = build_discriminator(3, 3, slice_size=(256, 256), config=DiscriminatorConfig(max_layers=3))
        outputs = network(torch.empty(1, 6, 256, 256))
    # C64-C128-C256-C512, then to one channel: 30 x 30 patches.
    assert [tuple(o.shape[1:]) for o in outputs] == [
        (64, 128, 128),
        (128, 64, 64),
        (256, 32, 32),
        (512, 31, 31),
        (1, 30, 30),
    ]
    assert all(m.negative_slope == 0.2 for m in network.modules() if isinstance(m, nn.LeakyReLU))
    norms = [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [128, 256, 512]  # none in the first layer
