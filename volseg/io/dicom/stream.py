"""The bytes of a DICOM object as pydicom reads them: never more than exist, unpacked only as far as they are read.

An element may claim any length up to 4 GB, and pydicom takes that much memory before it reads. A header may also hold
more elements than anybody can wait for.
"""

from __future__ import annotations

import os
from typing import Protocol

_LARGE = 1 << 16
_SMALLEST_CHUNK, _LARGEST_CHUNK = 1 << 16, 1 << 24
# Headers of some ten thousand frames come near: they take about 100 reads a frame.
_MOST_READS = 6_000_000


class SwollenError(OSError):
    """A compressed object becomes far larger than scans do."""


class ReadableStream(Protocol):
    """A stream that is read from its beginning to its end."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to so many bytes, or all that are left."""

    def close(self) -> None:
        """Close it."""


class SeekableStream(ReadableStream, Protocol):
    """The methods of a file that pydicom needs."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, and return it."""

    def tell(self) -> int:
        """Return the place of the next byte."""


class ReadBudget:
    """How often streams may still be read that share it."""

    def __init__(self) -> None:
        self.left = _MOST_READS


class BoundedStream:
    """A stream that gives at most what there is, and so many times.

    Parameters
    ----------
    stream : SeekableStream
        Belongs to this one, which closes it.
    size : int
        How many bytes it has, at most.
    budget : ReadBudget, optional
        By default one of its own.
    """

    def __init__(self, stream: SeekableStream, size: int, budget: ReadBudget | None = None) -> None:
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close
        self._read, self._size, self._budget = stream.read, size, budget or ReadBudget()

    def read(self, size: int = -1, /) -> bytes:
        """Read up to so many bytes, or all that are left.

        Raises
        ------
        ValueError
            It was read more often than any header needs.
        """
        self._budget.left -= 1
        if self._budget.left < 0:
            raise ValueError(f"its header takes more than {_MOST_READS} reads; expected fewer elements")
        if size > _LARGE:
            size = min(size, max(self._size - self.tell(), 0))
        return self._read(size)

    def __enter__(self) -> BoundedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class UnpackedStream:
    """A seekable stream of unpacked data, which are unpacked once, and only as far as they are read.

    Parameters
    ----------
    packed : ReadableStream
        Gives plain bytes, from the first one on; belongs to this one, which closes it.
    size : int
        How many bytes it becomes, at most.
    most : int
        How many it may become.
    """

    def __init__(self, packed: ReadableStream, size: int, most: int) -> None:
        self.close = packed.close
        self._packed, self._size, self._most = packed, size, most
        self._data, self._place = bytearray(), 0

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, and return it; nothing is unpacked, unless it is counted from the end."""
        if whence == os.SEEK_END:
            self._fill(self._size)
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence, len(self._data))
        self._place = max(start + offset, 0)
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        """Read up to so many bytes, or all that are left.

        Raises
        ------
        SwollenError
            More would be unpacked than may be.
        """
        end = self._size if size < 0 else self._place + size
        if end > len(self._data):
            self._fill(end)
        found = bytes(memoryview(self._data)[self._place : end])
        self._place += len(found)
        return found

    def _fill(self, end: int) -> None:
        """Unpack up to a place, or to the end."""
        end = min(end, self._size)
        while len(self._data) < end and len(self._data) <= self._most:
            wanted = min(max(end - len(self._data), _SMALLEST_CHUNK), _LARGEST_CHUNK)
            # A byte more than may be tells too many from as many.
            chunk = self._packed.read(min(wanted, self._most + 1 - len(self._data)))
            if not chunk:
                return
            self._data += chunk
        if len(self._data) > self._most:
            raise SwollenError(
                f"unpacks to more than {self._most} bytes, as a decompression bomb does; if that is right, unpack it "
                "first"
            )
