"""Output of commands: safe printing of texts from files, and the last lines of a command."""

from __future__ import annotations

import csv
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.errors import UsageError
from volseg.files.plain_text import plain

if TYPE_CHECKING:
    from rich.progress import Progress

# The option of every command that reads a scan.
Series = Annotated[
    str | None,
    typer.Option(
        "--series",
        help="Which volume of a scan or of labels with several: number, description, label or end of the id of a DICOM "
        "series, volume of a 4D NIfTI file; as `volseg inspect` shows them.",
    ),
]
# The option of every command that reads or makes labels.
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="NAME,...",
        help="These labels alone: names, values or patterns such as rib_*, by commas; a name with a comma in quotes.",
    ),
]
FullPaths = Annotated[
    bool,
    typer.Option("--full-paths", help="Write paths in full; else relative to the working folder, or the name alone."),
]


def say(
    *lines: str, err: bool = False, above: Progress | None = None, colour: str | None = None, bold: bool = False
) -> None:
    """Print lines as plain text: file names, labels and messages may hold control characters of a terminal.

    Parameters
    ----------
    lines : str
        A line feed inside one is shown as a space.
    err : bool
        On stderr.
    above : Progress, optional
        A progress bar on the screen (on stderr); the lines go above it.
    colour, bold
        Style on a terminal.
    """
    for line in map(plain, lines):
        if above is not None:
            above.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.secho(line, err=err, fg=colour, bold=bold or None)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, width: int) -> None:
    """Print a table: the first column on the left, folded if it is long, numbers on the right.

    Parameters
    ----------
    headings : sequence of str
        A line feed inside one begins a new line.
    rows : iterable of sequences of str
        Their cells are made plain, as by `say`.
    width : int
        Number of columns if the output is not a terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    first, *others = (Text("\n".join(map(plain, heading.split("\n")))) for heading in headings)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, overflow="fold", min_width=10)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else width, highlight=False).print(table)


# The option of every command that writes files to a path of the user.
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


def split_list(text: str) -> list[str]:
    """Split an option at commas; empty parts are left out.

    Parameters
    ----------
    text : str
        For example ``cuda:0, cuda:1``.
    """
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_only(only: str | None) -> tuple[str, ...] | None:
    """Split the names in --only.

    Parameters
    ----------
    only : str, optional
        Names separated by commas; a name with a comma is in quotes.

    Raises
    ------
    UsageError
        It has no name.
    """
    if only is None:
        return None
    try:
        rows = list(csv.reader([only], skipinitialspace=True))
    except csv.Error:
        rows = []
    names = []
    for row in rows:
        for name in row:
            if name.strip():
                names.append(name.strip())
    if not names:
        raise UsageError(f"--only {only!r} names no label; give names by commas, such as liver,spleen")
    return tuple(names)


def list_files(paths: Iterable[Path]) -> None:
    """Print the files that a command wrote, one to a line, as its last lines.

    Parameters
    ----------
    paths : iterable of Path
    """
    say(*(f"wrote {path}" for path in paths))


def show_trace(error: BaseException) -> None:
    """Print the traceback of an error if ``--debug`` is given.

    Parameters
    ----------
    error : BaseException
    """
    if sys.excepthook is sys.__excepthook__:  # set by --debug
        for text in traceback.format_exception(error):
            say(*text.rstrip("\n").split("\n"), err=True)
