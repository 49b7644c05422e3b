"""The digest of a model file: SHA-256 of all its bytes, kept inside it in a place that counts as zeros.

A safetensors file is a length of 8 bytes, a JSON header (names, places and shapes of the tensors, and metadata) and the
tensors' bytes. A digest of the tensors alone does not notice when names, labels or settings are exchanged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

OPEN = "0" * 64
_LENGTH_BYTES = 8
_LONGEST_HEADER = 1 << 24  # bytes; one of 15 networks has 150,000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Digests:
    """SHA-256 of a file, in hexadecimal digits: of `everything`, and of the tensors' bytes alone."""

    everything: str
    tensors: str


def seal(blob: bytes) -> bytes:
    """Return a file whose metadata hold `OPEN` as their entry ``digest``, with its digest there.

    Parameters
    ----------
    blob : bytes
        The whole file.
    """
    return blob.replace(_entry(OPEN), _entry(hashlib.sha256(blob).hexdigest()), 1)


def compute_digests(path: Path, sealed_with: str = OPEN) -> Digests:
    """Compute the digests of a file; the place where it keeps its own, `sealed_with`, counts as zeros.

    Parameters
    ----------
    path : Path
    sealed_with : str
        The digest that the file holds.
    """
    tensors = hashlib.sha256()
    with path.open("rb") as stream:
        start, header = _read_header(stream)
        everything = hashlib.sha256(start + header.replace(_entry(sealed_with), _entry(OPEN), 1))
        while chunk := stream.read(_CHUNK):
            tensors.update(chunk)
            everything.update(chunk)
    return Digests(everything.hexdigest(), tensors.hexdigest())


def check_header(path: Path) -> None:
    """See that the header of a file is no longer than any should be, before it is parsed.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        It is longer.
    """
    with path.open("rb") as stream:
        _read_header(stream)


def _read_header(stream: BinaryIO) -> tuple[bytes, bytes]:
    start = stream.read(_LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes; expected at most {_LONGEST_HEADER}")
    return start, stream.read(length)


def _entry(digest: str) -> bytes:
    # As JSON inside JSON has it. No text inside can look so: its quotes are escaped twice.
    return f'\\"digest\\": \\"{digest}\\"'.encode()
