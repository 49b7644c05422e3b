from __future__ import annotations

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volseg.config import Block, NetworkConfig, load_config
from volseg.network.base import Generator
from volseg.network.generator import NETWORKS, build_generator, fold_norms

PUBLISHED = load_config(preset="pix2pix-paper").network

# The paper's encoder C64-C128-C256-C512-C512-C512-C512-C512 and U-Net decoder CD512-CD512-CD512-C512-C256-C128-C64, to
# which the mirrored encoder level is joined, from 3 channels to 3: (in, out) of every convolution.
ENCODER = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512), (512, 512), (512, 512), (512, 512)]
DECODER = [(512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3)]


def generator(**network: object) -> Generator:
    torch.manual_seed(0)
    return build_generator(2, 3, NetworkConfig.model_validate({"width": 4, "levels": 2, **network}))


def used_generator(block: str, decoder: str, norm: str) -> Generator:
    """Return a generator whose running statistics are not 0 and 1."""
    network = generator(block=block, decoder=decoder, norm=norm, dropout=0.5, levels=3)
    for _ in range(3):
        network.train()(torch.randn(5, 2, 24, 24) * 3 + 1)
    return network.eval()


def published_at_256() -> Generator:
    with torch.device("meta"):  # shapes only
        return build_generator(
            3, 3, PUBLISHED.model_copy(update={"levels": NETWORKS["pix2pix"].levels_for((256, 256))})
        )


def layers(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if not list(m.children()) and not isinstance(m, nn.Identity)]


@pytest.mark.parametrize("block", NETWORKS)
@pytest.mark.parametrize("decoder", ["transpose", "upsample"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (48, 48), (64, 40)])
@pytest.mark.parametrize("levels", [1, 3])
def test_logits_have_the_size_of_the_slice(
    block: str, decoder: str, norm: str, size: tuple[int, int], levels: int
) -> None:
    network = generator(block=block, decoder=decoder, norm=norm, levels=levels, dropout=0.5)
    for mode in (True, False):
        logits = network.train(mode)(torch.randn(1, 2, *size))
        assert logits.shape == (1, 3, *size)
        assert torch.isfinite(logits).all()
    assert torch.isfinite(network.eval()(torch.zeros(2, 2, *size))).all()


