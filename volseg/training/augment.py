"""Random changes of training batches, on whole batches at once and on the device that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from volseg.config import AugmentationConfig

_SHARE = 0.5  # of the slices get each intensity change


def augment(
    images: Tensor, classes: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change slices and their classes at random.

    Parameters
    ----------
    images : (B, C, H, W) float
    classes : (B, H, W) int64
    config : AugmentationConfig
        Largest changes.
    generator : torch.Generator
        On the CPU, so that runs are alike on every device.

    Returns
    -------
    (images, classes)
        Same shapes. Space changes for both alike (classes by nearest neighbour), intensities for images only.
    """
    draw = Draws(len(images), images.device, generator)
    if config.rotation_degrees or config.scaling or config.translation or config.mirror:
        images, classes = move(images, classes, config, draw)
    for name, change in INTENSITY_CHANGES.items():
        if largest := getattr(config, name):
            images = change(images, largest, draw)
    return images, classes


@dataclass(frozen=True)
class Draws:
    """Random numbers for the slices of a batch."""

    count: int
    device: torch.device
    generator: torch.Generator

    def uniform(self, low: float, high: float) -> Tensor:
        """(B,) numbers between two, on the CPU."""
        return low + (high - low) * torch.rand(self.count, generator=self.generator)

    def amount(self, low: float, high: float, neutral: float) -> Tensor:
        """(B, 1, 1, 1) numbers between two for some of the slices, `neutral` for the others."""
        chosen = torch.rand(self.count, generator=self.generator) < _SHARE
        values = torch.where(chosen, self.uniform(low, high), torch.tensor(neutral))
        return values.to(self.device).reshape(self.count, 1, 1, 1)

    def normal(self, shape: torch.Size) -> Tensor:
        """Return numbers of mean 0 and standard deviation 1."""
        return torch.randn(shape, generator=self.generator).to(self.device)


def move(images: Tensor, classes: Tensor, config: AugmentationConfig, draw: Draws) -> tuple[Tensor, Tensor]:
    """Rotate, scale, shift and mirror slices and classes, all in one interpolation.

    Parameters
    ----------
    images : (B, C, H, W) float
    classes : (B, H, W) int64
    config : AugmentationConfig
        Largest changes.
    draw : Draws
    """
    batch, _, height, width = images.shape
    turn = config.rotation_degrees * pi / 180
    angle = draw.uniform(-turn, turn)
    zoom = draw.uniform(1 - config.scaling, 1 + config.scaling)
    mirror = torch.ones(batch)
    if config.mirror:
        mirror = torch.where(torch.rand(batch, generator=draw.generator) < 0.5, -1.0, 1.0)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    # affine_grid works in coordinates where both sides have length 2: pixels keep their shape by the aspect ratio.
    aspect = height / width
    # Rows of an axial or coronal slice run from left to right; plans for sagittal slices have no mirroring.
    rows = [cos, -sin * aspect * mirror, sin / aspect, cos * mirror]
    shift = [draw.uniform(-config.translation, config.translation) * 2 for _ in range(2)]
    theta = torch.stack([rows[0], rows[1], shift[0], rows[2], rows[3], shift[1]], dim=1).reshape(batch, 2, 3)
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False).to(images.device)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = F.grid_sample(classes[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved, labels[:, 0].round().long()


def blur(images: Tensor, largest: float, draw: Draws) -> Tensor:
    """Blur by a Gaussian whose sigma is at most `largest` pixels."""
    sigma = draw.amount(0.0, largest, 0.0).flatten()
    batch, channels, height, width = images.shape
    reach = torch.arange(-2, 3, device=images.device)
    kernel = torch.exp(-(reach**2) / (2 * sigma.clamp_min(1e-3)[:, None] ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = F.pad(images.reshape(1, batch * channels, height, width), (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=batch * channels)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=batch * channels)
    return flat.reshape(batch, channels, height, width)


def gamma(images: Tensor, largest: float, draw: Draws) -> Tensor:
    """Raise values to a power of 1 +- `largest`, between the lowest and the highest of each slice and channel."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    span = (high - low).clamp_min(1e-6)
    return ((images - low) / span).clamp(0, 1) ** draw.amount(1 - largest, 1 + largest, 1.0) * span + low


def contrast(images: Tensor, largest: float, draw: Draws) -> Tensor:
    """Multiply by 1 +- `largest`."""
    return images * draw.amount(1 - largest, 1 + largest, 1.0)


def brightness(images: Tensor, largest: float, draw: Draws) -> Tensor:
    """Add a number of at most +- `largest` standard deviations."""
    return images + draw.amount(-largest, largest, 0.0)


def noise(images: Tensor, largest: float, draw: Draws) -> Tensor:
    """Add Gaussian noise of at most `largest` standard deviations."""
    added = draw.normal(images.shape)
    return images + added * draw.amount(0.0, largest, 0.0)


# By the field of `AugmentationConfig` that says the largest change, in the order in which they are done.
INTENSITY_CHANGES: dict[str, Callable[[Tensor, float, Draws], Tensor]] = {
    "blur": blur,
    "gamma": gamma,
    "contrast": contrast,
    "brightness": brightness,
    "noise": noise,
}
