"""The generator's and the discriminator's losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from volseg.config import Reconstruction
from volseg.network.softmax import log_softmax


class Loss(Protocol):
    """A loss between logits (B, K, H, W) and class numbers (B, H, W)."""

    def __call__(self, logits: Tensor, classes: Tensor, balance: float = 0.0) -> Tensor:
        """Return one number; `balance` is for the cross-entropy in it, see `pixel_weights`."""
        ...


_SMOOTHING = 1e-5  # pixels: the Dice of a class that is neither there nor predicted is 1


def reconstruction_loss(name: Reconstruction) -> Loss:
    """Make the loss between logits (B, K, H, W) and class numbers (B, H, W) that settings name; see `LOSSES`.

    Parameters
    ----------
    name : {"l1", "ce", "dice", "ce_dice"}
    """
    return LOSSES[name]()


def make_l1() -> Loss:
    """Make the mean absolute difference between softmax and one-hot."""

    def l1(logits: Tensor, classes: Tensor, balance: float = 0.0) -> Tensor:
        return F.l1_loss(logits.softmax(dim=1), one_hot(classes, logits.shape[1]))

    return l1


def make_cross_entropy() -> Loss:
    """Make the mean cross-entropy over the pixels, by their weights."""

    def cross_entropy(logits: Tensor, classes: Tensor, balance: float = 0.0) -> Tensor:
        counts = torch.bincount(classes.reshape(-1), minlength=logits.shape[1]).to(logits)
        return F.cross_entropy(logits, classes, weight=pixel_weights(counts, balance))

    return cross_entropy


def pixel_weights(counts: Tensor, balance: float) -> Tensor:
    """Return what a pixel of each class weighs in the cross-entropy; the weights of all pixels have the sum 1.

    Parameters
    ----------
    counts : (K,) float
        Pixels of each class.
    balance : float
        A pixel of a class with n pixels weighs in proportion to n^-balance: at 0 all pixels weigh the same, at 1 all
        classes that are there.

    Returns
    -------
    (K,) float
    """
    weights = counts.clamp(min=1) ** -balance
    return weights / (weights * counts).sum()


def make_dice() -> Loss:
    """Make the soft Dice loss: 1 - the mean Dice of the foreground classes, each over all pixels of the batch.

    Notes
    -----
    Over the batch, as a class that is absent from one slice would otherwise swing its loss between 0 and 1. Value and
    gradient are those of MONAI's ``DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)``.
    """
    return _make_dice(entropy_weight=0.0)


def make_dice_and_cross_entropy() -> Loss:
    """Make the sum of the Dice loss and the cross-entropy; MONAI's ``DiceCELoss`` is the same."""
    return _make_dice(entropy_weight=1.0)


def _make_dice(entropy_weight: float) -> Loss:
    def dice(logits: Tensor, classes: Tensor, balance: float = 0.0) -> Tensor:
        loss = _Dice.apply(logits, classes, entropy_weight, balance)  # type: ignore[no-untyped-call]
        return torch.as_tensor(loss)

    return dice


class _Dice(torch.autograd.Function):
    """Soft Dice loss plus a share of cross-entropy, from one softmax and with its gradient written out.

    With 41 classes the graph of autograd would hold, and pass through, several arrays of the logits' size.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, classes: Tensor, entropy_weight: float, balance: float) -> Tensor:
        """Return the loss; `ctx` keeps what `backward` needs."""
        numbers = classes[:, None]
        probabilities = log_softmax(logits)
        right = probabilities.gather(1, numbers)  # of each pixel's right class
        flat, count = classes.reshape(-1), logits.shape[1]
        reference = torch.bincount(flat, minlength=count)
        entropy_weights = entropy_weight * pixel_weights(reference.to(right), balance)
        entropy = -(entropy_weights[numbers] * right).sum()
        probabilities.exp_()
        right.exp_()
        overlap = torch.bincount(flat, weights=right.reshape(-1), minlength=count).to(right)
        numerator = 2 * overlap + _SMOOTHING
        denominator = probabilities.sum(dim=(0, 2, 3)) + reference + _SMOOTHING
        ctx.save_for_backward(probabilities, numbers, right, numerator, denominator, entropy_weights)
        return (1 - numerator / denominator)[1:].mean() + entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient with respect to the logits.

        The loss L depends on a pixel's probabilities p through their sums over the batch and, for the right class, the
        overlap. With g = dL/dp, the gradient of its logits is p (g - sum of p g over the classes).
        """
        probabilities, numbers, right, numerator, denominator, entropy_weights = ctx.saved_tensors
        count = probabilities.shape[1]
        scale = gradient / (count - 1)
        by_sum = scale * numerator / denominator**2
        by_overlap = -2 * scale / denominator
        by_sum[0] = by_overlap[0] = 0  # the background
        by_entropy = gradient * entropy_weights[numbers]
        of_right = right * by_overlap[numbers]
        common = torch.einsum("bkhw,k->bhw", probabilities, by_sum)[:, None] + of_right
        result = probabilities * (by_sum[:, None, None] + (by_entropy - common))
        return result.scatter_add_(1, numbers, of_right - by_entropy), None, None, None


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


def hard_one_hot(probabilities: Tensor) -> Tensor:
    """(B, K, H, W) -> the same, one-hot at the most probable class; its gradient is that of the probabilities.

    Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013, arXiv:1308.3432: the
    straight-through estimator.

    Parameters
    ----------
    probabilities : (B, K, H, W) float
    """
    hard = one_hot(probabilities.argmax(dim=1), probabilities.shape[1])
    return hard + (probabilities - probabilities.detach())  # the bracket is 0 exactly
