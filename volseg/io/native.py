"""Native code that talks to the terminal instead of its caller."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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
    with _STDERR_LOCK, tempfile.TemporaryFile() as capture:
        saved = os.dup(2)
        os.dup2(capture.fileno(), 2)
        try:
            yield printed
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            capture.seek(0)
            printed.text = capture.read().decode("utf-8", errors="replace")
