"""`volseg train`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.cleanup_line import cleanup_line
from volseg.cli.console import list_files, say
from volseg.cli.parent import stop_with_parent
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
    from volseg.training.events import Planned, StepsMade, TrainingEvent, Validated
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

    if while_parent_runs:
        stop_with_parent()
    changes = [*(set_ or []), *length_changes(minutes, epochs)]
    if resume and plan_only:
        raise UsageError("--plan-only begins a run and --resume continues one; give one of them")
    if resume:
        check_folder(output, resume=True)
    held_out = _fold(fold)
    settings = _settings(config, preset, changes, output if resume else None)
    found = read_dataset(dataset, images=images, labels=labels)
    if folds_over_cases:
        found = forget_patients(found)
    if plan_only:
        _plan(found, output, settings, held_out)
        return
    events = iterate_training(found, output, config=settings, fold=held_out, device=device, resume=resume)
    list_files(_follow(events))


def _settings(config: Path | None, preset: str | None, changes: list[str], resumed: Path | None) -> Config | None:
    """Read the settings; None for a run that is resumed with its own."""
    if resumed and not (config or preset or changes):
        return None
    return read_settings(config, preset, changes, resumed)


def _plan(dataset: Dataset, output: Path, settings: Config | None, fold: Fold) -> None:
    from volseg.training.plan import iterate_planning
    from volseg.training.run_folder import check_folder

    check_folder(output)
    with progress_bar() as bar:
        for _ in bar.track(iterate_planning(dataset, output, config=settings, fold=fold), description="reading"):
            pass
    list_files([output / "plan.yaml"])


def _follow(events: Iterator[TrainingEvent]) -> list[Path]:
    """Show what happens and return the files of the run."""
    from volseg.network.devices import Threads
    from volseg.training.events import CaseRead, Finished, Planned, StepsMade, Validated

    threads, files = Threads(), list[Path]()
    with progress_bar(counts=False) as bar:
        task = bar.add_task("reading", total=1.0)
        for event in events:
            match event:
                case CaseRead():
                    bar.update(task, completed=event.done / event.total)
                case Planned():
                    threads.adjust()
                    say(_plan_line(event), above=bar)
                case StepsMade():
                    threads.adjust()
                    bar.update(task, description=_describe(event), completed=event.progress)
                case Validated():
                    say(*_dice_lines(event), above=bar)
                case Finished():
                    files = list(event.files)
    return files


def _fold(text: str) -> Fold:
    if text == "all":
        return "all"
    if not text.isdecimal():
        raise UsageError(f"--fold is {text!r}; expected a number from 0 or 'all'")
    return int(text)


def _plan_line(event: Planned) -> str:
    from volseg.core.slices import in_plane

    preparation, training = event.config.preparation, event.config.training
    size, slices = training.slice_size or (), []
    for plane in preparation.planes or ():
        height, width = in_plane(plane)
        slices.append(f"{plane} slices of {size[height]}x{size[width]}")
    patients = f"; {event.patients}" if event.patients else ""
    return (
        f"{event.cases} cases to learn from, {event.held_out} held out (fold {event.fold}){patients}; "
        f"{', '.join(slices)}, batches of {training.batch_size}, on {event.device}; "
        f"read in {event.reading_seconds:.0f} s"
    )


def _describe(event: StepsMade) -> str:
    losses = ", ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
    return f"step {event.step}: {losses}"


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
