"""Folders that appear whole: a new one replaces an old one at once."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from volseg.errors import OutputError
from volseg.files.atomic import flush, part_name, reason_of, remove_parts

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # Linux: renameat2
_RENAME_SWAP = 2  # macOS: renamex_np


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder to write files to; on success all of them appear in the folder `path` at once.

    It does for a folder what `volseg.files.atomic.atomic_path` does for a file. If the folder has other files as well,
    these stay, and the new files are moved to it one after the other.

    Parameters
    ----------
    path : path
        Where to put the files. A symbolic link stays.

    Yields
    ------
    Path
        A hidden folder beside `path`.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    target = Path(os.path.realpath(path))
    new = target.with_name(part_name())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(target.parent)
        new.mkdir()
        yield new
        files = sorted(new.iterdir())
        for file in files:
            flush(file)
        if _has_others(target, files):
            for file in files:
                file.replace(target / file.name)
        else:
            old = put_in_place(new, target, aside=target.with_name(part_name()))
            shutil.rmtree(old or new, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({reason_of(error)}); check the folder and the disk") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _has_others(folder: Path, files: Sequence[Path]) -> bool:
    """Whether there is a folder with entries of other names than those of files."""
    names = {file.name for file in files}
    return folder.is_dir() and any(entry.name not in names for entry in folder.iterdir())


def make_beside(folder: Path, start: str) -> Path:
    """Make an empty folder beside another one.

    Parameters
    ----------
    folder : Path
        The other folder; it need not exist.
    start : str
        How the name begins; the rest is random.
    """
    made = folder.with_name(start + secrets.token_hex(4))
    made.mkdir()
    return made


def put_in_place(new: Path, place: Path, *, aside: Path) -> Path | None:
    """Move a finished folder to its place; an old folder there is moved away whole.

    On Linux and macOS the two are exchanged at once. On Windows, and on file systems that cannot exchange, the old one
    is moved aside first. A process that is killed at that moment leaves it there, whole.

    Parameters
    ----------
    new, place : Path
        Paths in the same folder; `place` need not exist.
    aside : Path
        Where to move the old folder if the two cannot be exchanged.

    Returns
    -------
    Path or None
        Where the old folder is now; None if there was none.

    Raises
    ------
    OSError
        It failed, and nothing has changed.
    """
    for folder in (new, *(path for path in new.rglob("*") if path.is_dir())):
        _flush(folder)
    try:
        if not place.exists():
            new.rename(place)
            return None
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is where its folder should be", str(place))
        if _exchange(new, place):
            return new
        place.rename(aside)
        try:
            new.rename(place)
        except OSError:
            aside.rename(place)
            raise
        return aside
    finally:
        _flush(place.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders at once; False where that cannot be done."""
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "win32":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            return bool(library.renamex_np(*names, _RENAME_SWAP) == 0)
        return bool(library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)
    except AttributeError:  # the C library lacks the function
        return False


def _flush(folder: Path) -> None:
    """Make the operating system write the names in a folder to disk; Windows cannot."""
    if sys.platform != "win32":
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
