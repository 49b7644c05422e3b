"""Stopping a training by a signal so that it can be resumed as if it had never been stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Stop:
    """Whether a signal has asked to stop.

    Parameters
    ----------
    at_once : bool
        Raise KeyboardInterrupt as soon as the signal comes; otherwise `heed` raises it, between two steps.
    asked : bool
    """

    at_once: bool = False
    asked: bool = False

    def ask(self) -> None:
        """Ask to stop."""
        self.asked = True
        if self.at_once:
            raise KeyboardInterrupt

    def heed(self) -> None:
        """Raise KeyboardInterrupt if a signal has asked to stop."""
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, by which clusters end programs, ask `stop` while the block runs.

    After the first signal only another Ctrl-C counts: it raises KeyboardInterrupt at once. Outside the main thread
    Python handles no signals, and nothing is changed.

    Parameters
    ----------
    stop : Stop
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def take(number: int, frame: Any) -> None:
        for taken in before:
            signal.signal(taken, signal.default_int_handler if taken == signal.SIGINT else signal.SIG_IGN)
        stop.ask()

    # An ignored signal stays ignored: shells let background commands ignore the Ctrl-C that is meant for another.
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
