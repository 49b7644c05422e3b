"""What every command says at its end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

# The option of every command that reads a scan.
Series = Annotated[
    str | None,
    typer.Option(
        "--series",
        help="Which volume of a scan with several: number, description, label or end of the id of a DICOM series, "
        "volume of a 4D NIfTI file; as `volseg inspect` shows them.",
    ),
]


def list_files(paths: Iterable[Path]) -> None:
    """Print the files that a command wrote, one a line, as its last lines."""
    for path in paths:
        typer.echo(f"wrote {path}")
