"""Picture files: PNG, written completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volseg.files.atomic import atomic_path
from volseg.files.names import check_suffix


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
    check_suffix(path, (".png",), what="picture")
    with atomic_path(path) as temporary:
        yield temporary
