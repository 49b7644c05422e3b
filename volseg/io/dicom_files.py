"""Where DICOM objects are stored: a file, a file in a zip archive, either of them gzipped.

Archives are read in place: no member is ever written to disk, so none can land outside a folder.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from volseg.errors import InputError
from volseg.files import regular_file
from volseg.io.names import has_suffix

_GZIP_MARK = b"\x1f\x8b"
_GZIP = 31  # zlib's number for it
_BLOCK = 1 << 12
_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
# Of one byte deflate makes at most so many; real scans shrink by less than 20.
_MOST_DEFLATED = 1032
_LARGEST_RATIO = 200
_LARGEST_MEMBER = 1 << 26
# A segmentation may be nearly all zeros.
_LARGEST_SWOLLEN = 1 << 30
_LARGEST_ARCHIVE = 1 << 36
_MOST_MEMBERS = 200_000


@dataclass(frozen=True, slots=True, order=True)
class DicomFile:
    """One stored DICOM object.

    Parameters
    ----------
    path : Path
        The file, or the zip archive that it lies in.
    member : str
        Its name in the archive; empty for a file of its own.
    """

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return str(self.path / self.member) if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The file name without folders, for messages and case names."""
        return PurePosixPath(self.member).name or self.path.name

    @property
    def folder(self) -> str:
        """Where it lies, for messages."""
        return str(Path(str(self)).parent)

    def open(self) -> BinaryIO:
        """Open it for reading; a member or gzipped file comes from memory.

        Raises
        ------
        OSError, EOFError, zlib.error, zipfile.BadZipFile
            It cannot be read.
        """
        if self.member:
            return _unpacked(_archive(self.path).read(self.member))
        with self.path.open("rb") as stream:
            zipped = stream.read(2) == _GZIP_MARK
        return _unpacked(self.path.read_bytes()) if zipped else self.path.open("rb")

    def size(self) -> int:
        """Bytes that it holds, or a bound of them where it is gzipped."""
        if self.member:
            return _archive(self.path).getinfo(self.member).file_size
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            return _MOST_DEFLATED * size if stream.read(2) == _GZIP_MARK else size

    def start(self, size: int) -> bytes:
        """Read its first bytes, unpacked; raises as `open`."""
        with _archive(self.path).open(self.member) if self.member else self.path.open("rb") as stream:
            data = stream.read(size)
            if data[:2] != _GZIP_MARK:
                return data
            unpacker, plain = zlib.decompressobj(_GZIP), b""
            while data and len(plain) < size and not unpacker.eof:
                plain += unpacker.decompress(data, size - len(plain))
                data = unpacker.unconsumed_tail or stream.read(_BLOCK)
            return plain


@lru_cache(maxsize=1)
def _archive_as_of(path: Path, state: tuple[int, int, int]) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _archive(path: Path) -> zipfile.ZipFile:
    """Open an archive; its list of members is read once, not again for every member."""
    found = path.stat()
    # A forked process shares the position in an open file, so it needs one of its own.
    return _archive_as_of(path, (os.getpid(), found.st_mtime_ns, found.st_size))


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, by its content."""
    with path.open("rb") as stream:
        return stream.read(4) in _ZIP_MARKS


def stored_files(path: Path) -> Iterator[DicomFile]:
    """List what may be a DICOM object: the file itself, a folder's files at any depth, a zip archive's members.

    Hidden files, broken links, what is no regular file, and folders met again through a link are left out.

    Raises
    ------
    InputError
        A folder cannot be listed; an archive is damaged, a bomb, encrypted, or has members outside its folder.
    """
    if path.is_dir():
        for file in _walk(path):
            yield from _archived(file) if has_suffix(file, (".zip",)) and _is_archive(file) else (DicomFile(file),)
    elif _is_archive(regular_file(path)):
        yield from _archived(path)
    else:
        yield DicomFile(path)


def _is_archive(path: Path) -> bool:
    try:
        return is_zip(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: folder cannot be listed ({error.strerror}); check its rights") from error

    met: set[str] = set()
    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [] if real in met else sorted(name for name in folders if not name.startswith("."))
        found = (Path(root, name) for name in sorted(files) if not name.startswith(".") and real not in met)
        yield from (file for file in found if file.is_file())
        met.add(real)


def _archived(path: Path) -> Iterator[DicomFile]:
    try:
        members = [member for member in _archive(path).infolist() if member.filename]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise InputError(f"{path}: is a damaged zip archive ({error}); copy it again") from error
    _check_archive(path, members)
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if not member.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in name.parts):
            yield DicomFile(path, member.filename)


def _check_archive(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse what no honest archive of scans holds, before a byte is unpacked."""
    total = sum(member.file_size for member in members)
    if len(members) > _MOST_MEMBERS or total > _LARGEST_ARCHIVE:
        raise InputError(f"{path}: unpacks to {len(members)} files of {total} bytes; unpack it and read the folder")
    names = Counter(member.filename for member in members)
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if names[member.filename] > 1:
            raise InputError(
                f"{path}: holds {member.filename!r} {names[member.filename]} times, and only the last could be read; "
                "unpack it and read the folder"
            )
        if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", member.filename):
            raise InputError(f"{path}: its member {member.filename!r} lies outside its folder; not read")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{path}: its member {member.filename!r} is a link; expected files only; not read")
        if member.flag_bits & 1:
            raise InputError(f"{path}: its member {member.filename!r} is encrypted; unpack it and read the folder")
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > _LARGEST_SWOLLEN and ratio > _LARGEST_RATIO:
            raise InputError(
                f"{path}: its member {member.filename!r} unpacks from {member.compress_size} to {member.file_size} "
                "bytes, as a decompression bomb does; not read"
            )


def _unpacked(data: bytes) -> BinaryIO:
    """Give a stream of plain bytes; gzip is unpacked, unless it is a bomb."""
    if data[:2] != _GZIP_MARK:
        return io.BytesIO(data)
    limit = max(_LARGEST_MEMBER, _LARGEST_RATIO * len(data))
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        plain = stream.read(limit + 1)
    if len(plain) > limit:
        raise OSError(f"unpacks from {len(data)} to more than {limit} bytes, as a decompression bomb does")
    return io.BytesIO(plain)
