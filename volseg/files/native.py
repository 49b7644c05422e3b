"""Native code that talks to the terminal instead of its caller, or takes memory without end."""

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
    """What was printed, once that is over."""

    text: str = field(default="")


@contextmanager
def quiet_stderr() -> Iterator[Printed]:
    """Catch what native code prints on stderr: to the file descriptor, past every switch of its library.

    Of threads one at a time; what another prints meanwhile is caught too.
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
    """Open a file for what is printed: in memory where there are such, as C++ prints no more once a disk was full."""
    make = getattr(os, "memfd_create", None)  # on Linux
    return os.fdopen(make("printed"), "w+b") if make else tempfile.TemporaryFile()


def limit_memory(more: int) -> None:
    """Let this process take at most so many bytes beyond those that it has; only Linux does."""
    if resource is None or not _MEMORY.exists():
        return
    pages = int(_MEMORY.read_text(encoding="ascii").split()[0])
    _, highest = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + more
    resource.setrlimit(
        resource.RLIMIT_AS, (wanted if highest == resource.RLIM_INFINITY else min(wanted, highest), highest)
    )
