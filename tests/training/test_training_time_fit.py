"""Plans that the time allows."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from volseg.config import Config, PreparationConfig, load_config
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.planes import PLANES
from volseg.datasets import Case, read_dataset
from volseg.errors import UsageError
from volseg.io import write
from volseg.training import planning, time_fit
from volseg.training.facts import CaseFacts
from volseg.training.pace import Pace
from volseg.training.plan import make_plan
from volseg.training.time_fit import kept_dice, plan_to_fit

CPU = torch.device("cpu")
AT_2_MM = PreparationConfig(planes=("axial",), spacing_mm=(2, 2, 4))


def facts(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> list[CaseFacts]:
    return [CaseFacts(shape, spacing, (np.linspace(0, 1, 101),), (0.0,), ({},))]


THICK = facts((256, 256, 20), (1.0, 1.0, 4.0))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes 10 s for a batch of 256x256 pixels, and labels that survive coarser slices."""

    def measured(config: Config, *_: object, **__: object) -> Pace:
        rate = 10 / 256**2 if (config.network.width or 0) > 16 else 8 / 256**2
        stages = time_fit.plan_stages(config, config.preparation.planes or ())
        pixels = [
            stage.batch_size * time_fit.mean_pixels(stage.size, config.preparation.planes or ()) for stage in stages
        ]
        return Pace(tuple(rate * count for count in pixels), 0.0)

    monkeypatch.setattr(time_fit, "measure_pace", measured)
    monkeypatch.setattr(time_fit, "kept_dice", lambda *_: 1.0)


def fit(folder: Path, found: list[CaseFacts], *settings: str) -> Config:
    return plan_to_fit(load_config(overrides=settings), read_dataset(folder), found, fold=0, device=CPU)


@pytest.mark.usefixtures("slow")
def test_a_short_time_makes_slices_coarser_and_a_long_one_does_not(
    dataset_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        short = fit(dataset_folder, THICK, "training.minutes=60")
    assert short.preparation.spacing_mm == (3.0, 3.0, 4.0)
    assert short.training.slice_size is not None
    assert max(short.training.slice_size[:2]) <= 96
    assert "slices are prepared at 3 x 3 x 4 mm, where the scans have 1 x 1 x 4 mm" in caplog.text
    assert "--set preparation.spacing_mm=[1.0, 1.0, 4.0]" in caplog.text
    settings = load_config(overrides=("training.minutes=6000",))
    assert fit(dataset_folder, THICK, "training.minutes=6000") == make_plan(
        settings, read_dataset(dataset_folder), THICK
    )


@pytest.mark.usefixtures("slow")
def test_a_short_time_makes_networks_narrower_first(dataset_folder: Path) -> None:
    small = facts((80, 80, 20), (1.0, 1.0, 4.0))
    long = fit(dataset_folder, small, "training.minutes=6000").network
    assert (long.width, long.max_width) == (24, 320)
    short = fit(dataset_folder, small, "training.minutes=750")
    assert (short.network.width, short.network.max_width, short.training.batch_size) == (16, 64, 10)
    assert fit(dataset_folder, small, "training.minutes=750", "network.max_width=99").network.max_width == 99
    for setting, width in (("network.width=24", 24), ("network.width=20", 20), ("training.epochs=1", 24)):
        assert fit(dataset_folder, small, "training.minutes=1", setting).network.width == width


@pytest.mark.usefixtures("slow")
def test_the_default_hour_counts_and_epochs_do_not(dataset_folder: Path) -> None:
    assert fit(dataset_folder, THICK).preparation.spacing_mm == (3.0, 3.0, 4.0)
    assert fit(dataset_folder, THICK, "training.epochs=1").preparation.spacing_mm == (1.0, 1.0, 4.0)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "setting",
    ["preparation.spacing_mm=[1, 1, 4]", "training.slice_size=[128, 128, 64]", "training.first_size=[64, 64, 64]"],
)
def test_what_is_set_stays(dataset_folder: Path, setting: str) -> None:
    assert fit(dataset_folder, THICK, setting, "training.minutes=1").preparation.spacing_mm == (1.0, 1.0, 4.0)


@pytest.mark.usefixtures("slow")
def test_small_slices_are_not_coarser(dataset_folder: Path) -> None:
    assert fit(dataset_folder, facts((70, 90, 20), (1.0, 1.0, 4.0))).preparation.spacing_mm == (1.0, 1.0, 4.0)
    half = fit(dataset_folder, facts((130, 130, 20), (1.0, 1.0, 4.0)), "training.minutes=1")
    assert half.preparation.spacing_mm == (2.0, 2.0, 4.0)