@pytest.mark.parametrize("block", NETWORKS)
@pytest.mark.parametrize("decoder", ["transpose", "upsample"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_slice_is_answered_alike_in_any_company(block: str, decoder: str, norm: str) -> None:
    network = used_generator(block, decoder, norm)
    slices = torch.randn(6, 2, 24, 20)
    with torch.inference_mode():
        together = network(slices)
        loud = torch.cat([slices[:1], 1e3 * torch.randn(3, 2, 24, 20)])
        assert torch.allclose(network(loud)[:1], together[:1], atol=1e-5)
        for n in range(6):
            assert torch.allclose(network(slices[n : n + 1]), together[n : n + 1], atol=1e-5)


@pytest.mark.parametrize("block", NETWORKS)
@pytest.mark.parametrize("decoder", ["transpose", "upsample"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_folded_copy_answers_alike_and_leaves_its_input(block: str, decoder: str, norm: str) -> None:
    network = used_generator(block, decoder, norm)
    slices = torch.randn(3, 2, 24, 16)
    before = slices.clone()
    with torch.inference_mode():
        folded = fold_norms(network)
        assert torch.allclose(folded.logits(slices), network.logits(slices), atol=1e-5)
        assert torch.equal(slices, before)


@pytest.mark.parametrize("block", NETWORKS)
@pytest.mark.parametrize("decoder", ["transpose", "upsample"])
def test_every_weight_learns(block: str, decoder: str) -> None:
    network = generator(block=block, decoder=decoder, levels=3)
    network(torch.randn(2, 2, 32, 32)).square().sum().backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert without == []


@pytest.mark.parametrize("block", NETWORKS)
def test_what_lies_beyond_the_padding_does_not_turn_the_picture(block: str) -> None:
    """The crop takes the corner at which the slice was: a mark in a corner changes the logits there most."""
    network = generator(block=block, levels=3).eval()
    blank = torch.zeros(1, 2, 17, 25)  # padded by 7 pixels
    for row, column in ((2, 2), (2, 22), (14, 2), (14, 22)):
        marked = blank.clone()
        marked[..., row, column] = 100
        change = (network(marked) - network(blank)).abs().sum(dim=1)[0]
        strongest = divmod(int(change.argmax()), 25)
        assert abs(strongest[0] - row) <= 3
        assert abs(strongest[1] - column) <= 3


def test_dropout_acts_in_training_only_and_only_where_asked_for() -> None:
    x = torch.randn(1, 2, 32, 32)
    for dropout, alike in ((0.0, True), (0.5, False)):
        network = generator(dropout=dropout, levels=3).train()
        assert torch.equal(network(x), network(x)) is alike
        network.eval()
        assert torch.equal(network(x), network(x))


def test_the_settings_know_the_names_of_the_networks() -> None:
    assert get_args(Block) == tuple(NETWORKS)


def test_levels_must_be_planned() -> None:
    with pytest.raises(ValueError, match="levels and width must be set"):
        generator(levels=None)


@pytest.mark.parametrize(
    ("size", "pix2pix", "double"),
    [
        ((1, 1), 1, 1),
        ((8, 8), 3, 1),
        ((48, 48), 4, 3),  # a fifth would need 64 x 64
        ((64, 40), 4, 3),
        ((70, 102), 4, 4),
        ((96, 96), 5, 4),
        ((63, 64), 5, 3),
        ((64, 64), 6, 4),
        ((256, 256), 8, 5),
        ((256, 320), 7, 5),
        ((512, 512), 8, 5),
    ],
)
def test_depth_follows_the_slice(size: tuple[int, int], pix2pix: int, double: int) -> None:
    for name, levels in (("pix2pix", pix2pix), ("double", double)):
        levels_for = NETWORKS[name].levels_for
        assert levels_for(size) == levels_for(size[::-1]) == levels


def test_the_published_network_has_the_papers_convolutions() -> None:
    network = published_at_256()
    downs = [m for m in network.downs.modules() if isinstance(m, nn.Conv2d)]
    ups = [m for m in network.ups.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in downs] == ENCODER
    assert [(m.in_channels, m.out_channels) for m in ups] == DECODER
    for convolution in (*downs, *ups):
        assert (convolution.kernel_size, convolution.stride, convolution.padding) == ((4, 4), (2, 2), (1, 1))
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in network.modules()) == 16


def test_the_published_network_has_the_papers_order_of_layers() -> None:
    network = published_at_256()
    kinds = [[type(m).__name__ for m in layers(level)] for level in network.downs]
    assert kinds == [["Conv2d"], *[["LeakyReLU", "Conv2d", "BatchNorm2d"]] * 6, ["LeakyReLU", "Conv2d"]]
    assert all(m.negative_slope == 0.2 for m in network.modules() if isinstance(m, nn.LeakyReLU))
    grow = ["ReLU", "ConvTranspose2d", "BatchNorm2d"]
    kinds = [[type(m).__name__ for m in layers(level)] for level in network.ups]
    assert kinds == [*[[*grow, "Dropout"]] * 3, *[grow] * 4, ["ReLU", "ConvTranspose2d"]]
    assert all(m.p == 0.5 for m in network.modules() if isinstance(m, nn.Dropout))


def test_the_published_network_has_the_published_number_of_parameters() -> None:
    weights = sum(16 * a * b for a, b in ENCODER + DECODER)
    norms = sum(2 * b for _, b in ENCODER[1:-1] + DECODER[:-1])
    assert weights + norms + 3 == 54_413_955  # of the authors' PyTorch code, biased only in its last layer
    # As in the paper's own code, the two other convolutions without a normalisation have a bias too.
    assert sum(p.numel() for p in published_at_256().parameters()) == 54_413_955 + 64 + 512


def test_the_published_network_narrows_256_pixels_to_one() -> None:
    network, sizes = published_at_256(), []
    for down in network.downs:
        down.register_forward_hook(lambda _module, _input, output: sizes.append(tuple(output.shape[-2:])))
    assert network(torch.empty(1, 3, 256, 256, device="meta")).shape == (1, 3, 256, 256)
    assert sizes == [(n, n) for n in (128, 64, 32, 16, 8, 4, 2, 1)]


def test_the_published_weights_start_as_published() -> None:
    torch.manual_seed(0)
    network = build_generator(3, 3, PUBLISHED.model_copy(update={"levels": 5, "width": 32}))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 10_000:
            assert module.weight.mean().item() == pytest.approx(0, abs=1e-3)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.03)
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert module.bias.abs().max() == 0


def test_the_published_network_computes_the_published_function() -> None:
    """The U-Net of the paper, written down level by level with the same weights."""
    network = generator(block="pix2pix", norm="batch", width=4, max_width=16, levels=4, dropout=0.5)
    for _ in range(3):
        network.train()(torch.randn(4, 2, 16, 32))
    network.eval()
    weights = network.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, scale, bias = (weights[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, scale, bias)

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride=2, padding=1)

    def grow(x: Tensor, name: str) -> Tensor:
        return F.conv_transpose2d(F.relu(x), weights[f"{name}.weight"], weights.get(f"{name}.bias"), 2, 1)

    x = torch.randn(2, 2, 16, 32)  # a multiple of 2 ** 4: no padding
    e1 = conv(x, "downs.0.0")
    e2 = norm(conv(F.leaky_relu(e1, 0.2), "downs.1.1"), "downs.1.2")
    e3 = norm(conv(F.leaky_relu(e2, 0.2), "downs.2.1"), "downs.2.2")
    e4 = conv(F.leaky_relu(e3, 0.2), "downs.3.1")
    d1 = torch.cat([e3, norm(grow(e4, "ups.0.1"), "ups.0.2")], dim=1)
    d2 = torch.cat([e2, norm(grow(d1, "ups.1.1"), "ups.1.2")], dim=1)
    d3 = torch.cat([e1, norm(grow(d2, "ups.2.1"), "ups.2.2")], dim=1)
    assert torch.allclose(network(x), grow(d3, "ups.3.1"), atol=1e-5)
