"""The options that `volseg train` and `volseg crossval` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.errors import UsageError

if TYPE_CHECKING:
    from volseg.config import Config

DatasetPath = Annotated[
    Path,
    typer.Argument(help="Decathlon, nnU-Net or TotalSegmentator folder, CSV, or a folder with --images and --labels."),
]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML settings, such as plan.yaml of a run.")]
Preset = Annotated[str | None, typer.Option(help="{config.presets}.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated.")
]
Minutes = Annotated[
    float | None,
    typer.Option(
        help="Train for this wall-clock time from the first step on, validations included, reading the scans not; the "
        "schedule fits it."
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="Stop after this many passes over the labelled slices; default 7,000 "
        "steps a plane, within an hour (GPU: three)."
    ),
]
ImagePattern = Annotated[str | None, typer.Option(help="Pattern of images in DATASET, such as 'images/*.nii.gz'.")]
LabelPattern = Annotated[
    str | None,
    typer.Option(
        help="Pattern of label maps; {} is the text that the star matched. A star here is the structure of a mask: "
        "'masks/{}/*.nii.gz' or '{}_*.nii.gz'."
    ),
]


def length_changes(minutes: float | None, epochs: int | None) -> list[str]:
    """Turn --minutes or --epochs into settings.

    Parameters
    ----------
    minutes : float, optional
    epochs : int, optional
        Only one of the two may be given.
    """
    if minutes is not None and epochs is not None:
        raise UsageError("--minutes and --epochs both set the end; give one of them")
    if minutes is not None:
        return [f"training.minutes={minutes}"]
    return [] if epochs is None else [f"training.epochs={epochs}", "training.minutes=null"]


def read_settings(config: Path | None, preset: str | None, changes: list[str], run: Path | None = None) -> Config:
    """Read the settings of the options.

    Parameters
    ----------
    config : Path, optional
        A file of settings.
    preset : str, optional
    changes : list of str
        ``KEY=VALUE``.
    run : Path, optional
        The folder of a resumed run; the other options change its settings.
    """
    from volseg.config import load_config

    start = load_config(run / "plan.yaml") if run else None
    return load_config(config, overrides=tuple(changes), preset=preset, start=start)
