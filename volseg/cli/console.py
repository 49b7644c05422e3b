"""What every command says at its end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer


def list_files(paths: Iterable[Path]) -> None:
    """Print the files that a command wrote, one a line, as its last lines."""
    for path in paths:
        typer.echo(f"wrote {path}")
