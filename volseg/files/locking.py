"""A lock that one process at a time holds, and that ends with its process, however that ends."""

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
_BYTE = 1 << 30  # where Windows locks; far behind what the file says


@dataclass(frozen=True)
class Hold:
    """What a lock file gave.

    Parameters
    ----------
    mine : bool
        Whether this process may go on.
    certain : bool
        Whether no other process can think so, too; False on file systems without locks.
    """

    mine: bool
    certain: bool


@contextmanager
def lock_file(path: Path, *, wait_for: str = "") -> Iterator[Hold]:
    """Hold a lock while the block runs. The operating system lets it go when the process ends, also when it is killed.

    Parameters
    ----------
    path : Path
        A file that stands for the lock. It is made, and removed at the end; one that a killed process has left is
        taken over. On network file systems it holds across machines where the server passes locks on, as NFS does.
    wait_for : str
        Name of what it guards; while another process holds it, this one waits, and says so once. If empty, it does not
        wait, and the block gets a hold that is not its own.

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
                continue  # its last owner has just removed it
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
        with suppress(OSError):  # somebody else's
            os.fchmod(handle, 0o666)  # so that whoever shares the folder can take over what a killed process has left
    return handle


def _sign(handle: int) -> None:
    """Say in the file who has it."""
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
        with suppress(OSError):  # Windows removes no open file
            path.unlink()
            removed = True
    os.close(handle)
    if remove and not removed and sys.platform == "win32":
        with suppress(OSError):  # unless another process has opened it by now
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
