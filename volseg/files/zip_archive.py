"""Zip archives of scans, read in place: their lists of members are checked before a member is unpacked.

Members are never written to disk, so that none can end up outside a folder.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from volseg.errors import DAMAGE, InputError, reason
from volseg.files.regular import regular_file
from volseg.files.streams import most_unpacked

_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_LARGEST_ARCHIVE = 1 << 36
_MOST_MEMBERS = 200_000
# Bytes of the list of members at the end. zipfile reads all of it, and makes an object of each entry (46 bytes or more)
_LONGEST_LIST = 1 << 25
_END, _END_64, _LONGEST_END = b"PK\x05\x06", b"PK\x06\x06", (1 << 16) + 22
# With other methods one block may become gigabytes before zipfile checks the length of the member.
_KINDS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_IS_ENCRYPTED = 1


def is_zip(path: Path) -> bool:
    """Whether the content of a file is a zip archive.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        It cannot be read, or is no regular file.
    """
    try:
        with regular_file(path).open("rb") as stream:
            return stream.read(4) in _MARKS
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive, or return the open one; its list of members is read only once.

    Parameters
    ----------
    path : Path
    """
    return _archive_as_of(path, _state(path))


def archive_members(path: Path) -> tuple[zipfile.ZipInfo, ...]:
    """Return the members of an archive that are files, without hidden files and those of macOS.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The archive is damaged, a decompression bomb or encrypted, or has members outside its folder.
    """
    return _members_as_of(path, _state(path))


def _state(path: Path) -> tuple[int, int, int]:
    """Return the state of a file, so that a changed one is read again.

    The number of the process is part of it: a forked process would share the position in the open file.
    """
    found = path.stat()
    return os.getpid(), found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1)
def _archive_as_of(path: Path, state: tuple[int, int, int]) -> zipfile.ZipFile:
    if (length := _length_of_list(path)) > _LONGEST_LIST:
        raise InputError(f"{path}: its list of members has {length} bytes; unpack it and read the folder")
    return zipfile.ZipFile(path)


def _length_of_list(path: Path) -> int:
    """Return the length of the list of members, as the end of the archive gives it."""
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - _LONGEST_END - 100, 0))
        tail = stream.read()
    # The last record counts, as in zipfile. In archives over 4 GB it refers to another record in front of it.
    end, end_64 = tail.rfind(_END), tail.rfind(_END_64)
    lengths = [struct.unpack_from("<I", tail, end + 12)[0]] if 0 <= end <= len(tail) - 22 else [0]
    if lengths == [0xFFFFFFFF] and 0 <= end_64 <= len(tail) - 56:
        lengths = [struct.unpack_from("<Q", tail, end_64 + 40)[0]]
    return int(lengths[0])


@lru_cache(maxsize=1)
def _members_as_of(path: Path, state: tuple[int, int, int]) -> tuple[zipfile.ZipInfo, ...]:
    try:
        members = [member for member in _archive_as_of(path, state).infolist() if member.filename]
    except DAMAGE as error:
        raise InputError(f"{path}: is a damaged zip archive ({reason(error)}); copy it again") from error
    _check_sizes(path, members)
    names = Counter(member.filename for member in members)
    for member in members:
        if problem := _problem(member, names[member.filename]):
            raise InputError(f"{path}: {problem}")
    return tuple(member for member in members if not member.is_dir() and _is_shown(member))


def _is_shown(member: zipfile.ZipInfo) -> bool:
    """Whether a member is neither hidden nor one of macOS."""
    return not any(part.startswith((".", "__MACOSX")) for part in _name(member).parts)


def _name(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))


def _check_sizes(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse sizes that no honest archive of scans has, before a byte is unpacked."""
    there = path.stat().st_size
    total = sum(member.file_size for member in members)
    if len(members) > _MOST_MEMBERS or total > _LARGEST_ARCHIVE:
        raise InputError(f"{path}: unpacks to {len(members)} files of {total} bytes; unpack it and read the folder")
    if sum(member.compress_size for member in members) > there:
        raise InputError(f"{path}: its members overlap, as those of a decompression bomb do; not read")
    if total > most_unpacked(there):
        raise InputError(
            f"{path}: unpacks from {there} to {total} bytes, as a decompression bomb does; if that is right, unpack it "
            "and read the folder"
        )


def _problem(member: zipfile.ZipInfo, count: int) -> str:
    """Return why a member must not be read, or an empty text; `count` members have its name."""
    called, name = f"its member {member.filename!r}", _name(member)
    if count > 1:
        return (
            f"holds {member.filename!r} {count} times, and only the last could be read; unpack it and read the folder"
        )
    if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", member.filename):
        return f"{called} lies outside its folder; not read"
    if stat.S_ISLNK(member.external_attr >> 16):
        return f"{called} is a link; expected files only; not read"
    if member.flag_bits & _IS_ENCRYPTED:
        return f"{called} is encrypted; unpack it and read the folder"
    if member.compress_type not in _KINDS and not member.is_dir():
        return f"{called} is compressed by method {member.compress_type}, not deflated; unpack it and read the folder"
    return ""
