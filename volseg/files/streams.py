"""Plain or gzipped files; when read, the content says which, not the name, and a file that swells is refused."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from volseg.errors import DAMAGE, InputError
from volseg.files.names import has_suffix
from volseg.files.regular import regular_file

_LOG = logging.getLogger(__name__)
# Measured on CT and label maps: level 2 takes 10 % longer than 1 and makes label maps 15 % smaller; 6 takes 2.6x.
_GZIP_LEVEL = 2
GZIP_MARK = b"\x1f\x8b"
_GIB = 1 << 30
# No deflate stream grows further (https://zlib.net/zlib_tech.html); zeros come near, scans are at 2 to 10.
MAX_DEFLATE_RATIO = 1032
# Scans shrink to a tenth, emptied ones and sparse label maps further, but the larger ones not so much.
_PER_BYTE = 50
_LONGEST_TAIL = 1 << 26
_CHUNK = 1 << 24


def most_unpacked(there: int, *, always: int = _GIB) -> int:
    """Return how many bytes so many compressed ones may become: some `always`, and so many more for each byte."""
    return always + _PER_BYTE * there


@contextmanager
def compressed(file: BufferedIOBase, path: Path) -> Iterator[BufferedIOBase]:
    """Give a stream to write to: `file`, or its gzip if the name of `path` ends in ``.gz``."""
    if not has_suffix(path, (".gz",)):
        yield file
        return
    # No name and no time inside, so that equal images are equal files.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0) as stream:
        yield stream


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """Open a plain or gzipped file for reading; whatever goes wrong while it is open is one InputError."""
    regular_file(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == GZIP_MARK
            file.seek(0)
            yield gzip.GzipFile(fileobj=file) if zipped else file
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: cannot be read, damaged or cut off ({reason})") from error


def read_exactly(stream: BufferedIOBase, size: int) -> bytes:
    """Read `size` bytes, or raise EOFError."""
    content = stream.read(size)
    if len(content) < size:
        raise EOFError(f"{size - len(content)} bytes are missing")
    return content


def check_promise(path: Path, needed: int, there: int, *, zipped: bool) -> None:
    """Refuse voxels that the file cannot hold or that swell out of proportion, before memory is taken.

    Parameters
    ----------
    path : Path
        The file, for messages.
    needed, there : int
        Bytes that the header promises, and bytes that are in the file.
    zipped : bool
        Whether the voxels are deflated.

    Raises
    ------
    InputError
        More is promised than the file can hold, or than `most_unpacked` allows.
    """
    if needed > (MAX_DEFLATE_RATIO if zipped else 1) * there:
        raise InputError(
            f"{path}: its header asks for {needed} bytes, the file has {there}{' compressed' if zipped else ''}; it is "
            "cut off or damaged"
        )
    check_growth(path, needed, there)


def check_growth(path: Path, needed: int, there: int, *, always: int = _GIB) -> None:
    """Refuse what becomes far larger than its compressed file; see `check_promise` and `most_unpacked`."""
    if needed > most_unpacked(there, always=always):
        raise InputError(
            f"{path}: {there} bytes would become {needed / _GIB:.1f} GiB, {needed // max(there, 1)} times as much; if "
            "that is right, give it uncompressed (gunzip, or saved anew without compression)"
        )


def read_tail(stream: BufferedIOBase, path: Path, *, after: int = 0) -> None:
    """Read a gzip stream on to its end, where its checksum is.

    At most 64 MiB beyond the `after` bytes that are known to follow, so that a bomb behind the voxels does nothing. A
    plain file has no checksum, and what follows in it is not read.
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
