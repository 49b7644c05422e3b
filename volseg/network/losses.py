"""The generator's and the discriminator's losses, MONAI's where it has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from volseg.config import Reconstruction

Loss = Callable[[Tensor, Tensor], Tensor]

# Over the batch: a class that is absent from one slice would otherwise swing its loss between 0 and 1.
_FOREGROUND_OVER_BATCH: dict[str, Any] = {
    "include_background": False,
    "to_onehot_y": True,
    "softmax": True,
    "batch": True,
}


def reconstruction_loss(name: Reconstruction) -> Loss:
    """Make the loss between logits (B, K, H, W) and class numbers (B, H, W) that settings name; see `LOSSES`.

    Parameters
    ----------
    name : {"l1", "ce", "dice", "ce_dice"}
    """
    return LOSSES[name]()


def make_l1() -> Loss:
    """Make the mean absolute difference between softmax and one-hot."""

    def l1(logits: Tensor, classes: Tensor) -> Tensor:
        return F.l1_loss(logits.softmax(dim=1), one_hot(classes, logits.shape[1]))

    return l1


def make_cross_entropy() -> Loss:
    """Make the mean cross-entropy over the pixels."""
    return F.cross_entropy


def make_dice() -> Loss:
    """Make the soft Dice loss of the foreground classes over the batch."""
    from monai.losses import DiceLoss

    return _of_class_numbers(DiceLoss(**_FOREGROUND_OVER_BATCH))


def make_dice_and_cross_entropy() -> Loss:
    """Make the sum of the Dice loss and the cross-entropy."""
    from monai.losses import DiceCELoss

    return _of_class_numbers(DiceCELoss(**_FOREGROUND_OVER_BATCH))


# The words are those of `volseg.config.Reconstruction`; another loss is a word there, a function, and a row here.
LOSSES: dict[Reconstruction, Callable[[], Loss]] = {
    "l1": make_l1,
    "ce": make_cross_entropy,
    "dice": make_dice,
    "ce_dice": make_dice_and_cross_entropy,
}


def adversarial_loss(patches: Tensor, *, real: bool) -> Tensor:
    """Return the published GAN loss: binary cross-entropy of the discriminator's patch logits against real or fake.

    Parameters
    ----------
    patches : (B, 1, h, w) float
        Logits of the discriminator.
    real : bool
        Whether it should take them for real.
    """
    return F.binary_cross_entropy_with_logits(patches, torch.full_like(patches, float(real)))


def one_hot(classes: Tensor, count: int) -> Tensor:
    """(B, H, W) class numbers -> (B, count, H, W) float.

    Parameters
    ----------
    classes : (B, H, W) int64
    count : int
        Number of classes.
    """
    return F.one_hot(classes, count).movedim(-1, 1).float()


def _of_class_numbers(loss: Loss) -> Loss:
    """Return one of MONAI's losses, which take (B, 1, H, W), for class numbers (B, H, W)."""
    return lambda logits, classes: torch.as_tensor(loss(logits, classes[:, None]))
