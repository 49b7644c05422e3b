"""All cores for VTK's filters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from vtkmodules.vtkCommonCore import vtkSMPTools

_WORTH = 100_000  # voxels or points: below, handing work to threads takes longer than the work


class _Users:
    """How many callers want threads just now, and what VTK is to return to after the last of them."""

    def __init__(self) -> None:
        self.lock, self.count, self.before = Lock(), 0, vtkSMPTools.GetBackend()

    def enter(self) -> None:
        with self.lock:
            if self.count == 0:
                self.before = vtkSMPTools.GetBackend()
                vtkSMPTools.SetBackend("STDThread")
            self.count += 1

    def leave(self) -> None:
        with self.lock:
            self.count -= 1
            if self.count == 0:
                vtkSMPTools.SetBackend(self.before)


_users: _Users | None = _Users()


def _give_up_threads() -> None:
    """In a forked process VTK's threads are not there, and it would wait for them for ever."""
    global _users
    _users = None
    vtkSMPTools.SetBackend("Sequential")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up_threads)


@contextmanager
def all_cores(size: int) -> Iterator[None]:
    """Let VTK's filters run on threads, which its wheels do not by themselves; results are the same to the bit.

    Afterwards VTK is as it was. Where the environment variable ``VTK_SMP_BACKEND_IN_USE`` says what to use, nothing is
    changed; ``VTK_SMP_MAX_THREADS`` limits the threads.

    Parameters
    ----------
    size : int
        Voxels or points to be worked on; for few of them nothing is changed.
    """
    users = None if size < _WORTH or "VTK_SMP_BACKEND_IN_USE" in os.environ else _users
    if users:
        users.enter()
    try:
        yield
    finally:
        if users:
            users.leave()
