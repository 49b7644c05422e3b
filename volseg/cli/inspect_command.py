"""`volseg inspect`: what is in a file or folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from volseg.inspection import Entry, Inspection

_SHORTEST_ENDING = 6


def inspect(
    path: Annotated[Path, typer.Argument(help="A DICOM, NIfTI, NRRD or MetaImage file, or a folder of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the series and images of a file or folder: size, spacing, orientation, values, problems.

    Every image is read once, so that what is listed without a problem can be read. The text in parentheses after
    the name of a DICOM series is enough for --series.
    """
    from volseg.errors import InputError
    from volseg.inspection import inspect as look

    found = look(path)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print(found)
    if not found.readable:
        raise InputError(f"{path}: nothing in it can be read; the reasons are listed")


def _print(found: Inspection) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    console.print(_table(found))
    for entry in found.entries:
        if entry.problem is not None:
            console.print(f"[yellow]not readable:[/] {escape(entry.problem)}")


def _table(found: Inspection) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("what", min_width=8)
    table.add_column("name (series)", min_width=12, overflow="fold")
    for heading in ("voxels", "spacing mm", "axes", "type", "values", "files"):
        table.add_column(heading, no_wrap=True)
    ending = _ending_length([entry.series for entry in found.entries if entry.series])
    for entry in found.entries:
        what = f"{entry.kind} {entry.modality or ''}" if entry.shape else entry.kind
        name = f"{entry.name} ({entry.series[-ending:]})" if entry.series else entry.name
        table.add_row(escape(what), escape(name), *_numbers(entry))
    return table


def _numbers(entry: Entry) -> list[str]:
    return [
        "x".join(map(str, entry.shape or "-")),
        "x".join(f"{spacing:.3g}" for spacing in entry.spacing_mm) if entry.spacing_mm else "-",
        entry.orientation or "-",
        entry.dtype or "-",
        " to ".join(f"{value:.4g}" for value in entry.value_range) if entry.value_range else "-",
        str(entry.files),
    ]


def _ending_length(names: list[str]) -> int:
    """Smallest number of last characters that tells all series apart."""
    longest = max(map(len, names), default=0)
    lengths = range(_SHORTEST_ENDING, longest)
    return next((n for n in lengths if len({name[-n:] for name in names}) == len(names)), longest)
