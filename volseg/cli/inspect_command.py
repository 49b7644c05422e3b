"""`volseg inspect`: the contents of a file or folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.console import FullPaths, say
from volseg.cli.model_lines import is_model, model_facts, model_lines
from volseg.cli.progress import show_progress

_WIDTH_IN_FILES = 100


def inspect(
    path: Annotated[Path, typer.Argument(help="A DICOM, {images.names} file, a folder or zip of them; or a model.")],
    headers: Annotated[
        bool, typer.Option("--headers", help="Read only headers: quick, but damaged pixels are not found.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON; keys: volseg.inspection.Entry.")
    ] = False,
    full_paths: FullPaths = False,
) -> None:
    """Show the contents of a file or folder and their faults: series, images, segmentations, damaged files.

    Every image is shown with size, spacing, orientation, values, source of the slice positions, gaps, tilt and
    compression. If reading repairs or refuses it, the reason is shown, and the error in mm that a repair avoids. Every
    image is read once, so an image that is not refused can be read. --series takes the text in parentheses after the
    name, or the text that the entry gives. Of a model file, or the folder of a training run, channels, labels, steps
    and clean-up are shown.
    """
    from volseg.cli.inspection_lines import inspection_lines
    from volseg.errors import InputError
    from volseg.inspection import inspect as look

    if is_model(path):
        facts = model_facts(path)
        say(*(json.dumps(facts, indent=2, allow_nan=False).split("\n") if as_json else model_lines(facts)))
        return
    with show_progress("reading") as show:
        found = look(path, headers=headers, progress=show)
    if as_json:
        say(*json.dumps(found.to_dict(full_paths=full_paths), indent=2, allow_nan=False).split("\n"))
    else:
        for line in inspection_lines(found, _width()):
            say(*line.text.split("\n"), colour=line.colour, bold=line.bold)
    if not found.readable:
        raise InputError(f"{path}: nothing in it can be read; the list gives the reasons")


def _width() -> int:
    """Return the columns of the terminal; output to files has a fixed width."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return max(shutil.get_terminal_size().columns, 40) if known else _WIDTH_IN_FILES
