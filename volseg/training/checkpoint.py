"""The state of a training run between two sittings: one file, written whole, read without unpickling objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from volseg.errors import InputError
from volseg.io.atomic import atomic_path


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values atomically."""
    # Through memory: torch's own writer reports a full disk as a RuntimeError that names no file.
    buffer = BytesIO()
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


@contextmanager
def opened_checkpoint(path: Path, device: torch.device) -> Iterator[dict[str, Any]]:
    """Give the state of a checkpoint to whoever takes it over; what does not fit is one error.

    Raises
    ------
    InputError
        The file is damaged, is something else, or does not fit the run.
    """
    try:
        yield torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError, UnpicklingError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: is not a usable checkpoint ({reason}); start anew in another folder") from error
