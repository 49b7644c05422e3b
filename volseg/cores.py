"""How many processor cores there are to use."""

from __future__ import annotations

import os


def count_cores() -> int:
    """Count the cores that this process may use: a cluster lends only some of a machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
