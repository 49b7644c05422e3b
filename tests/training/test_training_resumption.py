"""With which settings a run is gone on with: the same command line always is, another only where it cannot matter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_dataset import write_case
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.config import load_config
from volseg.datasets import Dataset, forget_patients, read_dataset, split
from volseg.errors import UsageError
from volseg.training.events import Planned, StepsMade
from volseg.training.journal import read_events
from volseg.training.loop import iterate_training, train
from volseg.training.planning import iterate_planning
from volseg.training.resumption import resumed_plan

TINY = ("network.width=4", "training.batch_size=4", "training.epochs=1", "training.validations=2")
SAME = [
    ((), None),
    (("training.minutes=0.2",), None),
    (("preparation.planes=[axial]", "preparation.spacing_mm=[1, 1, 3]", "training.slice_size=[21, 19, 8]"), None),
    (("cleanup.*.largest_component=true", "cleanup.ball.fill_holes=true"), None),
    (("network.levels=2", "optimiser.clip_norm=null", "training.temperature=2"), None),
    (("network.width=4", "discriminator.width=4"), "pix2pix"),
]


@pytest.mark.parametrize(("overrides", "preset"), SAME)
def test_the_same_settings_always_agree(
    overrides: tuple[str, ...], preset: str | None, dataset_folder: Path, tmp_path: Path
) -> None:
    """Whether all are given again, over a preset or over the plan, or only some, or no settings."""
    dataset = read_dataset(dataset_folder)
    config = load_config(overrides=overrides, preset=preset)
    list(iterate_planning(dataset, tmp_path, config=config))
    plan = load_config(tmp_path / "plan.yaml")
    again = [config, plan, load_config(start=plan), load_config(overrides=overrides, preset=preset, start=plan)]
    again += [load_config(overrides=(override,), start=plan) for override in overrides if "cleanup" not in override]
    assert [resumed_plan(plan, given, dataset) for given in again] == [plan] * len(again)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("network.width=8", "network.width is 4 in it, not 8"),
        ("training.seed=1", "training.seed is 0 in it, not 1"),
        ("training.batch_size=8", "training.batch_size is 4 in it, not 8"),
        ("optimiser.clip_norm=null", "optimiser.clip_norm is 12.0 in it, not None"),
        ("cleanup.ball.fill_holes=true", "cleanup.ball is absent in it, not "),
        ("preparation.neighbours=2", "preparation.neighbours is 1 in it, not 2"),
    ],
)
def test_what_matters_must_agree(override: str, told: str, dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    list(iterate_planning(dataset, tmp_path, config=load_config(overrides=TINY)))
    plan = load_config(tmp_path / "plan.yaml")
    with pytest.raises(
        UsageError, match=rf"--resume goes on with the run's own settings, and {told}.*; only length and"
    ):
        resumed_plan(plan, load_config(overrides=(override,), start=plan), dataset)


def test_the_length_may_change(dataset_folder: Path, tmp_path: Path) -> None:
    dataset = read_dataset(dataset_folder)
    list(iterate_planning(dataset, tmp_path, config=load_config(overrides=TINY)))
    plan = load_config(tmp_path / "plan.yaml")
    longer = ("training.epochs=9", "training.minutes=3", "training.validations=7", "training.validation_cases=1")
    found = resumed_plan(plan, load_config(overrides=longer, start=plan), dataset).training
    assert (found.epochs, found.minutes, found.validations, found.validation_cases) == (9, 3, 7, 1)


def command(folder: Path, run: Path, *more: str) -> list[str]:
    settings = [text for change in TINY if "epochs" not in change for text in ("--set", change)]
    return ["train", str(folder), "-o", str(run), *settings, *more]


def stop_at(step: int, folder: Path, run: Path, *, epochs: int) -> None:
    config = load_config(overrides=(*TINY, f"training.epochs={epochs}"))
    events = iterate_training(folder, run, config=config, device="cpu")
    while not isinstance(event := next(events), StepsMade) or event.step < step:
        pass
    with pytest.raises(KeyboardInterrupt, match="here"):
        events.throw(KeyboardInterrupt("here"))  # type: ignore[attr-defined]


def test_the_same_command_line_goes_on(dataset_folder: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(dataset_folder, whole, config=load_config(overrides=(*TINY, "training.epochs=2")), device="cpu")
    stop_at(5, dataset_folder, run, epochs=2)
    line = command(dataset_folder, run, "--epochs", "2", "--device", "cpu", "--resume")
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    assert volseg.load_model(run).digest == volseg.load_model(whole).digest
    assert (run / "plan.yaml").read_bytes() == (whole / "plan.yaml").read_bytes()


def test_a_finished_run_is_made_longer(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=load_config(overrides=TINY), device="cpu")
    result = CliRunner().invoke(app, command(dataset_folder, run, "--epochs", "3", "--resume"))
    assert result.exit_code == 0, result.output
    assert load_config(run / "plan.yaml").training.epochs == 3
    events = read_events(run / "log.jsonl")
    assert [event["step"] for event in events if event["event"] == "steps"] == list(range(1, 25))
    assert [event["step"] for event in events if event["event"] in ("validation", "final")] == [4, 20, 24]


def test_another_command_line_is_refused_and_changes_nothing(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=load_config(overrides=TINY), device="cpu")
    before = contents(run)
    line = command(dataset_folder, run, "--epochs", "3", "--resume", "--set", "training.seed=4")
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 2, result.output
    assert "training.seed is 0 in it, not 4" in result.stderr
    assert contents(run) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_patients(folder: Path) -> Path:
    """Write two scans of each of five patients."""
    for seed in range(10):
        write_case(folder, f"patient{seed % 5:03}_frame{seed:02}", seed=seed)
    return folder


def stop_after_a_step(dataset: Dataset | Path, run: Path) -> Planned:
    """Begin a training, and stop it; return what was planned."""
    planned = None
    events = iterate_training(dataset, run, config=load_config(overrides=TINY), device="cpu")
    for event in events:
        if isinstance(event, Planned):
            planned = event
        if isinstance(event, StepsMade):
            break
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())  # type: ignore[attr-defined]
    assert planned is not None
    return planned


def test_a_run_keeps_scans_of_a_patient_together_and_says_so(tmp_path: Path) -> None:
    folder, run = write_patients(tmp_path / "set"), tmp_path / "run"
    planned = stop_after_a_step(folder, run)
    told = "5 patients of 10 scans, by names like patient001_frame01"
    assert planned.patients == read_events(run / "log.jsonl")[0]["patients"] == told
    assert f"# There are {told}.\n" in (run / "plan.yaml").read_text(encoding="utf-8")
    train(folder, run, resume=True, device="cpu")
    held_out = json.loads((run / "validation.json").read_text(encoding="utf-8"))["by_case"]
    assert len({name.split("_")[0] for name in held_out}) == 1
    assert len(held_out) == 2


def test_an_older_run_goes_on_with_its_folds_over_cases(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It parted scans of patients; its checkpoint is of these folds."""
    folder, run = write_patients(tmp_path / "set"), tmp_path / "run"
    older = forget_patients(read_dataset(folder))
    assert stop_after_a_step(older, run).patients == ""
    assert "patients" not in read_events(run / "log.jsonl")[0]
    train(folder, run, resume=True, device="cpu")
    assert "its folds were made over cases and stay so" in caplog.text
    held_out = json.loads((run / "validation.json").read_text(encoding="utf-8"))["by_case"]
    assert sorted(held_out) == sorted(case.name for case in split(older, 0)[1])


@pytest.mark.parametrize(("older", "steps"), [(True, 24), (False, 1)])
def test_an_older_run_without_a_length_makes_all_its_steps(
    older: bool,
    steps: int,
    dataset_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its clock is past the hour that ends such runs since; one that began with the hour is over, and says so."""
    config = load_config(overrides=tuple(change for change in TINY if "epochs" not in change))
    monkeypatch.setattr("volseg.training.schedule.STEPS", 1)
    events = iterate_training(dataset_folder, tmp_path, config=config, device="cpu")
    while not isinstance(next(events), StepsMade):
        pass
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())  # type: ignore[attr-defined]
    log = tmp_path / "log.jsonl"
    if older:
        planned, *others = read_events(log)
        del planned["outlook"]
        log.write_text("".join(json.dumps(event) + "\n" for event in (planned, *others)), encoding="utf-8")
    monkeypatch.setattr("volseg.training.schedule._MOST_MINUTES_ON_A_CPU", 1e-6)
    train(dataset_folder, tmp_path, resume=True, device="cpu")
    assert [event["step"] for event in read_events(log) if event["event"] == "steps"][-1] == steps
    assert ("makes all of its steps" in caplog.text) is older
    assert ("its time or its steps are used up (step 1," in caplog.text) is not older
