"""Where and how networks run."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from volseg.errors import UsageError


def choose_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ... into a device that works.

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
        raise UsageError(f"--device {name}: cannot be used here ({reason}); try auto, cpu or cuda") from error
    return device


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
    """Return the context in which networks run: bfloat16 where it pays, else float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_fast_bf16(device))
