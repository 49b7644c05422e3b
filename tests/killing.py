"""A process that is killed at one of its file events, as by power failure or the system's out-of-memory killer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.chmod", "os.truncate", "os.symlink"}


def run_and_kill(work: Callable[[], object], folder: Path, at: int) -> bool:
    """Do some work in a process of its own, and kill that before it changes something in a folder for the n-th time.

    Returns
    -------
    bool
        Whether it was killed; if not, it has come to its end.
    """
    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(_killer(str(folder), at))
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 (a child must not go on with the tests)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _killer(folder: str, at: int) -> Callable[[str, tuple[Any, ...]], None]:
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        # Functions that remove whole folders name the files relative to them.
        inside = event in ("os.remove", "os.rmdir") and arguments[-1] != -1
        if (writes or event in EVENTS) and (inside or folder in str(arguments[0])):
            count += 1
            if count > at:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
