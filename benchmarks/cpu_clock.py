"""What benchmarks measure of a process: CPU time with its finished children, as machines are shared, and memory."""

import os
import time
from pathlib import Path


def cpu_seconds() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def peak_mib() -> float:
    """Return the peak memory of this process alone; that of `resource` begins with what its parent had."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")
