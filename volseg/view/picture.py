"""Picture files: PNG, written completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volseg.errors import UsageError
from volseg.files.atomic import atomic_path


@contextmanager
def png_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to draw a PNG into; on success it takes the place of `path`.

    Parameters
    ----------
    path : path
        A name that ends in ``.png``.

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
    """Check that a name ends in ``.png``.

    Parameters
    ----------
    path : path

    Raises
    ------
    UsageError
        It does not.
    """
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"name of the picture is {path}; expected a name that ends in .png")
