"""Zip archives of scans, read in place: their lists of members, checked before anything is unpacked.

No member is ever written to disk, so none can land outside a folder.
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
# The list at the end, read whole by zipfile, which makes an object of each of its at least 46 bytes.
_LONGEST_LIST = 1 << 25
_END, _END_64, _LONGEST_END = b"PK\x05\x06", b"PK\x06\x06", (1 << 16) + 22
# Of other kinds one block may become gigabytes before zipfile looks at how long the member is.
_KINDS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_IS_ENCRYPTED = 1


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, by its content.

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
    """Open an archive; its list of members is read once, not again for every member."""
    return _archive_as_of(path, _state(path))


def archive_members(path: Path) -> tuple[zipfile.ZipInfo, ...]:
    """Return the members of an archive that are files and neither hidden nor macOS's.

    Raises
    ------
    InputError
        It is damaged, a bomb, encrypted, or has members outside its folder.
    """
    return _members_as_of(path, _state(path))


def _state(path: Path) -> tuple[int, int, int]:
    """Return what changes when the file does; a forked process shares its position, so it needs one of its own."""
    found = path.stat()
    return os.getpid(), found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1)
def _archive_as_of(path: Path, state: tuple[int, int, int]) -> zipfile.ZipFile:
    if (length := _length_of_list(path)) > _LONGEST_LIST:
        raise InputError(f"{path}: its list of members has {length} bytes; unpack it and read the folder")
    return zipfile.ZipFile(path)


def _length_of_list(path: Path) -> int:
    """Return the length that the end of an archive says its list of members to have."""
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - _LONGEST_END - 100, 0))
        tail = stream.read()
    # As zipfile does: the last one; of archives over 4 GB it points to another, in front of it.
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
    return not any(part.startswith((".", "__MACOSX")) for part in _name(member).parts)


def _name(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))


def _check_sizes(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse what no honest archive of scans holds, before a byte is unpacked."""
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
    """Say why a member must not be read; `count` have its name."""
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
