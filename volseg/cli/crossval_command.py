"""`volseg crossval`."""

from __future__ import annotations

from contextlib import closing
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from volseg.cli.console import list_files, say
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
    folds: Annotated[str, typer.Option(help="Which folds, such as 0,2; by default all.")] = "",
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
    """Train every fold and score every case by the networks that have not seen it.

    Run it again to go on with what is missing. OUTPUT/crossval.json has the figures and one row for each case and
    label; OUTPUT/ensemble.safetensors is a model of all folds together.
    """
    from volseg.crossvalidation import class_means, compare_runs, iterate_crossvalidation
    from volseg.datasets import read_dataset
    from volseg.network.devices import choose_device
    from volseg.training.folds import FoldTrainer
    from volseg.training.stop import Stop, stopping

    changes = [*(set_ or []), *length_changes(minutes, epochs)]
    # Without settings an earlier plan in the output folder is gone on with.
    settings = read_settings(config, preset, changes) if config or preset or changes else None
    found = read_dataset(dataset, images=images, labels=labels)
    patterns = [f"--{name}={text}" for name, text in (("images", images), ("labels", labels)) if text]
    trainer = FoldTrainer([str(dataset), *patterns], output, _devices(devices))
    numbers = _folds(folds)
    # Before the hours of work what could only fail after them.
    for device in trainer.devices:
        choose_device(device)
    if against:
        class_means(against)
    events = iterate_crossvalidation(found, trainer, config=settings, folds=numbers, probabilities=probabilities)
    with stopping(Stop(at_once=True)), closing(events):
        _follow(events, [output / name for name in ("crossval.json", "scores.csv", "ensemble.safetensors")])
    if against:
        result = compare_runs(output, against)
        interval = "" if isnan(result["low"]) else f" [{result['low']:+.4f}, {result['high']:+.4f}]"
        say(
            f"class-mean Dice against {against}: {result['mean']:+.4f}{interval} over {result['n']} cases, "
            f"p = {result['p']:.2g} (Wilcoxon signed-rank)"
        )


def _devices(text: str) -> list[str]:
    from volseg.network.devices import every_gpu

    names = [name.strip() for name in text.split(",") if name.strip()]
    return every_gpu() or ["auto"] if names in ([], ["auto"]) else names


def _folds(text: str) -> list[int] | None:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise UsageError(f"--folds has {wrong[0]!r}; expected numbers from 0, such as 0,2")
    return sorted({int(part) for part in parts}) or None


def _follow(events: Any, files: list[Path]) -> None:
    """Show how far each fold is, the summary, and the files that hold it."""
    with progress_bar(counts=False) as bar:
        tasks: dict[str, Any] = {}
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
    from volseg.evaluation.scores import METRICS

    shown = {name: metric for name, metric in METRICS.items() if metric.main}
    mean = content["class_mean_dice"]
    interval = "" if mean["low"] is None else f" [{mean['low']:.4f}, {mean['high']:.4f}]"
    cases = f"over {mean['n']} cases, each by a model that has not seen it"
    lines = [f"class-mean Dice {_text(mean['mean'])}{interval} {cases}"]
    for label, found in content["labels"].items():
        means = [f"{metric.heading} {_text(found[name]['mean'], metric.unit)}" for name, metric in shown.items()]
        lines.append(f"{label}: {', '.join(means)}")
    if content["missing_folds"]:
        lines.append(f"folds still missing: {', '.join(map(str, content['missing_folds']))}")
    return lines


def _text(number: float | None, unit: str = "") -> str:
    return "absent" if number is None else f"{number:.4f} {unit}".rstrip()
