"""Whole training runs on a toy dataset."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_dataset import write_dataset

import volseg
from volseg.config import AugmentationConfig, CleanupConfig, Config, load_config
from volseg.datasets import read_dataset
from volseg.errors import ConfigError, DatasetError, InputError, OutputError, UsageError
from volseg.training.augment import augment
from volseg.training.checkpoint import opened_checkpoint
from volseg.training.events import StepsMade, Validated
from volseg.training.journal import append_event, read_events
from volseg.training.loop import iterate_training, train
from volseg.training.pace import Pace
from volseg.training.planning import iterate_planning
from volseg.training.step import Learner
from volseg.training.validation import Validation, validate
from volseg.watching.curve_picture import draw_curve
from volseg.watching.curves import Curves

SMALL = (
    "network.width=8",
    "training.batch_size=8",
    "training.epochs=8",
    "training.validations=2",
    "optimiser.learning_rate=5.0e-3",
)


def small(*overrides: str, preset: str | None = None) -> Config:
    return load_config(overrides=(*SMALL, *overrides), preset=preset)


def test_training_learns_and_leaves_its_files(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volseg.training.loop.draw_curve", draw_curve)  # not a picture of another training
    run = tmp_path / "run"
    model_file = train(dataset_folder, run, config=small("training.epochs=30"))
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoint.pt",
        "curve.png",
        "log.jsonl",
        "model.safetensors",
        "plan.yaml",
        "progress.html",
        "samples",
        "validation.json",
    ]
    final = json.loads((run / "validation.json").read_text(encoding="utf-8"))
    assert final["cases"] == 2
    assert final["mean"] > 0.8
    assert set(final["per_label"]) == {"ball", "bar"}
    assert load_config(run / "plan.yaml").preparation.planes == ("axial",)
    events = read_events(run / "log.jsonl")
    kinds = [event["event"] for event in events]
    assert kinds[0] == "plan"
    assert kinds[-2:] == ["final", "end"]
    assert (kinds.count("validation"), kinds.count("final")) == (1, 1)  # half-way, and of the last weights
    assert events[-2]["calibration"] == final["calibration"]
    model = volseg.load_model(model_file)
    assert model.temperature == final["calibration"]["temperature"]
    assert set(final["calibration"]) == {"temperature", "before", "after"}
    assert events[-2]["cleanup"] == final["cleanup"]
    assert final["cleanup"]["decided"] == {name: asdict(found) for name, found in model.cleanup.items()}
    assert {name: found.cases for name, found in model.cleanup.items()} == {"ball": 2, "bar": 2}  # too few to decide
    assert final["cleanup"]["mean"] == final["mean"]
    assert [label.value for label in model.labels] == [2, 7]
    assert list(model.networks) == ["axial.0"]
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    for file in ("log.jsonl", "plan.yaml", "validation.json"):
        assert str(tmp_path) not in (tmp_path / "run" / file).read_text(encoding="utf-8")


def test_a_plan_with_clean_up_leaves_nothing_to_decide(dataset_folder: Path, tmp_path: Path) -> None:
    config = small("training.epochs=1", "cleanup.ball.largest_component=false")
    model = volseg.load_model(train(dataset_folder, tmp_path / "run", config=config))
    assert set(model.cleanup) == {"bar"}
    assert load_config(tmp_path / "run" / "plan.yaml").cleanup == {"ball": CleanupConfig()}
    config = small("training.epochs=1")
    assert volseg.load_model(train(dataset_folder, tmp_path / "all", config=config, fold="all")).cleanup == {}


def test_same_seed_same_weights(dataset_folder: Path, tmp_path: Path) -> None:
    config = small("training.epochs=1")
    first, second = (train(dataset_folder, tmp_path / name, config=config, device="cpu") for name in "ab")
    weights = [volseg.load_model(path).networks["axial.0"].state_dict() for path in (first, second)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_resumed_run_equals_an_undisturbed_one(dataset_folder: Path, tmp_path: Path) -> None:
    config = small("training.epochs=2")
    whole = volseg.load_model(train(dataset_folder, tmp_path / "whole", config=config))
    resumed = volseg.load_model(train_in_two_sittings(dataset_folder, tmp_path / "cut", config))
    assert list(resumed.networks) == ["axial.0"]
    assert resumed.sha256 == whole.sha256
    assert resumed.temperature == whole.temperature


def train_in_two_sittings(dataset: Path, run: Path, config: Config) -> Path:
    for event in iterate_training(dataset, run, config=config):
        if isinstance(event, Validated):
            break  # as if the machine had gone down right after the first checkpoint
    else:
        pytest.fail("there was no checkpoint on the way")
    return train(dataset, run, resume=True)


def test_slices_grow_while_it_trains_and_a_resumed_run_goes_on_with_their_size(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Size] = []

    def watched(images: Tensor, *arguments: Any) -> Any:
        seen.append(images.shape)
        return augment(images, *arguments)

    monkeypatch.setattr("volseg.training.loop.augment", watched)
    sizes = ("training.first_size=[8, 8, 8]", "training.slice_size=[24, 20, 8]", "network.levels=2")
    config = small("training.epochs=12", *sizes)
    whole = volseg.load_model(train(dataset_folder, tmp_path / "whole", config=config))
    order = list(dict.fromkeys(shape[-2:] for shape in seen))
    assert (order[0], order[-1], len(order)) == ((8, 8), (24, 20), 4)
    assert [shape[-2:] for shape in seen] == sorted((shape[-2:] for shape in seen), key=order.index)
    undisturbed = seen.copy()
    seen.clear()
    resumed = volseg.load_model(train_in_two_sittings(dataset_folder, tmp_path / "cut", config))
    assert seen == undisturbed
    assert resumed.sha256 == whole.sha256


@pytest.mark.parametrize(
    "changes", [("loss.adversarial_weight=0.02", "discriminator.width=4"), ("training.shared=0.5",)]
)
def test_near_isotropic_scans_train_a_network_for_each_plane(changes: tuple[str, ...], tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "Task98_Cubes", spacing=(1.0, 1.0, 1.2))
    config = small("training.epochs=3", *changes)
    whole = volseg.load_model(train(folder, tmp_path / "whole", config=config))
    assert list(whole.networks) == ["axial.0", "coronal.0", "sagittal.0"]
    weights = [torch.cat([p.flatten() for p in network.parameters()]) for network in whole.networks.values()]
    assert not any(torch.equal(weights[a], weights[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    losses = [e["losses"] for e in read_events(tmp_path / "whole" / "log.jsonl") if e["event"] == "steps"]
    assert losses[-1]["reconstruction"] < losses[0]["reconstruction"]
    resumed = volseg.load_model(train_in_two_sittings(folder, tmp_path / "cut", config))
    assert resumed.config == whole.config
    assert resumed.sha256 == whole.sha256  # of the weights of all planes
    assert resumed.temperature == whole.temperature


@pytest.mark.parametrize(
    ("changes", "count"),
    [((), 1), (("loss.adversarial_weight=0.02", "discriminator.width=4"), 3), (("training.shared=0",), 3)],
)
def test_one_network_learns_from_all_planes_where_it_may(changes: tuple[str, ...], count: int, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "Task98_Cubes", spacing=(1.0, 1.0, 1.2))
    config = small("training.epochs=1", "training.shared=1", *changes)
    model = volseg.load_model(train(folder, tmp_path / "run", config=config))
    weights = set()
    for network in model.networks.values():
        weights.add(tuple(torch.cat([p.flatten() for p in network.parameters()]).tolist()))
    assert len(model.networks) == 3
    assert len(weights) == count


def test_planes_take_turns_and_only_those_with_a_left_and_a_right_are_mirrored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dataset(tmp_path / "Task98_Cubes", spacing=(1.0, 1.0, 1.2))
    seen: list[tuple[torch.Size, bool]] = []

    def watched(images: Tensor, classes: Tensor, config: AugmentationConfig, noise: torch.Generator) -> Any:
        seen.append((images.shape[-2:], config.mirror))
        return augment(images, classes, config, noise)

    monkeypatch.setattr("volseg.training.loop.augment", watched)
    config = small("training.epochs=1", "augmentation.mirror=true", "training.slice_size=[24, 20, 16]")
    train(folder, tmp_path / "run", config=config)
    turn = [((24, 20), True), ((24, 16), True), ((20, 16), False)]
    assert len(seen) >= 3
    assert seen == [turn[n % 3] for n in range(len(seen))]


def test_the_last_weights_are_kept_however_the_held_out_cases_fare(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = iter((0.9, 0.8, 0.7, 0.1))

    def worse_and_worse(*arguments: Any, **settings: Any) -> Validation:
        return replace(validate(*arguments, **settings), mean=next(means))

    monkeypatch.setattr("volseg.training.loop.validate", worse_and_worse)
    run = tmp_path / "run"
    model = volseg.load_model(train(dataset_folder, run, config=small("training.epochs=2", "training.validations=4")))
    events = read_events(run / "log.jsonl")
    assert [e["mean"] for e in events if e["event"] in ("validation", "final")] == [0.9, 0.8, 0.7, 0.1]
    assert json.loads((run / "validation.json").read_text(encoding="utf-8"))["mean"] == 0.1
    with opened_checkpoint(run / "checkpoint.pt", torch.device("cpu")) as state:
        last, step = state["learners"]["axial"]["generator"], state["standing"]["step"]
    assert step == next(e["step"] for e in events if e["event"] == "final")
    assert step == max(e["step"] for e in events if e["event"] == "steps")
    kept = model.networks["axial.0"].state_dict()
    assert all(torch.equal(kept[key], last[key]) for key in kept)


def test_a_temperature_that_is_set_is_not_fitted(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = small("training.epochs=1", "training.validations=1", "training.temperature=2.5")
    assert volseg.load_model(train(dataset_folder, run, config=config)).temperature == 2.5
    fitted = json.loads((run / "validation.json").read_text(encoding="utf-8"))["calibration"]["temperature"]
    assert fitted != 2.5


def test_a_single_held_out_case_is_enough(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "Task97_Few", cases=5)
    train(folder, tmp_path / "run", config=small("training.epochs=1"))
    final = json.loads((tmp_path / "run" / "validation.json").read_text(encoding="utf-8"))
    assert final["cases"] == 1
    assert volseg.load_model(tmp_path / "run").temperature == final["calibration"]["temperature"]


@pytest.mark.parametrize("decoder", ["transpose", "upsample"])
@pytest.mark.parametrize("loss", ["l1", "ce", "dice", "ce_dice"])
def test_every_loss_and_decoder_trains_with_and_without_the_adversarial_term(
    dataset_folder: Path, tmp_path: Path, decoder: str, loss: str
) -> None:
    for weight in (0.0, 0.05):
        config = small(
            f"network.decoder={decoder}",
            f"loss.reconstruction={loss}",
            f"loss.adversarial_weight={weight}",
            "discriminator.width=4",
            "training.epochs=2",
            "training.validations=1",
        )
        run = tmp_path / f"run_{weight}"
        train(dataset_folder, run, config=config)
        losses = [e["losses"] for e in read_events(run / "log.jsonl") if e["event"] == "steps"]
        assert losses[-1]["reconstruction"] < losses[0]["reconstruction"]
        assert ("adversarial" in losses[0]) == (weight > 0)


@pytest.mark.parametrize(("preset", "weight"), [("pix2pix", 0.02), ("pix2pix-paper", 1.0)])
def test_pix2pix_presets_train(dataset_folder: Path, tmp_path: Path, preset: str, weight: float) -> None:
    config = load_config(
        preset=preset,
        overrides=("network.width=4", "discriminator.width=4", "training.epochs=1", "training.validations=1"),
    )
    model = volseg.load_model(train(dataset_folder, tmp_path / "run", config=config))
    assert model.config.loss.adversarial_weight == weight
    assert model.config.preparation.spacing_mm == (0.5, 0.5, 1.5)  # half of the scans'
    assert model.config.network.levels == 4  # slices of 48 x 40 pixels


def test_all_cases_and_no_validation(dataset_folder: Path, tmp_path: Path) -> None:
    train(dataset_folder, tmp_path / "run", config=small("training.epochs=1"), fold="all")
    assert not (tmp_path / "run" / "validation.json").exists()
    model = volseg.load_model(tmp_path / "run")
    assert list(model.networks) == ["axial.all"]
    assert model.temperature == 1.0  # there is nothing to fit it on
    assert {e["event"] for e in read_events(tmp_path / "run" / "log.jsonl")} == {"plan", "steps", "end"}


@pytest.mark.parametrize(("steps", "expected"), [(20, 20), (5, 12)], ids=["steps", "3 epochs are more"])
def test_without_a_length_steps_are_what_a_training_is_long(
    dataset_folder: Path, tmp_path: Path, steps: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch here is 4 cases of 8 labelled slices in batches of 8."""
    monkeypatch.setattr("volseg.training.schedule.STEPS", steps)
    train(dataset_folder, tmp_path / "run", config=small("training.epochs=null"))
    assert load_config(tmp_path / "run" / "plan.yaml").training.epochs is None
    first, *_, final, _ = read_events(tmp_path / "run" / "log.jsonl")
    assert (first["cases"], first["held_out"]) == (4, 2)
    assert final["step"] == expected


