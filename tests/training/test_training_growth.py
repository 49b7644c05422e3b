"""How training slices grow."""

from __future__ import annotations

import pytest

from volseg.config import Config, NetworkConfig, TrainingConfig
from volseg.core.planes import PLANES
from volseg.training.growth import mean_batch, plan_stages, stage_at


def planned(training: TrainingConfig, *, levels: int) -> Config:
    return Config(training=training, network=NetworkConfig(levels=levels))


def test_sizes_grow_by_equal_factors_and_end_on_whole_slices() -> None:
    training = TrainingConfig(first_size=(64, 64, 16), slice_size=(256, 224, 16), batch_size=2)
    stages = plan_stages(planned(training, levels=5), ["axial"])
    assert [stage.size for stage in stages] == [(64, 64, 16), (96, 96, 16), (160, 160, 16), (256, 224, 16)]
    assert [stage.batch_size for stage in stages] == [4, 4, 4, 2]
    assert [stage.end for stage in stages] == pytest.approx([0.7 / 3, 1.4 / 3, 0.7, 1])


@pytest.mark.parametrize("first", [None, (40, 56, 40)])
def test_what_does_not_grow_is_one_stage(first: tuple[int, int, int] | None) -> None:
    training = TrainingConfig(first_size=first, slice_size=(40, 56, 40), batch_size=3)
    (stage,) = plan_stages(planned(training, levels=3), PLANES)
    assert (stage.end, stage.size, stage.batch_size) == (1, (40, 56, 40), 3)
    assert stage.slice_size("sagittal") == (56, 40)


def test_equal_sizes_are_one_stage() -> None:
    training = TrainingConfig(first_size=(64, 64, 64), slice_size=(96, 96, 96), batch_size=8)
    stages = plan_stages(planned(training, levels=5), PLANES)
    assert [(stage.size[0], stage.batch_size) for stage in stages] == [(64, 8), (96, 8)]


def test_a_moment_belongs_to_one_stage() -> None:
    training = TrainingConfig(first_size=(64, 64, 64), slice_size=(256, 256, 256), batch_size=4)
    stages = plan_stages(planned(training, levels=5), PLANES)
    found = [stage_at(stages, progress).size[0] for progress in (0, 0.2, 0.24, 0.5, 0.69, 0.7, 0.999, 1.0)]
    assert found == [64, 64, 96, 160, 160, 256, 256, 256]


def test_sizes_without_a_plan_are_refused() -> None:
    with pytest.raises(ValueError, match="not planned"):
        plan_stages(Config(), PLANES)


def test_the_mean_batch_is_over_the_steps() -> None:
    training = TrainingConfig(first_size=(64, 64, 64), slice_size=(256, 256, 256), batch_size=2)
    stages = plan_stages(planned(training, levels=5), PLANES)
    assert mean_batch(stages) == pytest.approx(0.7 * 4 + 0.3 * 2)
    assert mean_batch(stages[-1:]) == 2
