"""Ending a command from outside: SIGTERM, by which clusters and containers do it, is taken like Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Stop:
    """What is done at a signal: interrupt, and remember it, as libraries make errors of their own of an interrupt."""

    came = False

    def __call__(self, number: int, frame: Any) -> None:
        # Another SIGTERM does not cut the tidying short.
        if number == signal.SIGINT or not self.came:
            self.came = True
            raise KeyboardInterrupt


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt while the block runs, so that what is half done is tidied away.

    An error that leaves the block after a signal is the interrupt, too. What is ignored, or handled already, stays so.
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
    """Interrupt, if a signal has come and what it interrupted has gone on all the same."""
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if isinstance(handler, _Stop) and handler.came:
            raise KeyboardInterrupt
