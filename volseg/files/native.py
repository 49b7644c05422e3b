"""Limits for native code: its output on the terminal is caught, and its memory is bounded."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MEMORY = Path("/proc/self/statm")
_STDERR_LOCK = threading.Lock()


@dataclass
class Printed:
    """The text that was printed; set at the end of the block."""

    text: str = field(default="")


@contextmanager
def quiet_stderr() -> Iterator[Printed]:
    """Catch the output of native code on stderr at the file descriptor, which no setting of its library can prevent.

    One thread at a time enters the block; output of other threads in the meantime is caught too.
    """
    printed = Printed()
    with _STDERR_LOCK, _captured() as capture:
        saved = os.dup(2)
        os.dup2(capture.fileno(), 2)
        try:
            yield printed
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            capture.seek(0)
            printed.text = capture.read().decode("utf-8", errors="replace")


def _captured() -> IO[bytes]:
    """Open a file for the output; in memory if possible, as C++ stops printing for good once a disk was full."""
    make = getattr(os, "memfd_create", None)  # on Linux
    return os.fdopen(make("printed"), "w+b") if make else tempfile.TemporaryFile()


def limit_memory(more: int) -> None:
    """Limit the memory of this process; has an effect only on Linux.

    Parameters
    ----------
    more : int
        Number of bytes beyond those in use now.
    """
    if resource is None or not _MEMORY.exists():
        return
    pages = int(_MEMORY.read_text(encoding="ascii").split()[0])
    _, highest = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + more
    resource.setrlimit(
        resource.RLIMIT_AS, (wanted if highest == resource.RLIM_INFINITY else min(wanted, highest), highest)
    )
