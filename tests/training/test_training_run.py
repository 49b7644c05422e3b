"""What is different at the start of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from volseg.config import load_config
from volseg.core.planes import PLANES
from volseg.training.run import Run


def run_of(planes: int, *settings: str) -> Run:
    nothing = cast("Any", None)
    samplers = dict.fromkeys(PLANES[:planes], nothing)
    return Run(Path(), nothing, load_config(overrides=settings), torch.device("cpu"), 0, "", (), samplers, {})


@pytest.mark.parametrize(
    ("progress", "step", "expected"),
    [
        (0.0, 0, 0.6),
        (0.5, 900, 0.6),
        (0.75, 900, 0.3),
        (1.0, 900, 0.0),
        (0.1, 3_000, 0.6),  # three planes: 1,000 steps each
        (0.1, 4_500, 0.3),
        (0.1, 6_000, 0.0),
        (0.9, 60_000, 0.0),
    ],
)
def test_the_balance_shrinks_in_the_second_half_or_after_many_steps(
    progress: float, step: int, expected: float
) -> None:
    assert run_of(3, "loss.balance=0.6").balance(progress, step=step) == pytest.approx(expected)


def test_planes_share_a_network_at_first() -> None:
    run = run_of(3, "training.shared=0.6")
    assert run.shares(0.0, step=0)
    assert run.shares(0.59, step=2_999)
    assert not run.shares(0.6, step=100)
    assert not run.shares(0.1, step=3_000)
    assert not run_of(1, "training.shared=0.6").shares(0.0, step=0)
    assert not run_of(3, "training.shared=0.6", "loss.adversarial_weight=0.02").shares(0.0, step=0)
