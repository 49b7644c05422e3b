"""Common parts of the generators: the frame of padding and cropping, and shared building blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from volseg.config import NetworkConfig

_LEVELS_WITH_DROPOUT = 3  # the innermost ones, as published for pix2pix


class Generator(nn.Module, ABC):
    """A network from slices to class logits that halves a slice `levels` times and grows it back.

    Parameters
    ----------
    in_channels : int
        Channels of a slice with its neighbours.
    classes : int
        Classes with background.
    config : NetworkConfig
        With `levels` and `width` set; without `max_width`, levels have twice as many channels as the one before without
        a limit.

    Notes
    -----
    A subclass builds its layers, and implements `levels_for` and `logits`. The names of its layers are those of the
    weights in model files: a name that changes makes older files unreadable.

    Input (B, in_channels, H, W) of any size from 1x1: it is padded on all sides by its edge to a multiple of
    ``2 ** levels`` (to `least_pixels` of them at least), and the logits (B, classes, H, W) are cropped back. With
    `norm` ``batch`` the running statistics are used at test time, with ``instance`` each slice's own: in both, a
    slice's answer does not depend on its batch.
    """

    least_pixels: ClassVar[int] = 1
    """Pixels along each side of the deepest level, at least."""

    short_side: ClassVar[int] = 1
    """Pixels along the short side of a slice, at least: slices of fewer are planned at a finer spacing."""

    def __init__(self, in_channels: int, classes: int, config: NetworkConfig) -> None:
        super().__init__()
        if config.levels is None or config.width is None:
            raise ValueError("levels and width must be set")
        self.in_channels, self.classes, self.levels = in_channels, classes, config.levels
        self.widths = [config.width * 2**level for level in range(self.levels + 1)]
        if config.max_width is not None:
            self.widths = [min(width, config.max_width) for width in self.widths]

    @staticmethod
    @abstractmethod
    def levels_for(slice_size: tuple[int, int]) -> int:
        """Return how often a slice of this size (pixels) should be halved.

        Parameters
        ----------
        slice_size : (height, width)
            Pixels.
        """

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, classes, H, W); H and W are multiples of ``2 ** levels``.

        Parameters
        ----------
        x : (B, C, H, W) float
        """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, classes, H, W).

        Parameters
        ----------
        x : (B, C, H, W) float
        """
        height, width = x.shape[-2:]
        multiple = 2**self.levels
        missing = [max(-size % multiple, self.least_pixels * multiple - size) for size in (width, height)]
        # In the middle, as in training, with the odd pixel in front: a deep network knows where a slice lies.
        left, top = ((n + 1) // 2 for n in missing)
        padded = F.pad(x, (left, missing[0] - left, top, missing[1] - top), mode="replicate")
        return self.logits(padded)[..., top : top + height, left : left + width]


def make_norm(channels: int, kind: str) -> nn.Module:
    """Make the normalisation of a config, with a scale and an offset for each channel.

    Parameters
    ----------
    channels : int
    kind : {"instance", "batch"}
    """
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def make_growth(inside: int, outside: int, decoder: str, *, kernel: int, bias: bool = True) -> list[nn.Module]:
    """Make the layers that double both sides of a slice, from `inside` to `outside` channels.

    ``transpose``: a transposed convolution of stride 2. ``upsample``: x2 upsampling and a 3x3 convolution, which leaves
    no checkerboard. `kernel` is of the former.
    """
    if decoder == "transpose":
        return [nn.ConvTranspose2d(inside, outside, kernel, 2, (kernel - 2) // 2, bias=bias)]
    upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return [upsample, nn.Conv2d(inside, outside, 3, 1, 1, bias=bias)]


def make_dropout(level: int, config: NetworkConfig) -> list[nn.Module]:
    """Make the dropout after growing to a level (0 is full resolution): in the innermost levels, if any.

    Parameters
    ----------
    level : int
        From 0 at the input.
    config : NetworkConfig
    """
    depth = (config.levels or 0) - 1 - level  # 0 is the innermost
    return [nn.Dropout(config.dropout)] if config.dropout and depth < _LEVELS_WITH_DROPOUT and level > 0 else []