def test_steps_are_counted_for_each_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_dataset(tmp_path / "Task98_Cubes", spacing=(1.0, 1.0, 1.2))
    monkeypatch.setattr("volseg.training.schedule.STEPS", 40)
    config = small("training.epochs=null", "preparation.planes=[axial, coronal, sagittal]")
    list(iterate_training(folder, tmp_path / "run", config=config, fold="all"))
    assert read_events(tmp_path / "run" / "log.jsonl")[-2]["step"] == 3 * 40


def test_a_plane_along_which_no_scan_would_be_predicted_has_no_network(tmp_path: Path) -> None:
    """And a scan that could be cut along it is segmented along the other planes."""
    folder = write_dataset(tmp_path / "Task98_Thick")
    set_by_hand = ("preparation.planes=[axial, coronal, sagittal]", "preparation.spacing_mm=[1, 1, 1]")
    model = volseg.load_model(train(folder, tmp_path / "run", config=small("training.epochs=1", *set_by_hand)))
    assert list(model.networks) == ["axial.0"]
    write_dataset(tmp_path / "cubes", cases=1, spacing=(1.0, 1.0, 1.0))
    scan = volseg.read(tmp_path / "cubes" / "imagesTr" / "toy_0.nii.gz")
    assert volseg.predict(model, scan).labels.grid is scan.grid


