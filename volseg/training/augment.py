"""Random changes of training batches, on whole batches at once and on the device that trains."""

from __future__ import annotations

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
    if config.rotation_degrees or config.scaling or config.translation or config.mirror:
        images, classes = _move(images, classes, config, generator)
    return _change_intensity(images, config, generator), classes


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _move(
    images: Tensor, classes: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    batch, _, height, width = images.shape
    turn = config.rotation_degrees * pi / 180
    angle = _uniform(batch, -turn, turn, generator)
    zoom = _uniform(batch, 1 - config.scaling, 1 + config.scaling, generator)
    mirror = torch.ones(batch)
    if config.mirror:
        mirror = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    # affine_grid works in coordinates where both sides have length 2: pixels keep their shape by the aspect ratio.
    aspect = height / width
    # Rows of an axial or coronal slice run from left to right; plans for sagittal slices have no mirroring.
    rows = [cos, -sin * aspect * mirror, sin / aspect, cos * mirror]
    shift = [_uniform(batch, -config.translation, config.translation, generator) * 2 for _ in range(2)]
    theta = torch.stack([rows[0], rows[1], shift[0], rows[2], rows[3], shift[1]], dim=1).reshape(batch, 2, 3)
    grid = F.affine_grid(theta, [batch, 1, height, width], align_corners=False).to(images.device)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = F.grid_sample(classes[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return moved, labels[:, 0].round().long()


def _change_intensity(images: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    batch = images.shape[0]

    def amount(low: float, high: float, neutral: float) -> Tensor:
        chosen = torch.rand(batch, generator=generator) < _SHARE
        values = torch.where(chosen, _uniform(batch, low, high, generator), torch.tensor(neutral))
        return values.to(images.device).reshape(batch, 1, 1, 1)

    if config.blur:
        images = _blur(images, amount(0.0, config.blur, 0.0).flatten())
    if config.gamma:
        low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
        span = (high - low).clamp_min(1e-6)
        images = ((images - low) / span).clamp(0, 1) ** amount(1 - config.gamma, 1 + config.gamma, 1.0) * span + low
    if config.contrast:
        images = images * amount(1 - config.contrast, 1 + config.contrast, 1.0)
    if config.brightness:
        images = images + amount(-config.brightness, config.brightness, 0.0)
    if config.noise:
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        images = images + noise * amount(0.0, config.noise, 0.0)
    return images


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with one sigma (pixels) a slice; 0 leaves a slice as it is."""
    batch, channels, height, width = images.shape
    reach = torch.arange(-2, 3, device=images.device)
    kernel = torch.exp(-(reach**2) / (2 * sigma.clamp_min(1e-3)[:, None] ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = F.pad(images.reshape(1, batch * channels, height, width), (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=batch * channels)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=batch * channels)
    return flat.reshape(batch, channels, height, width)
