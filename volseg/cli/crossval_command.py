"""`volseg crossval`."""

from __future__ import annotations

from contextlib import closing
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from volseg.cli.cleanup_line import cleanup_line
from volseg.cli.console import list_files, say, split_list
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


def crossval(
    dataset: DatasetPath,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of all folds.")],
    folds: Annotated[str, typer.Option(help="Folds to train, such as 0,2; by default all.")] = "",
    against: Annotated[
        Path | None, typer.Option(help="Another cross-validation to compare with, case by case; its folder.")
    ] = None,
    devices: Annotated[
        str,
        typer.Option(
            help="One fold at a time on each, by commas: cuda:0,cuda:1; cpu,cpu trains two side by side. "
            "By default every CUDA GPU, else the CPU."
        ),
    ] = "auto",
    config: ConfigFile = None,
    preset: Preset = None,
    set_: Changes = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    images: ImagePattern = None,
    labels: LabelPattern = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also keep the probabilities.")] = False,
) -> None:
    """Train every fold, and score every case by the networks that have not seen it.

    Run it again to continue with the missing folds and cases. OUTPUT/crossval.json has the figures and one row
    for each case and label, before and after the clean-up that the held-out cases decide; OUTPUT/ensemble.safetensors
    is a model of all folds together, with that clean-up.
    """
    from volseg.crossvalidation import class_means, compare_runs, iterate_crossvalidation
    from volseg.datasets import read_dataset
    from volseg.network.devices import choose_device
    from volseg.training.folds import FoldTrainer
    from volseg.training.stop import Stop, stopping

    changes = [*(set_ or []), *length_changes(minutes, epochs)]
    # Without settings, the plan of an earlier call in the output folder is used.
    settings = read_settings(config, preset, changes) if config or preset or changes else None
    found = read_dataset(dataset, images=images, labels=labels)
    trainer = FoldTrainer([str(dataset), *_patterns(images, labels)], output, _devices(devices))
    numbers = _folds(folds)
    # Problems that would appear only after hours are checked first.
    for device in trainer.devices:
        choose_device(device)
    if against:
        class_means(against)
    events = iterate_crossvalidation(found, trainer, config=settings, folds=numbers, probabilities=probabilities)
    with stopping(Stop(at_once=True)), closing(events):
        _follow(events, [output / name for name in ("crossval.json", "scores.csv", "ensemble.safetensors")])
    if against:
        say(_comparison(against, compare_runs(output, against)))


def _patterns(images: str | None, labels: str | None) -> list[str]:
    """Return the options with which `volseg train` finds the same files."""
    options = []
    if images:
        options.append(f"--images={images}")
    if labels:
        options.append(f"--labels={labels}")
    return options


def _devices(text: str) -> list[str]:
    from volseg.network.devices import every_gpu

    names = split_list(text)
    if names in ([], ["auto"]):
        return every_gpu() or ["auto"]
    return names


def _folds(text: str) -> list[int] | None:
    numbers = set()
    for part in split_list(text):
        if not part.isdecimal():
            raise UsageError(f"--folds has {part!r}; expected numbers from 0, such as 0,2")
        numbers.add(int(part))
    return sorted(numbers) or None


def _follow(events: Any, files: list[Path]) -> None:
    """Show the progress of each fold, the summary, and its files."""
    tasks: dict[str, Any] = {}
    with progress_bar(counts=False) as bar:
        for event in events:
            if event["event"] == "summary":
                say(*_summary(event), above=bar)
                list_files(files)
                continue
            name = f"{event['event']} fold {event['fold']}" if "fold" in event else event["event"]
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0)
            bar.update(tasks[name], completed=event.get("progress") or event["done"] / event["total"])


def _summary(content: dict[str, Any]) -> list[str]:
    from volseg.network.description import CleanupDecision

    cases = f"over {content['class_mean_dice']['n']} cases, each by a model that has not seen it"
    lines = [f"class-mean Dice {_interval(content['class_mean_dice'])} {cases}", *_label_lines(content["labels"])]
    cleaned = content["cleanup"]
    if cleaned["decided"]:
        lines.append(cleanup_line({name: CleanupDecision(**entry) for name, entry in cleaned["decided"].items()}))
    if cleaned["rows"] != content["rows"]:
        mean = f"class-mean Dice {_interval(cleaned['class_mean_dice'])}"
        lines.append(f"after clean-up, each fold as the others decide: {mean}")
        lines += _label_lines(cleaned["labels"])
    if content["missing_folds"]:
        lines.append(f"folds still missing: {', '.join(map(str, content['missing_folds']))}")
    return lines


def _interval(found: dict[str, Any]) -> str:
    interval = "" if found["low"] is None else f" [{found['low']:.4f}, {found['high']:.4f}]"
    return f"{_text(found['mean'])}{interval}"


def _label_lines(labels: dict[str, Any]) -> list[str]:
    from volseg.evaluation.scores import METRICS

    lines = []
    for label, found in labels.items():
        means = []
        for name, metric in METRICS.items():
            if metric.main:
                means.append(f"{metric.heading} {_text(found[name]['mean'], metric.unit)}")
        lines.append(f"{label}: {', '.join(means)}")
    return lines


def _comparison(other: Path, found: dict[str, float | int]) -> str:
    interval = "" if isnan(found["low"]) else f" [{found['low']:+.4f}, {found['high']:+.4f}]"
    return (
        f"class-mean Dice against {other}: {found['mean']:+.4f}{interval} over {found['n']} cases, "
        f"p = {found['p']:.2g} (Wilcoxon signed-rank)"
    )


def _text(number: float | None, unit: str = "") -> str:
    return "absent" if number is None else f"{number:.4f} {unit}".rstrip()
