"""All cores for VTK's filters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from vtkmodules.vtkCommonCore import vtkSMPTools


@contextmanager
def all_cores() -> Iterator[None]:
    """Let VTK's filters run on threads, which its wheels do not by themselves; results are the same to the bit.

    Afterwards VTK is as it was. Where the environment variable ``VTK_SMP_BACKEND_IN_USE`` says what to use, nothing is
    changed; ``VTK_SMP_MAX_THREADS`` limits the threads.
    """
    before = vtkSMPTools.GetBackend()
    if "VTK_SMP_BACKEND_IN_USE" not in os.environ:
        vtkSMPTools.SetBackend("STDThread")
    try:
        yield
    finally:
        vtkSMPTools.SetBackend(before)
