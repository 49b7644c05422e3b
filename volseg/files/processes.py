"""Which process a file name says that it comes from, and whether that one is certainly gone."""

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
    """Return letters, digits and ``-`` for a file name that tell this process from all others."""
    return f"{_machine()}-{os.getpid()}"


def is_gone(mark: str) -> bool:
    """Whether the process of a mark has ended for certain: it ran on this machine, as it was started last.

    Of a process on another machine or in another container nothing is known, so it is not gone.
    """
    machine, _, number = mark.rpartition("-")
    return machine == _machine() and number.isdecimal() and not _is_running(int(number))


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return 8 hex digits for this machine as it was started last and, in a container, for its own process numbers."""
    told = [platform.node()]
    for name in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            told.append(os.readlink(name) if name.endswith("pid") else Path(name).read_text(encoding="ascii"))  # noqa: PTH115
        except OSError:  # there are such files on Linux alone
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
        except (OSError, OverflowError):  # somebody else's, or no number that a process has
            return True
        return True
