"""Training steps with all threads and with one, alone and beside another process that keeps one core busy.

    python benchmarks/threads.py [SECONDS]

The steps are those of the demo's network on 8 slices of 96 x 96, for 10 seconds each. The script prints medians.
"""

import os
import statistics
import subprocess
import sys
import time

import torch

from volseg.config import load_config
from volseg.network.devices import Threads
from volseg.training.step import Learner

BUSY = """
import torch
torch.set_num_threads(1)
x, w = torch.randn(16, 24, 96, 96), torch.randn(24, 24, 3, 3)
while True:
    torch.conv2d(x, w)
"""
SETTINGS = ("network.width=16", "network.levels=4", "training.batch_size=8", "training.slice_size=[96,96,24]")


def median_ms(seconds: float, *, chosen: bool = False) -> float:
    """Median milliseconds of a step; `chosen` lets volseg choose the threads, as its commands do."""
    torch.manual_seed(0)
    learner = Learner(load_config(overrides=SETTINGS), "axial", channels=1, labels=6, device=torch.device("cpu"))
    images, classes, threads, times = torch.randn(8, 3, 96, 96), torch.randint(0, 7, (8, 96, 96)), Threads(), []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 3:
        if chosen:
            threads.adjust()
        start = time.perf_counter()
        learner.step(images, classes, 0.1)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main(seconds: float) -> None:
    every = torch.get_num_threads()
    for beside in (False, True):
        busy = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) if beside else None
        try:
            time.sleep(1)
            for name, count, chosen in (
                (f"{every} threads", every, False),
                ("1 thread", 1, False),
                ("chosen", every, True),
            ):
                torch.set_num_threads(count)
                where = "beside a busy process" if beside else "alone"
                print(f"{where}, {name}: {median_ms(seconds, chosen=chosen):.0f} ms", flush=True)
        finally:
            if busy:
                busy.kill()


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS"):
        sys.exit("OMP_NUM_THREADS is set; unset it")
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
