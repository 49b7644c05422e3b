"""The one safe way to write a file: all of it appears, or none of it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from volseg.errors import OutputError, UsageError
from volseg.files.processes import is_gone, process_mark

_PART = re.compile(r"\.volseg-(?P<mark>[0-9a-f]{8}-\d+)-[^.]+\.part.*", re.DOTALL)
_LONGEST_SUFFIX = 12


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on success it takes the place of `path`.

    The temporary file is in the same folder and keeps all suffixes, as writers choose the format by them. It is
    flushed to disk before it is renamed. On any failure it is removed, and an older file at `path` is unchanged.
    Temporary files that killed processes have left in the folder are removed too (`remove_parts`). Missing parent
    folders are made. A symbolic link at `path` stays, and the file that it points to is written.

    Parameters
    ----------
    path : path
        Where to put the finished file.

    Yields
    ------
    Path
        An existing empty file to write to.

    Raises
    ------
    OutputError
        The folder cannot be written, the disk is full, or the writer failed with an operating-system error.
    """
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy_once(target.parent)
        suffix = "".join(s for s in Path(path).suffixes[-2:] if len(s) <= _LONGEST_SUFFIX)
        handle, name = tempfile.mkstemp(prefix=f".volseg-{process_mark()}-", suffix=f".part{suffix}", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        flush(temporary)
        _apply_umask(temporary)
        temporary.replace(target)
    except FileExistsError as error:
        raise OutputError(
            f"{path}: cannot be written: a file is where its folder should be ({target.parent})"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({reason_of(error)}); check the folder and the disk") from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()


def reason_of(error: OSError) -> str:
    """Return the operating system's reason for a failure, also if a library has wrapped its error.

    Parameters
    ----------
    error : OSError
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def write_text(path: str | Path, text: str) -> None:
    r"""Write a UTF-8 text file atomically, with Unix line ends on every system.

    Parameters
    ----------
    path : path
        Replaced if it exists.
    text : str
        Lone surrogates, which file names may have and UTF-8 may not, are written as ``\udce9``.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def is_part(path: str | Path) -> bool:
    """Whether a file is a temporary one of `atomic_path`.

    Parameters
    ----------
    path : path
        Only its name matters.
    """
    return _PART.fullmatch(Path(path).name) is not None


def part_name() -> str:
    """Return a name for a temporary file of this process; `remove_parts` removes it when the process has ended."""
    return f".volseg-{process_mark()}-{secrets.token_hex(4)}.part"


def remove_parts(folder: Path) -> None:
    """Remove temporary files and folders that killed processes have left in a folder.

    Files of a process are removed only if it has certainly ended; see `volseg.files.processes.is_gone`.

    Parameters
    ----------
    folder : Path
    """
    with suppress(OSError):
        for file in list(folder.iterdir()):
            found = _PART.fullmatch(file.name)
            if found and is_gone(found["mark"]):
                with suppress(OSError):
                    shutil.rmtree(file) if file.is_dir() else file.unlink()


@lru_cache(maxsize=1024)
def _tidy_once(folder: Path) -> None:
    """Tidy a folder only once in a process, as a series is many files in one folder."""
    remove_parts(folder)


def check_free(targets: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse to replace existing files, unless the user wants that; every command checks this before it writes.

    Parameters
    ----------
    targets : iterable of Path
        The files and folders that will be written.
    overwrite : bool
        Whether existing ones may be replaced.

    Raises
    ------
    OutputError
        A target exists, and is no empty folder.
    UsageError
        Two outputs have the same path.
    """
    targets = list(targets)
    if twice := [target for target, count in Counter(targets).items() if count > 1]:
        raise UsageError(f"{twice[0]}: is named for two outputs; choose two names")
    for target in targets if not overwrite else ():
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise OutputError(f"{target}: is there already; overwrite it (--overwrite), or choose another name")


def flush(path: Path) -> None:
    """Make the operating system write a file to disk.

    Parameters
    ----------
    path : Path
    """
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _apply_umask(path: Path) -> None:
    # mkstemp makes files that only their owner can read; this sets the mode that open() would have set.
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def check_writable(folder: str | Path) -> None:
    """Make a folder and check that files can be written to it, before hours of work depend on it.

    Parameters
    ----------
    folder : path

    Raises
    ------
    OutputError
        It cannot be made or written to.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({reason_of(error)}); choose another folder") from error
