"""A set whose scans have broad empty borders, from the plan to the labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import write_dataset

import volseg
from volseg.config import load_config
from volseg.datasets import read_dataset
from volseg.io import read, read_labels, write
from volseg.training.events import Planned, Validated
from volseg.training.loop import iterate_training
from volseg.training.resumption import resumed_plan

TINY = ("network.width=4", "network.levels=2", "training.batch_size=4", "training.epochs=1", "training.validations=1")


@pytest.fixture
def padded_dataset(tmp_path: Path) -> Path:
    folder = write_dataset(tmp_path / "set", cases=5)
    for case in read_dataset(folder).cases:
        image, labels = read(case.images[0]), read_labels(case.label)  # type: ignore[arg-type]
        grid = image.grid.pad(4)
        write(replace(image, array=np.pad(image.array, 4, constant_values=-500), grid=grid), case.images[0])
        write(replace(labels, array=np.pad(labels.array, 4), grid=grid), case.label)  # type: ignore[arg-type]
    return folder


def test_a_training_on_padded_scans_makes_a_model_that_crops(padded_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = load_config(overrides=TINY)
    events = list(iterate_training(padded_dataset, run, config=config, device="cpu"))
    (planned,) = [event for event in events if isinstance(event, Planned)]
    assert planned.config.preparation.crop
    assert planned.config.training.slice_size == (24, 20, 8)
    assert [event.result.cases for event in events if isinstance(event, Validated)][-1] == 1
    model = volseg.load_model(run)
    assert model.config.preparation.crop
    scan = read(padded_dataset / "imagesTr" / "toy_0.nii.gz")
    found = volseg.predict(model, scan, device="cpu", probabilities=True)
    empty = scan.array == -500
    assert empty.mean() > 0.5
    assert not found.labels.array[empty].any()
    assert found.probabilities is not None
    assert (found.probabilities[0][empty] == 1).all()
    plan = load_config(run / "plan.yaml")
    assert resumed_plan(plan, config, read_dataset(padded_dataset)) == plan


def test_what_was_planned_before_models_could_crop_is_resumed_without(padded_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = load_config(overrides=(*TINY, "preparation.crop=false"))
    list(iterate_training(padded_dataset, run, config=config, device="cpu"))
    text = (run / "plan.yaml").read_text(encoding="utf-8")
    assert text.count(", crop: false") + text.count("  crop: false\n") == 1
    older = text.replace(", crop: false", "").replace("  crop: false\n", "")
    (run / "plan.yaml").write_text(older, encoding="utf-8")
    assert load_config(run / "plan.yaml").preparation.crop is None
    longer = load_config(overrides=(*TINY[:-2], "training.epochs=2"))
    list(iterate_training(padded_dataset, run, config=longer, device="cpu", resume=True))
    assert not volseg.load_model(run).config.preparation.crop
