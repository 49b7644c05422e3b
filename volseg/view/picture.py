"""Picture files: PNG, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volseg.errors import UsageError
from volseg.files.atomic import atomic_path


@contextmanager
def png_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to draw a PNG into; on success it takes the place of `path`.

    Raises
    ------
    UsageError
        The name does not end in ``.png``.
    OutputError
        The file cannot be written.
    """
    check_png(path)
    with atomic_path(path) as temporary:
        yield temporary


def check_png(path: str | Path) -> None:
    """Refuse a name that does not end in ``.png``, with a UsageError."""
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"picture is to be written to {path}; expected a name that ends in .png")
