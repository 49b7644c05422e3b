"""Marks in file names that say which process made a file, and whether that process has ended."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from functools import lru_cache
from pathlib import Path

_STILL_RUNNING = 258  # WAIT_TIMEOUT
_NO_SUCH_PROCESS = 87  # ERROR_INVALID_PARAMETER
_SYNCHRONIZE = 0x00100000


def process_mark() -> str:
    """Return a mark for file names, of letters, digits and ``-``, that is unique to this process."""
    return f"{_machine()}-{os.getpid()}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark has certainly ended.

    That is known only of processes on this machine, in this container, since the last start of the machine.

    Parameters
    ----------
    mark : str
        From `process_mark`.
    """
    machine, _, number = mark.rpartition("-")
    return machine == _machine() and number.isdecimal() and not _is_running(int(number))


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return 8 hex digits for this machine, its last start and, in a container, the container."""
    told = [platform.node()]
    for name in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            told.append(os.readlink(name) if name.endswith("pid") else Path(name).read_text(encoding="ascii"))  # noqa: PTH115
        except OSError:  # only Linux has these files
            continue
    return hashlib.sha256("\n".join(told).encode("utf-8", "replace")).hexdigest()[:8]


if sys.platform == "win32":

    def _is_running(number: int) -> bool:
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = kernel.OpenProcess(_SYNCHRONIZE, False, number)
        if not handle:
            return ctypes.get_last_error() != _NO_SUCH_PROCESS
        try:
            return bool(kernel.WaitForSingleObject(handle, 0) == _STILL_RUNNING)
        finally:
            kernel.CloseHandle(handle)

else:

    def _is_running(number: int) -> bool:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):  # the process of another user, or a number that no process has
            return True
        return True
