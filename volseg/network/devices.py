"""Where and how networks run."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager

import torch

from volseg.errors import UsageError

_BETWEEN_TRIALS_SECONDS = 20


def choose_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ... into a device that works.

    Parameters
    ----------
    name : str
        ``auto`` or any torch device.

    Raises
    ------
    UsageError
        No such kind of device, or it is not usable on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"--device {name}: cannot be used here ({reason}); what works is {', '.join(_usable())}"
        ) from error
    return device


def _usable() -> list[str]:
    """Name the devices of this machine, of the kinds that are asked for most."""
    return ["auto", "cpu", *every_gpu(), *(["mps"] if torch.backends.mps.is_available() else [])]


class Threads:
    """Gives torch as many threads as are quickest on the CPU just now: all, half of them, or one.

    Threads wait for each other: beside another busy process, two of them on two cores were 24 times slower than one
    (`benchmarks/threads.py`). For commands: a program that uses volseg chooses for itself.
    """

    def __init__(self) -> None:
        self.most = torch.get_num_threads()
        self.next_trial = 0.0

    def adjust(self) -> None:
        """Try them out, but not again within 20 seconds, and not where ``OMP_NUM_THREADS`` says how many."""
        if "OMP_NUM_THREADS" in os.environ or time.monotonic() < self.next_trial:
            return
        images, kernels, seconds = torch.ones(8, 16, 96, 96), torch.ones(16, 16, 3, 3), {}
        for count in sorted({1, max(1, self.most // 2), self.most}):
            torch.set_num_threads(count)
            torch.conv2d(images, kernels)  # starts the threads
            start = time.perf_counter()
            for _ in range(10):
                torch.conv2d(images, kernels)
            seconds[count] = time.perf_counter() - start
        torch.set_num_threads(min(seconds, key=lambda count: seconds[count]))
        self.next_trial = time.monotonic() + _BETWEEN_TRIALS_SECONDS


def every_gpu() -> list[str]:
    """Name every CUDA GPU."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is computed natively: otherwise it saves no time, on CPUs it costs some."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        abilities = torch.cpu.get_capabilities()
        return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return False


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which networks run: bfloat16 on devices where it is fast, else float32.

    Parameters
    ----------
    device : torch.device
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_fast_bf16(device))
