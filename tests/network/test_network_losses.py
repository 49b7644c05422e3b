from __future__ import annotations

import subprocess
import sys
from math import log
from typing import get_args

import pytest
import torch
from torch import Tensor

from volseg.config import Reconstruction
from volseg.network.losses import LOSSES, adversarial_loss, hard_one_hot, one_hot, reconstruction_loss

# Two slices of 1 x 2 pixels, three classes: the probabilities of each pixel, and the right classes.
PROBABILITIES = torch.tensor(
    [
        [[[0.7, 0.2]], [[0.2, 0.5]], [[0.1, 0.3]]],
        [[[0.1, 0.6]], [[0.1, 0.3]], [[0.8, 0.1]]],
    ]
)
CLASSES = torch.tensor([[[0, 1]], [[2, 1]]])
# Mean over pixels and classes of |p - one-hot|: a pixel with probability p for the right class contributes 2 (1 - p).
L1 = 2 * (0.3 + 0.5 + 0.2 + 0.7) / 12
CE = -(log(0.7) + log(0.5) + log(0.8) + log(0.3)) / 4
# 2 x overlap / (sum + sum) of classes 1 and 2 over the whole batch, background left out.
DICE = 1 - (2 * (0.5 + 0.3) / (0.2 + 0.5 + 0.1 + 0.3 + 2) + 2 * 0.8 / (0.1 + 0.3 + 0.8 + 0.1 + 1)) / 2


def certain(classes: Tensor, count: int) -> Tensor:
    return 50 * (2 * one_hot(classes, count) - 1)


def test_the_settings_know_the_names_of_the_losses() -> None:
    assert get_args(Reconstruction) == tuple(LOSSES)


@pytest.mark.parametrize(("name", "expected"), [("l1", L1), ("ce", CE), ("dice", DICE), ("ce_dice", CE + DICE)])
def test_losses_are_those_computed_by_hand(name: str, expected: float) -> None:
    assert reconstruction_loss(name)(PROBABILITIES.log(), CLASSES).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("count", [2, 3, 15, 16, 41])
@pytest.mark.parametrize(("name", "monai"), [("dice", "DiceLoss"), ("ce_dice", "DiceCELoss")])
def test_value_and_gradient_are_those_of_monai(name: str, monai: str, count: int) -> None:
    losses = pytest.importorskip("monai.losses")
    reference = getattr(losses, monai)(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    generator = torch.Generator().manual_seed(count)
    classes = torch.randint(0, count, (3, 9, 8), generator=generator)
    classes[classes == 1] = 0  # a class that is absent
    random = 3 * torch.randn(3, count, 9, 8, generator=generator, dtype=torch.float64)
    for logits in (random, random.to(memory_format=torch.channels_last), 100 * random):
        found, expected = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        ours, theirs = reconstruction_loss(name)(found, classes), reference(expected, classes[:, None])
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
        (2 * ours).backward()
        (2 * theirs).backward()
        assert found.grad is not None
        assert expected.grad is not None
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-8, atol=1e-14)


# Classes 0, 1 and 2 have 1, 2 and 1 of the 4 pixels.
BALANCED = {
    0.0: (log(0.7) + log(0.5) + log(0.8) + log(0.3)) / 4,
    0.5: (log(0.7) + log(0.8) + (log(0.5) + log(0.3)) / 2**0.5) / (2 + 2**0.5),
    1.0: (log(0.7) + log(0.8) + (log(0.5) + log(0.3)) / 2) / 3,
}


@pytest.mark.parametrize("balance", BALANCED)
@pytest.mark.parametrize(("name", "rest"), [("ce", 0.0), ("ce_dice", DICE)])
def test_the_balance_weighs_the_pixels_of_rare_classes(name: str, rest: float, balance: float) -> None:
    loss = reconstruction_loss(name)(PROBABILITIES.log(), CLASSES, balance)
    assert loss.item() == pytest.approx(rest - BALANCED[balance], abs=1e-4)


def test_the_gradient_of_a_balanced_loss_is_that_of_its_value() -> None:
    generator = torch.Generator().manual_seed(1)
    classes = torch.randint(0, 3, (2, 3, 4), generator=generator)
    classes[classes == 1] = 0  # a class that is absent
    logits = torch.randn(2, 3, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    loss = reconstruction_loss("ce_dice")
    assert torch.autograd.gradcheck(lambda given: loss(given, classes, 0.5), logits)


def test_no_loss_imports_monai_which_takes_seconds() -> None:
    code = (
        "import sys, torch\n"
        "from volseg.network.losses import LOSSES\n"
        "for make in LOSSES.values():\n"
        "    make()(torch.zeros(1, 2, 4, 4, requires_grad=True), torch.zeros(1, 4, 4, dtype=torch.long)).backward()\n"
        "sys.exit('monai' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_nothing_even_where_classes_are_absent(name: str) -> None:
    for classes in (torch.randint(0, 4, (2, 9, 8)), torch.zeros(2, 9, 8, dtype=torch.long)):
        assert reconstruction_loss(name)(certain(classes, 4), classes).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_prediction_costs_more_than_an_undecided_one(name: str) -> None:
    classes = torch.randint(0, 3, (2, 9, 8), generator=torch.Generator().manual_seed(0))
    loss = reconstruction_loss(name)
    wrong, undecided = loss(certain((classes + 1) % 3, 3), classes), loss(torch.zeros(2, 3, 9, 8), classes)
    assert wrong > undecided > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_leads_to_the_reference(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (2, 6, 6), generator=generator)
    logits = torch.randn(2, 3, 6, 6, generator=generator, requires_grad=True)
    optimiser, loss = torch.optim.Adam([logits], lr=0.3), reconstruction_loss(name)
    for _ in range(60):
        optimiser.zero_grad()
        loss(logits, classes).backward()
        optimiser.step()
    assert torch.equal(logits.argmax(dim=1), classes)


def test_one_hot_marks_the_class() -> None:
    found = one_hot(CLASSES, 3)
    assert found.shape == (2, 3, 1, 2)
    assert found.dtype == torch.float32
    assert torch.equal(found.argmax(dim=1), CLASSES)
    assert torch.equal(found.sum(dim=1), torch.ones(2, 1, 2))


def test_the_adversarial_loss_is_binary_cross_entropy() -> None:
    patches = torch.tensor([[[[0.0, log(3)]]]])  # probabilities 0.5 and 0.75 of being real
    assert adversarial_loss(patches, real=True).item() == pytest.approx(-(log(0.5) + log(0.75)) / 2)
    assert adversarial_loss(patches, real=False).item() == pytest.approx(-(log(0.5) + log(0.25)) / 2)


def test_hard_one_hot_is_the_most_probable_class_with_the_gradient_of_the_probabilities() -> None:
    probabilities = PROBABILITIES.clone().requires_grad_(True)
    hard = hard_one_hot(probabilities)
    assert torch.equal(hard, one_hot(PROBABILITIES.argmax(dim=1), 3))  # exactly: a discriminator sees rounding errors
    pull = torch.arange(12.0).reshape(2, 3, 1, 2)
    hard.backward(pull)
    assert torch.equal(probabilities.grad, pull)
