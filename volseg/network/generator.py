"""The generator: a U-Net that takes slices and gives class logits.

Two kinds of block. ``pix2pix`` is the published one (Isola et al. 2017, arXiv:1611.07004): a 4x4 convolution of stride
2 a level, nothing at full resolution. ``double`` has two 3x3 convolutions a level, from full resolution down
(Ronneberger et al. 2015, arXiv:1505.04597). Two decoders. ``transpose`` grows by stride-2 transposed convolutions,
``upsample`` by x2 upsampling and a 3x3 convolution, which leaves no checkerboard.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from math import floor, log2

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from volseg.config import NetworkConfig

_SMALLEST_DOUBLE = 4  # pixels that the short side of the deepest level should keep, so that 3x3 still means something


def levels_for(slice_size: tuple[int, int], block: str) -> int:
    """Return how often a slice of this size is halved: pix2pix to 1 pixel (at most 8 times), otherwise to 4 to 8."""
    short = min(slice_size)
    if block == "pix2pix":
        return max(1, min(8, floor(log2(short))))
    return max(1, min(5, floor(log2(max(2, short / _SMALLEST_DOUBLE)))))


class Generator(nn.Module):
    """A U-Net from slices to class logits.

    Parameters
    ----------
    in_channels : int
        Channels of a slice with its neighbours.
    classes : int
        Classes with background.
    config : NetworkConfig
        With `levels` set.

    Notes
    -----
    Input (B, in_channels, H, W) of any size from 1x1: it is padded on all sides by its edge to a multiple of
    ``2 ** levels`` (with ``double`` to two of them at least), and the logits (B, classes, H, W) are cropped back. With
    `norm` ``batch`` the running statistics are used at test time, with ``instance`` each slice's own: in both, a
    slice's answer does not depend on its batch.
    """

    def __init__(self, in_channels: int, classes: int, config: NetworkConfig) -> None:
        super().__init__()
        if config.levels is None:
            raise ValueError("levels must be set")
        self.in_channels, self.classes, self.levels = in_channels, classes, config.levels
        published = config.block == "pix2pix"
        widths = [min(config.width * 2**n, config.max_width) for n in range(config.levels + 1)]
        if published:
            widths = [in_channels, *widths[: config.levels]]
        self.stem = nn.Identity() if published else _double(in_channels, widths[0], config.norm)
        self.downs = nn.ModuleList(_down(n, widths, config) for n in range(config.levels))
        self.ups = nn.ModuleList(_up(n, widths, classes, config) for n in reversed(range(config.levels)))
        self.merges = nn.ModuleList(
            nn.Identity() if published else _double(2 * widths[n], widths[n], config.norm)
            for n in reversed(range(config.levels))
        )
        self.head = nn.Identity() if published else nn.Conv2d(widths[0], classes, 1)
        self.published = published
        if published:
            self.apply(_initialise_published)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, classes, H, W)."""
        height, width = x.shape[-2:]
        multiple = 2**self.levels
        # At least 2x2 where the deepest level is normalised (as published it is not): one pixel has no variance.
        least = multiple if self.published else 2 * multiple
        missing = [max(-size % multiple, least - size) for size in (width, height)]
        # In the middle, as in training, with the odd pixel in front: a deep network knows where a slice lies.
        left, top = ((n + 1) // 2 for n in missing)
        x = F.pad(x, (left, missing[0] - left, top, missing[1] - top), mode="replicate")
        x = self.stem(x)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for level, (up, merge) in enumerate(zip(self.ups, self.merges, strict=True)):
            x = up(x)
            skip = skips.pop()
            # The published network has no skip at full resolution, where it does nothing.
            if not self.published or level < self.levels - 1:
                x = merge(torch.cat([skip, x], dim=1))
        return torch.as_tensor(self.head(x)[..., top : top + height, left : left + width])


def fold_norms(network: nn.Module) -> nn.Module:
    """Return a copy for use at test time, with batch norms folded into the convolutions before them.

    Its answers are the same but for rounding; it is quicker, on a CPU by far.
    """
    copy = deepcopy(network).eval()
    for module in [module for module in copy.modules() if isinstance(module, nn.Sequential)]:
        for number, (first, second) in enumerate(pairwise(list(module))):
            if isinstance(second, nn.BatchNorm2d) and isinstance(first, nn.Conv2d | nn.ConvTranspose2d):
                # Without the flag a transposed convolution is silently folded along the wrong axis.
                transposed = isinstance(first, nn.ConvTranspose2d)
                module[number] = fuse_conv_bn_eval(first, second, transpose=transposed)
                module[number + 1] = nn.Identity()
    return copy


def _down(level: int, widths: list[int], config: NetworkConfig) -> nn.Module:
    inside, outside = widths[level], widths[level + 1]
    if config.block == "double":
        return _double(inside, outside, config.norm, stride=2)
    # First and innermost without normalisation, as published.
    outermost, innermost = level == 0, level == len(widths) - 2
    bare = outermost or innermost
    layers = [] if outermost else [nn.LeakyReLU(0.2)]
    return nn.Sequential(
        *layers, nn.Conv2d(inside, outside, 4, 2, 1, bias=bare), *([] if bare else [_norm(outside, config.norm)])
    )


def _up(level: int, widths: list[int], classes: int, config: NetworkConfig) -> nn.Module:
    inside, outside = widths[level + 1], widths[level]
    depth = len(widths) - 2 - level  # 0 is the innermost
    dropout = [nn.Dropout(config.dropout)] if config.dropout and depth < 3 and level > 0 else []
    if config.block == "double":
        return nn.Sequential(*_grow(inside, outside, config.decoder, kernel=2), *dropout)
    outermost = level == 0
    entering = inside if depth == 0 else 2 * inside
    grow = _grow(entering, classes if outermost else outside, config.decoder, kernel=4, bias=outermost)
    return nn.Sequential(nn.ReLU(), *grow, *([] if outermost else [_norm(outside, config.norm)]), *dropout)


def _grow(inside: int, outside: int, decoder: str, *, kernel: int, bias: bool = True) -> list[nn.Module]:
    if decoder == "transpose":
        return [nn.ConvTranspose2d(inside, outside, kernel, 2, (kernel - 2) // 2, bias=bias)]
    upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return [upsample, nn.Conv2d(inside, outside, 3, 1, 1, bias=bias)]


def _double(inside: int, outside: int, norm: str, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
        _norm(outside, norm),
        nn.LeakyReLU(0.01),
        nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
        _norm(outside, norm),
        nn.LeakyReLU(0.01),
    )


def _norm(channels: int, kind: str) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def _initialise_published(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
