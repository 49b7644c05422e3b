"""A lock that one process holds at a time; it is released when the process ends, even if it is killed."""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import OutputError
from volseg.files.atomic import reason_of

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_BYTE = 1 << 30  # the byte that is locked on Windows, far behind the content of the file


@dataclass(frozen=True)
class Hold:
    """Result of locking a file.

    Parameters
    ----------
    mine : bool
        Whether this process has the lock.
    certain : bool
        Whether no other process can have it too; False on file systems without locks.
    """

    mine: bool
    certain: bool


@contextmanager
def lock_file(path: Path, *, wait_for: str = "") -> Iterator[Hold]:
    """Hold a lock while the block runs. The operating system releases it when the process ends, even if it is killed.

    Parameters
    ----------
    path : Path
        The lock file. It is made, and removed at the end; one that a killed process has left is taken over. On network
        file systems the lock holds across machines if the server supports that, as NFS does.
    wait_for : str
        Name of the thing that the lock protects. While another process holds the lock, this one waits, and logs that
        once. If empty, it does not wait: the block runs with `Hold.mine` False.

    Raises
    ------
    OutputError
        The file cannot be made.
    """
    told = False
    while True:
        handle, locked = _open(path), None
        try:
            locked = _lock(handle)
            if locked and not _is_at(handle, path):
                continue  # the last owner has just removed the file
            if locked is not False:
                _sign(handle)
            if locked is not False or not wait_for:
                yield Hold(mine=locked is not False, certain=locked is True)
                return
            if not told:
                holder = os.read(handle, 200).decode("utf-8", "replace") or "another process"
                _LOG.warning("%s: is being written by %s; waiting for it", wait_for, holder)
                told = True
        finally:
            _close(handle, path, remove=locked is not False)
        time.sleep(_POLL_SECONDS)


def _open(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        where = f"{path.parent}: cannot be written ({reason_of(error)})"
        raise OutputError(f"{where}; check the folder and the disk") from error
    if sys.platform != "win32":
        with suppress(OSError):  # the file of another user
            os.fchmod(handle, 0o666)  # so that others who share the folder can take over the file of a killed process
    return handle


def _sign(handle: int) -> None:
    """Write into the file which process has the lock."""
    with suppress(OSError):  # a full disk
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _close(handle: int, path: Path, *, remove: bool) -> None:
    removed = False
    if remove and _is_at(handle, path):
        with suppress(OSError):  # Windows does not remove open files
            path.unlink()
            removed = True
    os.close(handle)
    if remove and not removed and sys.platform == "win32":
        with suppress(OSError):  # another process may have opened it by now
            path.unlink()


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool | None:
        """Try to lock; None where the file system has no locks."""
        os.lseek(handle, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool | None:
        """Try to lock; None where the file system has no locks."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