def test_an_interrupt_of_the_last_validation_costs_no_step(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("training.epochs=2", "training.validations=1")
    whole = volseg.load_model(train(dataset_folder, tmp_path / "whole", config=config))

    def interrupted(*_: Any, **__: Any) -> Validation:
        raise KeyboardInterrupt("here")

    with monkeypatch.context() as patched:
        patched.setattr("volseg.training.loop.validate", interrupted)
        with pytest.raises(KeyboardInterrupt, match="here"):
            train(dataset_folder, tmp_path / "cut", config=config)
    with opened_checkpoint(tmp_path / "cut" / "checkpoint.pt", torch.device("cpu")) as state:
        assert state["standing"]["step"] == 8
    learnt: list[Any] = []
    # Throwaway networks are timed before, which is no step of the training.
    monkeypatch.setattr("volseg.training.run.measure_pace", lambda *_, **__: Pace((1.0,), 1.0))
    monkeypatch.setattr("volseg.training.step.Learner.step", lambda *_: learnt.append(_))
    assert volseg.load_model(train(dataset_folder, tmp_path / "cut", resume=True)).sha256 == whole.sha256
    assert learnt == []


def test_a_validation_on_the_way_may_take_a_minute_where_no_time_is_set(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[float | None] = []

    def watched(*arguments: Any, allowance_seconds: float | None, **settings: Any) -> Validation:
        allowed.append(allowance_seconds)
        return validate(*arguments, allowance_seconds=allowance_seconds, **settings)

    monkeypatch.setattr("volseg.training.loop.validate", watched)
    train(dataset_folder, tmp_path / "run", config=small("training.epochs=1", "training.validations=2"))
    assert allowed == [60, float("inf")]  # the last one is whole


def test_a_loss_that_is_not_finite_is_left_out_of_the_log(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, numbers = Learner.step, count()

    def step(self: Learner, *arguments: Any) -> dict[str, float]:
        losses = real(self, *arguments)
        return dict.fromkeys(losses, float("nan")) if next(numbers) % 2 else losses

    monkeypatch.setattr("volseg.training.step.Learner.step", step)
    train(dataset_folder, tmp_path / "run", config=small("training.epochs=1"))
    events = read_events(tmp_path / "run" / "log.jsonl")
    assert events[-1]["event"] == "end"
    assert all(np.isfinite(e["losses"]["reconstruction"]) for e in events if e["event"] == "steps")


def test_a_disk_that_is_too_small_is_found_after_the_first_case(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("volseg.training.data.shutil.disk_usage", lambda _path: usage._replace(free=0))
    with pytest.raises(OutputError, match="choose an output folder on a larger disk"):
        train(dataset_folder, tmp_path / "run", config=small())
    assert len(list((tmp_path / "run" / "cache").rglob("*.done"))) == 1


def test_wall_clock_budget_ends_the_training(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on a millisecond whenever it is looked at, so that a busy machine changes nothing."""
    ticks = count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) / 1000)
    monkeypatch.setattr("volseg.training.state.time", clock)
    monkeypatch.setattr("volseg.training.watch.time", clock)

    def short(*arguments: Any, **settings: Any) -> Validation:
        return replace(validate(*arguments, **settings), seconds=0.01)

    monkeypatch.setattr("volseg.training.loop.validate", short)
    train(
        dataset_folder,
        tmp_path / "run",
        config=small("training.minutes=0.01", "training.epochs=100000", "training.validations=200"),
    )
    events = read_events(tmp_path / "run" / "log.jsonl")
    steps = [e for e in events if e["event"] == "steps"]
    assert steps[-1]["progress"] == 1.0
    assert 50 < steps[-1]["step"] < 600
    assert 0.5 < events[-1]["seconds"] < 0.7
    # Validations keep to their share, however many are asked for.
    on_the_way = [e["seconds"] for e in events if e["event"] == "validation"]
    assert 3 < len(on_the_way) < 10


def test_resume_after_an_interrupt_without_validation(dataset_folder: Path, tmp_path: Path) -> None:
    config = small("training.epochs=4", "training.validations=4")
    run = tmp_path / "run"
    for event in iterate_training(dataset_folder, run, config=config, fold="all"):
        if isinstance(event, StepsMade) and event.progress > 0.6:
            break
    train(dataset_folder, run, fold="all", resume=True)
    steps = [e["step"] for e in read_events(run / "log.jsonl") if e["event"] == "steps"]
    assert steps == sorted(set(steps))  # steps repeated after the crash are in the log once
    assert (run / "model.safetensors").is_file()


def test_resume_with_another_preparation_is_refused(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=small("training.epochs=1"))
    plan = run / "plan.yaml"
    plan.write_text(plan.read_text(encoding="utf-8").replace("neighbours: 1", "neighbours: 0"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"the dataset or plan.yaml has changed since"):
        train(dataset_folder, run, resume=True)


def test_clean_up_of_an_unknown_label_is_refused_before_training(dataset_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cleanup names bal; the labels are ball, bar, and \* is all"):
        train(dataset_folder, tmp_path / "run", config=small("cleanup.bal.largest_component=true"))


def test_a_label_that_no_case_has_is_null_in_the_log(dataset_folder: Path, tmp_path: Path) -> None:
    content = json.loads((dataset_folder / "dataset.json").read_text(encoding="utf-8"))
    content["labels"]["9"] = "ghost"
    (dataset_folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    train(dataset_folder, tmp_path / "run", config=small("training.epochs=12"))
    final = json.loads((tmp_path / "run" / "validation.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert final["per_label"]["ghost"] is None


def test_an_edited_plan_is_used_when_named_and_never_overwritten(dataset_folder: Path, tmp_path: Path) -> None:
    run, dataset = tmp_path / "run", read_dataset(dataset_folder)
    config = small("training.epochs=1")
    list(iterate_planning(dataset, run, config=config))
    plan = run / "plan.yaml"
    text = plan.read_text(encoding="utf-8").replace("planes: [axial]", "planes: [coronal]")
    plan.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"plan.yaml: is another plan; use it with --config"):
        train(dataset, run, config=config)
    train(dataset, run, config=load_config(plan))
    assert list(volseg.load_model(run).networks) == ["coronal.0"]


def test_a_used_folder_is_not_overwritten(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=small("training.epochs=1"))
    with pytest.raises(UsageError, match="holds a training run already; add --resume"):
        train(dataset_folder, run, config=small())


def test_resume_says_what_is_wrong(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match=r"checkpoint.pt: no such checkpoint to resume from"):
        train(dataset_folder, run, resume=True)
    train(dataset_folder, run, config=small("training.epochs=1"))
    with pytest.raises(UsageError, match="was trained on fold 0; resume it with --fold 0"):
        train(dataset_folder, run, fold=1, resume=True)
    (run / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes()[:500])
    with pytest.raises(InputError, match=r"checkpoint.pt: is not a usable checkpoint"):
        train(dataset_folder, run, resume=True)


def test_an_unlabelled_dataset_is_refused(dataset_folder: Path, tmp_path: Path) -> None:
    for path in (dataset_folder / "labelsTr").glob("*.nii.gz"):
        labels = volseg.read_labels(path)
        volseg.write(volseg.LabelMap(labels.array * 0, labels.grid, labels.labels), path)
    with pytest.raises(DatasetError, match="no training case has a single labelled voxel"):
        train(dataset_folder, tmp_path / "run", config=small())


def test_a_cut_log_is_read_up_to_the_cut(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    append_event(log, {"event": "steps", "step": 1, "losses": {"reconstruction": 1.0}})
    with log.open("a", encoding="utf-8") as stream:
        stream.write('{"event": "st')
    assert len(read_events(log)) == 1
    draw_curve(Curves.of(read_events(log)), tmp_path / "curve.png")
    log.write_text("{]\n{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"log.jsonl:1: is not a line of JSON"):
        read_events(log)
