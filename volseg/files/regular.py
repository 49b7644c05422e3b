"""Files that a user or another file names: only regular files are opened, and texts only up to a bounded length.

Opening a pipe and reading a device may never end, so neither is accepted as a scan, a table or a config.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from volseg.errors import InputError

# JSON text of this length becomes at most 0.8 GB of objects.
LONGEST_TEXT = 1 << 25


def regular_file(path: str | Path) -> Path:
    """Return the path if it is a regular file, or a link to one; the file is not opened.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        It does not exist, cannot be accessed, or is a folder, pipe, device or socket.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file or folder; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); check the path and its rights") from error
    if stat.S_ISREG(mode):
        return path
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; expected a file")
    raise InputError(f"{path}: is a pipe or device; expected a regular file; save its content to one")


def file_beside(path: Path, name: str) -> Path:
    """Return the regular file that another file names.

    Parameters
    ----------
    path : Path
        The file that names it.
    name : str
        Relative to its folder.

    Raises
    ------
    InputError
        It is not in the folder of `path` or below, or is no regular file.
    """
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or PureWindowsPath(name).root
    if not name or absolute or ".." in re.split(r"[/\\]", name):
        raise InputError(f"{path}: names the file {name[:80]!r}; expected one in its own folder")
    try:
        return regular_file(path.parent / name)
    except InputError as error:
        raise InputError(f"{path}: names a file that cannot be read ({error})") from error


def read_bytes(path: str | Path, *, most: int) -> bytes:
    """Read a regular file.

    Parameters
    ----------
    path : path
    most : int
        Largest size, bytes.

    Raises
    ------
    InputError
        It is larger, cannot be read, or is no regular file.
    """
    path = regular_file(path)
    size = path.stat().st_size
    if size > most:
        raise InputError(f"{path}: has {size} bytes; expected at most {most}")
    try:
        with path.open("rb") as stream:
            content = stream.read(size + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    except (MemoryError, OverflowError) as error:
        raise InputError(f"{path}: does not fit into memory") from error
    if len(content) > size:
        raise InputError(f"{path}: grows while it is read, or has no fixed length; save it to a regular file")
    return content


def read_text(path: str | Path, *, most: int = LONGEST_TEXT) -> str:
    """Read a UTF-8 text; a byte order mark is dropped, and line ends become Unix ones.

    Parameters
    ----------
    path : path
    most : int
        Largest size, bytes.

    Raises
    ------
    InputError
        It is larger, cannot be read, or is not UTF-8.
    """
    try:
        text = read_bytes(path, most=most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (at byte {error.start})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path, *, most: int = LONGEST_TEXT) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : path
    most : int
        Largest size, bytes.

    Raises
    ------
    InputError
        It is larger, cannot be read, or is not JSON.
    """
    text = read_text(path, most=most)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
        raise InputError(f"{path}: is not JSON ({error})") from error
