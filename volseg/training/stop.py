"""Ending a training from outside so that it can go on later as if it had never been ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Stop:
    """Whether somebody has asked for an end.

    Parameters
    ----------
    at_once : bool
        Raise KeyboardInterrupt where the question comes; otherwise `heed` does, where everything is in order.
    """

    at_once: bool = False
    asked: bool = False

    def ask(self) -> None:
        """Ask for an end."""
        self.asked = True
        if self.at_once:
            raise KeyboardInterrupt

    def heed(self) -> None:
        """Raise KeyboardInterrupt if somebody has asked."""
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, by which clusters end programs, ask `stop` for an end while the block runs.

    After the first of them only another Ctrl-C counts: it raises KeyboardInterrupt at once. Outside the main thread,
    where no signals are, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def take(number: int, frame: Any) -> None:
        for taken in before:
            signal.signal(taken, signal.default_int_handler if taken == signal.SIGINT else signal.SIG_IGN)
        stop.ask()

    # What is ignored stays so: shells let what runs in the background ignore the Ctrl-C for what is in front.
    numbers = [number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, take) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
