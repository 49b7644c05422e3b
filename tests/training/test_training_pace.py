"""Steps are timed without a trace in the training."""

from __future__ import annotations

import pytest
import torch

from volseg.config import Config, load_config, parse_config
from volseg.training.growth import plan_stages
from volseg.training.pace import measure_pace, random_draws

SETTINGS = {
    "preparation": {"planes": ["axial", "coronal"]},
    "network": {"width": 2, "levels": 2, "dropout": 0.5},
    "training": {"first_size": [8, 8, 8], "slice_size": [32, 32, 16], "batch_size": 2},
}


def planned(**more: dict[str, object]) -> Config:
    return parse_config({**load_config().model_dump(mode="json"), **SETTINGS, **more})


@pytest.mark.parametrize("adversarial", [0.0, 1.0])
def test_a_pace_has_every_stage_and_leaves_the_random_numbers(adversarial: float) -> None:
    config = planned(loss={"adversarial_weight": adversarial}, discriminator={"width": 2})
    torch.manual_seed(5)
    before = torch.get_rng_state()
    pace = measure_pace(
        config, random_draws(config, channels=1, labels=2), channels=1, labels=2, device=torch.device("cpu")
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert len(pace.step_seconds) == len(plan_stages(config, ["axial", "coronal"]))
    assert all(seconds > 0 for seconds in pace.step_seconds)
    assert pace.pixel_seconds > 0


def test_random_draws_have_the_sizes_of_a_stage() -> None:
    config = planned()
    draws = random_draws(config, channels=2, labels=3)
    stage = plan_stages(config, ["axial", "coronal"])[-1]
    images, classes = draws["coronal"](stage)
    assert images.shape == (2, 6, 32, 16)
    assert classes.shape == (2, 32, 16)
    assert classes.max() <= 3
