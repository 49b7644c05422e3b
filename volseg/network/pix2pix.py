"""The published pix2pix generator: a U-Net with a 4x4 convolution of stride 2 a level, nothing at full resolution.

P. Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017, arXiv:1611.07004.
"""

from __future__ import annotations

from math import ceil, floor, log2, prod

import torch
from torch import Tensor, nn

from volseg.config import NetworkConfig
from volseg.network.base import Generator, make_dropout, make_growth, make_norm

_MOST_PADDED = 1.5  # times the pixels of a slice


class Pix2PixGenerator(Generator):
    """The generator of pix2pix; parameters as for `Generator`."""

    # Its first convolution halves at once. The published code enlarges its pictures for that reason as well.
    short_side = 96

    def __init__(self, in_channels: int, classes: int, config: NetworkConfig) -> None:
        super().__init__(in_channels, classes, config)
        widths = self.widths[: self.levels]  # full resolution has no level
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level in range(self.levels):
            self.downs.append(_down(level, [in_channels, *widths], config))
        for level in reversed(range(self.levels)):
            self.ups.append(_up(level, [classes, *widths], config))
        self.apply(_initialise)

    @staticmethod
    def levels_for(slice_size: tuple[int, int]) -> int:
        """Return how often a slice is halved: until its short side has 1 pixel, at most 8 times.

        Fewer times where rounding both sides up to a multiple of ``2 ** levels`` would add half of the pixels: a deep
        level is not worth a frame of padding that costs as much as the slice.
        """
        deepest = max(1, min(8, floor(log2(min(slice_size)))))
        for levels in range(deepest, 1, -1):
            padded = [ceil(side / 2**levels) * 2**levels for side in slice_size]
            if prod(padded) <= _MOST_PADDED * prod(slice_size):
                return levels
        return 1

    def logits(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, classes, H, W)."""
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        innermost, *others = self.ups
        x = innermost(skips.pop())
        for up in others:
            x = up(torch.cat([skips.pop(), x], dim=1))
        return x


def _down(level: int, widths: list[int], config: NetworkConfig) -> nn.Sequential:
    """Make the layers from one level to the next deeper one; first and innermost without normalisation."""
    outermost, innermost = level == 0, level == len(widths) - 2
    bare = outermost or innermost
    layers: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2)]
    layers.append(nn.Conv2d(widths[level], widths[level + 1], 4, 2, 1, bias=bare))
    if not bare:
        layers.append(make_norm(widths[level + 1], config.norm))
    return nn.Sequential(*layers)


def _up(level: int, widths: list[int], config: NetworkConfig) -> nn.Sequential:
    """Make the layers to one level from the next deeper one, to which its mirrored level is joined."""
    outermost, innermost = level == 0, level == len(widths) - 2
    entering = widths[level + 1] if innermost else 2 * widths[level + 1]
    layers = [nn.ReLU(), *make_growth(entering, widths[level], config.decoder, kernel=4, bias=outermost)]
    if not outermost:
        layers.append(make_norm(widths[level], config.norm))
    return nn.Sequential(*layers, *make_dropout(level, config))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