@pytest.mark.usefixtures("slow")
def test_labels_that_would_suffer_keep_the_spacing(dataset_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_fit, "kept_dice", lambda _, preparation: 1.02 - 0.025 * preparation.spacing_mm[0])
    found = []
    for minutes in (300, 100, 60, 1):
        spacing = fit(dataset_folder, THICK, f"training.minutes={minutes}").preparation.spacing_mm
        found.append(None if spacing is None else spacing[0])
    assert found == [1.0, 1.5, 2.0, 3.0]  # the fewer steps, the more may be lost


@pytest.mark.usefixtures("slow")
def test_batches_of_small_slices_shrink_before_slices_do(dataset_folder: Path) -> None:
    small = facts((80, 80, 20), (1.0, 1.0, 4.0))
    assert fit(dataset_folder, small, "training.minutes=6000").training.batch_size == 10
    assert fit(dataset_folder, small, "training.minutes=500").training.batch_size == 5
    assert fit(dataset_folder, small, "training.minutes=1").training.batch_size == 4
    assert fit(dataset_folder, small, "training.minutes=1", "training.batch_size=9").training.batch_size == 9
    large = fit(dataset_folder, THICK, "training.minutes=60")
    assert large.training.batch_size == 4


@pytest.mark.usefixtures("slow")
def test_one_plane_gets_the_time_of_three(dataset_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    cube = facts((110, 126, 100), (1.0, 1.0, 1.0))
    assert fit(dataset_folder, cube, "training.minutes=6000").preparation.planes == PLANES
    with caplog.at_level(logging.WARNING):
        alone = fit(dataset_folder, cube, "training.minutes=60")
    assert alone.preparation.planes == ("coronal",)
    assert alone.training.batch_size == 4
    assert "scans are cut along the coronal plane alone: the time allows only about" in caplog.text
    assert "--set preparation.planes=[axial,coronal,sagittal] keep all" in caplog.text
    for setting in ("preparation.planes=[axial,coronal,sagittal]", "loss.adversarial_weight=0.1"):
        assert fit(dataset_folder, cube, "training.minutes=60", setting).preparation.planes == PLANES


@pytest.mark.usefixtures("slow")
def test_a_plan_that_is_there_is_not_fitted_again(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "find_facts", lambda *_: THICK[0])
    settings = load_config(overrides=("training.minutes=60",))
    list(planning.iterate_planning(read_dataset(dataset_folder), tmp_path, config=settings, device="cpu"))
    before = (tmp_path / "plan.yaml").read_bytes()
    assert b"width: 16" in before
    monkeypatch.setattr(time_fit, "_ENOUGH", 0)  # the machine has become quick
    list(planning.iterate_planning(read_dataset(dataset_folder), tmp_path, config=settings, device="cpu"))
    assert (tmp_path / "plan.yaml").read_bytes() == before
    # Older versions did not make networks narrower, or not their deep levels.
    for widths in (b"width: 24, max_width: 320", b"width: 16, max_width: 320"):
        older = before.replace(b"width: 16, max_width: 64", widths)
        assert older != before
        (tmp_path / "plan.yaml").write_bytes(older)
        list(planning.iterate_planning(read_dataset(dataset_folder), tmp_path, config=settings, device="cpu"))
        assert (tmp_path / "plan.yaml").read_bytes() == older
    longer = load_config(overrides=("training.minutes=90",))
    with pytest.raises(UsageError, match="is another plan"):
        list(planning.iterate_planning(read_dataset(dataset_folder), tmp_path, config=longer, device="cpu"))


def case_of(folder: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> Case:
    grid = Grid.from_spacing(array.shape, spacing)
    file, *_ = write(LabelMap.from_array(array, grid), folder / "labels.nii.gz")
    return Case("a", (file,), file)


def test_large_discs_survive_and_thin_lines_do_not(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(96), np.arange(96), indexing="ij")
    disc = ((x - 48) ** 2 + (y - 48) ** 2 < 30**2).astype(np.uint8)
    discs = np.repeat(disc[..., None], 5, axis=2)
    kept = kept_dice([case_of(tmp_path, discs, (1, 1, 4))], AT_2_MM)
    assert kept > 0.98
    lines = np.zeros((96, 96, 5), np.uint8)
    lines[10:80, 40] = 1
    assert kept_dice([case_of(tmp_path, lines, (1, 1, 4))], AT_2_MM) < 0.7
    flat = np.ones((1, 96, 5), np.uint8)
    assert kept_dice([case_of(tmp_path, flat, (1, 1, 4))], AT_2_MM) == 1.0
    assert kept_dice([case_of(tmp_path, discs, (0.25, 0.25, 4))], AT_2_MM) < kept  # 24 mm: 12 pixels of 2 mm
    lines[10:80, 60:90] = 2
    both = kept_dice([case_of(tmp_path, lines, (1, 1, 4))], AT_2_MM)
    assert 0.4 < both < 0.9  # the mean of both labels
    assert np.isnan(kept_dice([case_of(tmp_path, 0 * lines, (1, 1, 4))], AT_2_MM))
