"""The generator's and the discriminator's losses, MONAI's where it has them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def reconstruction_loss(name: str) -> Loss:
    """Make the loss between logits (B, K, H, W) and class numbers (B, H, W).

    ``l1``: mean absolute difference between softmax and one-hot. ``ce``: cross-entropy. ``dice``: soft Dice of the
    foreground classes over the batch. ``ce_dice``: the sum of the two.
    """
    from monai.losses import DiceCELoss, DiceLoss

    if name == "l1":
        return _l1
    if name == "ce":
        return F.cross_entropy
    make = {"dice": DiceLoss, "ce_dice": DiceCELoss}[name]
    # Over the batch: a class that is absent from one slice would otherwise swing its loss between 0 and 1.
    loss = make(include_background=False, to_onehot_y=True, softmax=True, batch=True)

    def dice(logits: Tensor, classes: Tensor) -> Tensor:
        return torch.as_tensor(loss(logits, classes[:, None]))

    return dice


def adversarial_loss(patches: Tensor, *, real: bool) -> Tensor:
    """Return the published GAN loss: binary cross-entropy of the discriminator's patch logits against real or fake."""
    return F.binary_cross_entropy_with_logits(patches, torch.full_like(patches, float(real)))


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(B, H, W) class numbers -> (B, count, H, W) float."""
    return F.one_hot(classes, count).movedim(-1, 1).float()


def _l1(logits: Tensor, classes: Tensor) -> Tensor:
    return F.l1_loss(logits.softmax(dim=1), one_hot(classes, logits.shape[1]))
