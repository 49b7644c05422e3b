"""`volseg train`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.cleanup_line import cleanup_line
from volseg.cli.console import list_files, say
from volseg.cli.parent import stop_with_parent
from volseg.cli.plan_lines import plan_lines
from volseg.cli.progress import progress_bar
from volseg.cli.train_options import (
    Changes,
    ConfigFile,
    DatasetPath,
    Epochs,
    ImagePattern,
    LabelPattern,
    Minutes,
    Preset,
    length_changes,
    read_settings,
)
from volseg.errors import UsageError

if TYPE_CHECKING:
    from volseg.config import Config
    from volseg.datasets import Dataset
    from volseg.training.events import Finished, StepsMade, TrainingEvent, Validated
    from volseg.training.plan import Fold


def train(
    dataset: DatasetPath,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.")],
    config: ConfigFile = None,
    preset: Preset = None,
    set_: Changes = None,
    fold: Annotated[str, typer.Option(help="Fold held out for validation, or 'all' to train on every case.")] = "0",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    minutes: Minutes = None,
    epochs: Epochs = None,
    images: ImagePattern = None,
    labels: LabelPattern = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Check the dataset, write plan.yaml and stop.")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Also hand the curves to {training.trackers}; may be repeated."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the run's checkpoint, with its own settings; the same command line may be given again. "
            "Others may only be --device, --minutes, --epochs, and how often it is validated.",
        ),
    ] = False,
    while_parent_runs: Annotated[bool, typer.Option("--while-parent-runs", hidden=True)] = False,
    # For the missing folds of a cross-validation that was begun before folds were made by patient.
    folds_over_cases: Annotated[bool, typer.Option("--folds-over-cases", hidden=True)] = False,
) -> None:
    """Train a model from labelled scans; what is not set is planned from the dataset."""
    from volseg.datasets import forget_patients, read_dataset
    from volseg.training.loop import iterate_training
    from volseg.training.run_folder import check_folder
    from volseg.training.tracking import tracked

    if while_parent_runs:
        stop_with_parent()
    changes = [*(set_ or []), *length_changes(minutes, epochs)]
    if resume and plan_only:
        raise UsageError("--plan-only begins a run and --resume continues one; give one of them")
    if track and plan_only:
        raise UsageError("--plan-only trains nothing that --track could follow; give one of them")
    if resume:
        check_folder(output, resume=True)
    held_out = _fold(fold)
    settings = _settings(config, preset, changes, output if resume else None)
    found = read_dataset(dataset, images=images, labels=labels)
    if folds_over_cases:
        found = forget_patients(found)
    if plan_only:
        _plan(found, output, settings, held_out, device)
        return
    events = iterate_training(found, output, config=settings, fold=held_out, device=device, resume=resume)
    if track:
        events = tracked(events, track, output, resume=resume)
    if finished := _follow(events, output):
        list_files(finished.files)
        verdict = finished.verdict
        say(f"{verdict.text} ({verdict.command})" if verdict.command else verdict.text)


def _settings(config: Path | None, preset: str | None, changes: list[str], resumed: Path | None) -> Config | None:
    """Read the settings; None for a run that is resumed with its own."""
    if resumed and not (config or preset or changes):
        return None
    return read_settings(config, preset, changes, resumed)


def _plan(dataset: Dataset, output: Path, settings: Config | None, fold: Fold, device: str) -> None:
    from volseg.config import load_config
    from volseg.datasets import check_dataset
    from volseg.network.devices import Threads, choose_device
    from volseg.training.planning import plan_checked
    from volseg.training.preview import preview
    from volseg.training.run_folder import check_folder

    check_folder(output)
    target = choose_device(device)
    checked = check_dataset(dataset)
    Threads().adjust()
    with progress_bar() as bar:
        planning = plan_checked(checked, output, config=settings, fold=fold, device=target)
        for _ in bar.track(planning, description="reading"):
            pass
    plan = output / "plan.yaml"
    say(*plan_lines(preview(checked, load_config(plan), fold=fold, device=target)))
    list_files([plan])


def _follow(events: Iterator[TrainingEvent], output: Path) -> Finished | None:
    """Show what happens and return the last event."""
    from volseg.network.devices import Threads
    from volseg.training.events import CaseRead, Finished, Planned, StepsMade, Validated
    from volseg.training.run_folder import PAGE

    threads = Threads()
    finished: Finished | None = None
    before: StepsMade | None = None
    validating = 0.0  # seconds since then
    with progress_bar(counts=False, time_left=False) as bar:
        task = bar.add_task("reading", total=1.0)
        for event in events:
            match event:
                case CaseRead():
                    bar.update(task, completed=event.done / event.total)
                case Planned():
                    threads.adjust()
                    say(*plan_lines(event), f"watch it in {output / PAGE}", above=bar)
                case StepsMade():
                    threads.adjust()
                    bar.update(task, description=_describe(event, before, validating), completed=event.progress)
                    before, validating = event, 0.0
                case Validated():
                    say(*_dice_lines(event), above=bar)
                    validating += event.result.seconds
                case Finished():
                    finished = event
    return finished


def _fold(text: str) -> Fold:
    if text == "all":
        return "all"
    if not text.isdecimal():
        raise UsageError(f"--fold is {text!r}; expected a number from 0 or 'all'")
    return int(text)


def _describe(event: StepsMade, before: StepsMade | None, validating: float) -> str:
    """Describe the steps since an event before, in whose time validations took so many seconds."""
    from volseg.training.outlook import told_time

    losses = ", ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
    pace = ""
    if before is not None and event.seconds - before.seconds > validating:
        seconds = event.seconds - before.seconds - validating
        pace = f"{(event.step - before.step) / seconds:.2g} steps/s, "
    return f"step {event.step}: {losses}; {pace}{told_time(event.seconds_left)} left"


def _dice_lines(event: Validated) -> list[str]:
    result = event.result
    kind = "validation" if event.kind == "validation" else "held-out cases"
    count = f"{result.cases} of {event.held_out} cases"
    found = f"Dice {_dice(result.mean)} over {count} ({_by_label(result.per_label)})"
    lines = [f"{kind} at step {event.step}: {found}"]
    if result.cleanup and result.cleanup.decided:
        lines.append(cleanup_line(result.cleanup.decided))
        if result.cleanup.mean != result.mean:
            lines.append(f"after clean-up: Dice {_dice(result.cleanup.mean)} ({_by_label(result.cleanup.per_label)})")
    return lines


def _by_label(dices: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_dice(value)}" for name, value in dices.items())


def _dice(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4f}"
