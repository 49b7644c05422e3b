"""The state of a training run between two sittings: one file, written whole, read without unpickling objects.

It is a line that names the format, a line with the SHA-256 of what follows, and what `torch.save` writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from volseg.errors import DAMAGE, InputError
from volseg.files.atomic import atomic_path
from volseg.files.regular import regular_file

_FORMAT = b"volseg checkpoint 2\n"
_WITHOUT_DIGEST = b"PK"  # format 1 was what torch.save writes
_DIGEST_LINE = 65  # bytes
_DAMAGE: tuple[type[Exception], ...] = (UnpicklingError, *DAMAGE)


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values atomically.

    Parameters
    ----------
    state : dict
        Tensors and plain values.
    path : Path
    """
    # Through memory: torch's own writer reports a full disk as a RuntimeError that names no file.
    buffer = BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_FORMAT + hashlib.sha256(content).hexdigest().encode() + b"\n")
        stream.write(content)


@contextmanager
def opened_checkpoint(path: Path, device: torch.device) -> Iterator[dict[str, Any]]:
    """Open a checkpoint and give its state to the block, whose failures to take it over become one error.

    Parameters
    ----------
    path : Path
    device : torch.device
        Where the tensors are loaded to.

    Raises
    ------
    InputError
        The file is damaged, is something else, or does not fit the run.
    """
    regular_file(path)
    try:
        yield torch.load(BytesIO(_read(path)), map_location=device, weights_only=True)
    except _DAMAGE as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: is not a usable checkpoint ({reason}); put back a copy of it that is whole, or start anew in "
            "another folder"
        ) from error


def _read(path: Path) -> bytes:
    """Return what follows the digest, once it matches."""
    with path.open("rb") as stream:
        mark = stream.read(len(_FORMAT))
        if mark.startswith(_WITHOUT_DIGEST):
            raise ValueError("an older volseg wrote it, without a digest; that one can go on with it")
        if mark != _FORMAT:
            raise ValueError("it does not begin as a checkpoint of this version does")
        digest, content = stream.read(_DIGEST_LINE), stream.read()
    if digest != hashlib.sha256(content).hexdigest().encode() + b"\n":
        raise ValueError("it does not match its digest, so it is damaged or cut off")
    return content
