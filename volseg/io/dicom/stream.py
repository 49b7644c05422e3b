"""Streams of a DICOM object for pydicom: never longer than the data, and unpacked only as far as they are read.

An element may claim any length up to 4 GB, and pydicom allocates that much memory before it reads. A header may also
have so many elements that reading them would take hours.
"""

from __future__ import annotations

import os
from typing import Protocol

_LARGE = 1 << 16
_SMALLEST_CHUNK, _LARGEST_CHUNK = 1 << 16, 1 << 24
# Headers of about ten thousand frames come close to this, with about 100 reads for each frame.
_MOST_READS = 6_000_000


class SwollenError(OSError):
    """A compressed object unpacks to far more than a scan."""


class ReadableStream(Protocol):
    """A stream that is read from its beginning to its end."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes, or all the rest."""

    def close(self) -> None:
        """Close it."""


class SeekableStream(ReadableStream, Protocol):
    """The methods of a file that pydicom needs."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, and return it."""

    def tell(self) -> int:
        """Return the position of the next byte."""


class ReadBudget:
    """Number of reads left for all streams that share it."""

    def __init__(self) -> None:
        self.left = _MOST_READS


class BoundedStream:
    """A stream with a limit on its length and on the number of reads.

    Parameters
    ----------
    stream : SeekableStream
        The data; this stream closes it.
    size : int
        Largest number of bytes.
    budget : ReadBudget, optional
        The limit of reads; the default is a new one.
    """

    def __init__(self, stream: SeekableStream, size: int, budget: ReadBudget | None = None) -> None:
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close
        self._read, self._size, self._budget = stream.read, size, budget or ReadBudget()

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes, or all the rest.

        Raises
        ------
        ValueError
            There were more reads than any header needs.
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
    """A seekable stream of unpacked data; they are unpacked once, and only as far as they are read.

    Parameters
    ----------
    packed : ReadableStream
        Gives unpacked bytes from the first one on; this stream closes it.
    size : int
        Largest number of unpacked bytes.
    most : int
        Allowed number of unpacked bytes.
    """

    def __init__(self, packed: ReadableStream, size: int, most: int) -> None:
        self.close = packed.close
        self._packed, self._size, self._most = packed, size, most
        self._data, self._place = bytearray(), 0

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, and return it; data are unpacked only if it is counted from the end."""
        if whence == os.SEEK_END:
            self._fill(self._size)
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence, len(self._data))
        self._place = max(start + offset, 0)
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes, or all the rest.

        Raises
        ------
        SwollenError
            The data unpack to more than is allowed.
        """
        end = self._size if size < 0 else self._place + size
        if end > len(self._data):
            self._fill(end)
        found = bytes(memoryview(self._data)[self._place : end])
        self._place += len(found)
        return found

    def _fill(self, end: int) -> None:
        """Unpack up to a position, or to the end."""
        end = min(end, self._size)
        while len(self._data) < end and len(self._data) <= self._most:
            wanted = min(max(end - len(self._data), _SMALLEST_CHUNK), _LARGEST_CHUNK)
            # One byte more than allowed, so that an excess is noticed.
            chunk = self._packed.read(min(wanted, self._most + 1 - len(self._data)))
            if not chunk:
                return
            self._data += chunk
        if len(self._data) > self._most:
            raise SwollenError(
                f"unpacks to more than {self._most} bytes, as a decompression bomb does; if that is right, unpack it "
                "first"
            )
