"""The conditional PatchGAN, which classifies patches of (slice, class probabilities) as real or predicted."""

from __future__ import annotations

from torch import nn

from volseg.config import DiscriminatorConfig

RECEPTIVE_FIELD = {1: 16, 2: 34, 3: 70, 4: 142}  # pixels, of MONAI's PatchDiscriminator by its number of layers


def discriminator_layers(slice_size: tuple[int, int], *, max_layers: int) -> int:
    """Return the number of layers with the largest receptive field that fits a slice (at least 1)."""
    fitting = [n for n, field in RECEPTIVE_FIELD.items() if n <= max_layers and field <= min(slice_size)]
    return max(fitting, default=1)


def build_discriminator(
    in_channels: int, classes: int, *, slice_size: tuple[int, int], config: DiscriminatorConfig
) -> nn.Module:
    """Make the discriminator: (B, in_channels + classes, H, W) -> list of layer outputs, the last its patch logits.

    Parameters
    ----------
    in_channels : int
        Of the image.
    classes : int
        With background.
    slice_size : (height, width)
        Pixels.
    config : DiscriminatorConfig
    """
    from monai.networks.nets import PatchDiscriminator

    discriminator: nn.Module = PatchDiscriminator(
        spatial_dims=2,
        channels=config.width,
        in_channels=in_channels + classes,
        out_channels=1,
        num_layers_d=discriminator_layers(slice_size, max_layers=config.max_layers),
    )
    return discriminator
