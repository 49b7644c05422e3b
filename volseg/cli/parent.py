"""A command that another process of volseg started ends with that process, even if that is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

_GRACE_SECONDS = 60  # to save a checkpoint in
_INTERRUPTED = 130


def stop_with_parent() -> None:
    """End this process, by SIGTERM, as soon as standard input ends.

    Standard input is a pipe. The parent holds its other end and never writes to it. The operating system closes that
    end when the parent ends, even if it is killed.
    """
    threading.Thread(target=_watch, daemon=True, name="parent").start()


def _watch() -> None:
    while os.read(0, 1):  # not sys.stdin: Python cannot end while a thread waits on it
        pass
    signal.raise_signal(signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(_INTERRUPTED)
