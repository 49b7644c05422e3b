"""Ending a command from outside: SIGTERM, which clusters and containers send, works like Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Stop:
    """Handles a signal by an interrupt, and remembers it, as libraries may turn an interrupt into other errors."""

    came = False

    def __call__(self, number: int, frame: Any) -> None:
        # Another SIGTERM must not interrupt the clean-up.
        if number == signal.SIGINT or not self.came:
            self.came = True
            raise KeyboardInterrupt


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt while the block runs, so that unfinished files are removed.

    An error that leaves the block after a signal counts as the interrupt. A signal that is already ignored or handled
    stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _Stop()
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: handler for number, handler in usual.items() if signal.getsignal(number) == handler}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if stop.came:
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_stopped() -> None:
    """Interrupt if a signal has come, but the interrupted code went on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if isinstance(handler, _Stop) and handler.came:
            raise KeyboardInterrupt
