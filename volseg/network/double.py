"""The default generator: a U-Net with two 3x3 convolutions a level, from full resolution down.

O. Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, arXiv:1505.04597; here
with padding, strided convolutions in place of pooling, and normalisation.
"""

from __future__ import annotations

from math import floor, log2

import torch
from torch import Tensor, nn

from volseg.config import NetworkConfig
from volseg.network.base import Generator, make_dropout, make_growth, make_norm

_SMALLEST = 4  # pixels that the short side of the deepest level should keep, so that 3x3 still means something


class DoubleUNet(Generator):
    """A U-Net with two 3x3 convolutions a level; parameters as for `Generator`."""

    least_pixels = 2  # the deepest level is normalised: one pixel has no variance

    def __init__(self, in_channels: int, classes: int, config: NetworkConfig) -> None:
        super().__init__(in_channels, classes, config)
        norm, widths = config.norm, self.widths
        self.stem = _double(in_channels, widths[0], norm)
        self.downs, self.ups, self.merges = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in range(self.levels):
            self.downs.append(_double(widths[level], widths[level + 1], norm, stride=2))
        for level in reversed(range(self.levels)):
            grow = make_growth(widths[level + 1], widths[level], config.decoder, kernel=2)
            self.ups.append(nn.Sequential(*grow, *make_dropout(level, config)))
        for level in reversed(range(self.levels)):
            self.merges.append(_double(2 * widths[level], widths[level], norm))
        self.head = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def levels_for(slice_size: tuple[int, int]) -> int:
        """Return how often a slice is halved: until its short side has 4 to 8 pixels, at most 5 times."""
        return max(1, min(5, floor(log2(max(2, min(slice_size) / _SMALLEST)))))

    def logits(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, classes, H, W)."""
        x = self.stem(x)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for up, merge in zip(self.ups, self.merges, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return torch.as_tensor(self.head(x))


def _double(inside: int, outside: int, norm: str, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
        make_norm(outside, norm),
        nn.LeakyReLU(0.01),
        nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
        make_norm(outside, norm),
        nn.LeakyReLU(0.01),
    )
