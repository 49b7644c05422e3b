"""Plain or gzipped files. The content, not the name, decides which; a decompression bomb is refused.

gzip is read and written by ISA-L where it is installed. It is twice as quick as zlib, reads the same files and refuses
the same ones, and what it writes is as small (`benchmarks/gzip_files.py`).
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path

from volseg.errors import DAMAGE, InputError
from volseg.files.names import has_suffix
from volseg.files.regular import regular_file

GzipFile, _DAMAGE = gzip.GzipFile, DAMAGE
with suppress(ImportError):  # there is no wheel for every machine
    from isal import igzip, isal_zlib

    GzipFile, _DAMAGE = igzip.IGzipFile, (isal_zlib.error, *DAMAGE)

_LOG = logging.getLogger(__name__)
# Measured on CT and label maps: level 2 takes 10 % longer than 1 and makes label maps 15 % smaller; 6 takes 2.6x.
_GZIP_LEVEL = 2
GZIP_MARK = b"\x1f\x8b"
_GIB = 1 << 30
# Deflate expands one byte to at most 1,032 (https://zlib.net/zlib_tech.html). Zeros come near; scans are at 2 to 10.
MAX_DEFLATE_RATIO = 1032
# Scans compress up to 10-fold, nearly empty ones and sparse label maps more, but not if they are large.
_PER_BYTE = 50
_LONGEST_TAIL = 1 << 26
_CHUNK = 1 << 24


def most_unpacked(there: int, *, always: int = _GIB) -> int:
    """Return how many bytes a compressed file may become.

    Parameters
    ----------
    there : int
        Size of the file, bytes.
    always : int
        Size that is always allowed, bytes.
    """
    return always + _PER_BYTE * there


@contextmanager
def compressed(file: BufferedIOBase, path: Path) -> Iterator[BufferedIOBase]:
    """Give a stream to write to: the file, or a gzip stream into it.

    Parameters
    ----------
    file : binary stream
        Open for writing.
    path : Path
        The stream is gzipped if this name ends in ``.gz``.
    """
    if not has_suffix(path, (".gz",)):
        yield file
        return
    # Without name and time, so that equal images give equal files.
    with GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0) as stream:
        yield stream


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """Open a plain or gzipped file for reading; any failure while it is open becomes one InputError.

    Parameters
    ----------
    path : Path
    """
    regular_file(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == GZIP_MARK
            file.seek(0)
            yield GzipFile(fileobj=file) if zipped else file
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: cannot be read, damaged or cut off ({reason})") from error


def read_exactly(stream: BufferedIOBase, size: int) -> bytes:
    """Read a number of bytes.

    Parameters
    ----------
    stream : binary stream
    size : int
        Number of bytes.

    Raises
    ------
    EOFError
        The stream has fewer.
    """
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"{size - len(content)} bytes are missing")
    return content


def check_promise(path: Path, needed: int, there: int, *, zipped: bool) -> None:
    """Refuse voxels that the file cannot hold, or that are out of proportion to it, before memory is taken.

    Parameters
    ----------
    path : Path
        The file, for messages.
    needed, there : int
        Bytes that the header asks for, and bytes in the file.
    zipped : bool
        Whether the voxels are deflated.

    Raises
    ------
    InputError
        The header asks for more than the file can hold, or than `most_unpacked` allows.
    """
    if needed > (MAX_DEFLATE_RATIO if zipped else 1) * there:
        raise InputError(
            f"{path}: its header asks for {needed} bytes, the file has {there}{' compressed' if zipped else ''}; it is "
            "cut off or damaged"
        )
    check_growth(path, needed, there)


def check_growth(path: Path, needed: int, there: int, *, always: int = _GIB) -> None:
    """Refuse content that is far larger than its compressed file; see `most_unpacked`.

    Parameters
    ----------
    path : Path
        The file, for messages.
    needed, there : int
        Bytes of the content, and bytes in the file.
    always : int
        Size that is always allowed, bytes.
    """
    if needed > most_unpacked(there, always=always):
        raise InputError(
            f"{path}: {there} bytes would become {needed / _GIB:.1f} GiB, {needed // max(there, 1)} times as much; if "
            "that is right, give the file uncompressed (gunzip it, or save it again without compression)"
        )


def read_tail(stream: BufferedIOBase, path: Path, *, after: int = 0) -> None:
    """Read a gzip stream to its end, where its checksum is; a plain file has no checksum, and is not read further.

    Parameters
    ----------
    stream : binary stream
        At the end of the voxels.
    path : Path
        The file, for messages.
    after : int
        Number of bytes that are known to follow. At most 64 MiB more are read, so that a bomb behind the voxels is
        harmless.
    """
    if not isinstance(stream, gzip.GzipFile):
        return
    passed = 0
    while content := stream.read(_CHUNK):
        passed += len(content)
        if passed > after + _LONGEST_TAIL:
            _LOG.warning(
                "%s: more than %d MiB follow the voxels; they are ignored, and the file's checksum is not checked",
                path,
                _LONGEST_TAIL >> 20,
            )
            return


def check_deflated(path: Path, *, start: int, stored: int | None, size: int) -> None:
    """Read a zlib stream to its end, to see that it is whole.

    Parameters
    ----------
    path : Path
        The file.
    start : int
        Byte at which the stream begins.
    stored : int, optional
        Bytes of the file that belong to it; all the others, if it is not given.
    size : int
        Bytes that it has to hold.

    Raises
    ------
    One of `volseg.errors.DAMAGE`
        It is damaged, cut off, or holds less.
    """
    unpacker, found = zlib.decompressobj(), 0
    with path.open("rb") as stream:
        stream.seek(start)
        left = path.stat().st_size if stored is None else stored
        while not unpacker.eof:
            packed = unpacker.unconsumed_tail
            if not packed:
                packed = stream.read(min(left, _CHUNK))
                left -= len(packed)
            if not packed:
                break
            found += len(unpacker.decompress(packed, _CHUNK))
    found += len(unpacker.flush())
    if not unpacker.eof:
        raise EOFError("the compressed voxels are cut off")
    if found < size:
        raise EOFError(f"{size - found} bytes of the voxels are missing")
