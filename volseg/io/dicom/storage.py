"""Storage of DICOM objects: a file, a file in a zip archive, either of them gzipped, or bytes in memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from volseg.files.names import has_suffix
from volseg.files.streams import GZIP_MARK, MAX_DEFLATE_RATIO, most_unpacked
from volseg.files.walking import list_files
from volseg.files.zip_archive import archive_members, is_zip, open_archive
from volseg.io.dicom.stream import BoundedStream, UnpackedStream

_GZIP = 31  # zlib's number for the format
_BLOCK = 1 << 12
# Largest size of a small file after unpacking: while it is read, there are several copies of it in memory.
ALWAYS_UNPACKED = 1 << 28


@dataclass(frozen=True, slots=True, order=True)
class DicomFile:
    """One stored DICOM object.

    Parameters
    ----------
    path : Path
        The file, or the zip archive that holds it.
    member : str
        Its name in the archive; empty for a file of its own.
    content : bytes, optional
        The bytes of an object in memory, for example from a network; `path` is then only its name.
    """

    path: Path
    member: str = ""
    content: bytes | None = field(default=None, compare=False, repr=False)

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

    def open(self) -> BoundedStream:
        """Open it for reading; a member or gzipped file is unpacked as far as it is read.

        Raises
        ------
        One of `volseg.errors.DAMAGE`
            It cannot be read, or it unpacks to far more than its stored size.
        """
        size, most = self.size(), most_unpacked(self.stored_size(), always=ALWAYS_UNPACKED)
        if self.member:
            stream = UnpackedStream(open_archive(self.path).open(self.member), size, most)
            zipped = stream.read(2) == GZIP_MARK
            stream.seek(0)
            if zipped:
                size *= MAX_DEFLATE_RATIO
                stream = UnpackedStream(gzip.GzipFile(fileobj=stream), size, most)
            return BoundedStream(stream, size)
        if not self._is_gzipped():
            return BoundedStream(self._stored(), size)
        # A GzipFile closes a file only if it has opened it.
        unpacked = gzip.GzipFile(self.path) if self.content is None else gzip.GzipFile(fileobj=self._stored())
        return BoundedStream(UnpackedStream(unpacked, size, most), size)

    def _stored(self) -> BinaryIO:
        return self.path.open("rb") if self.content is None else BytesIO(self.content)

    def _is_gzipped(self) -> bool:
        with self._stored() as stream:
            return stream.read(2) == GZIP_MARK

    def size(self) -> int:
        """Return its size in bytes; for a gzipped file, an upper bound."""
        if self.member:
            return open_archive(self.path).getinfo(self.member).file_size
        stored = self.stored_size()
        return MAX_DEFLATE_RATIO * stored if self._is_gzipped() else stored

    def stored_size(self) -> int:
        """Return its stored size in bytes."""
        if self.member:
            return open_archive(self.path).getinfo(self.member).compress_size
        return self.path.stat().st_size if self.content is None else len(self.content)

    def start(self, size: int) -> bytes:
        """Read its first bytes, unpacked; errors are those of `open`."""
        if not self.stored_size():
            return b""
        with self.open() as stream:
            return stream.read(size)


def stored_files(path: Path, files: Iterable[Path] | None = None) -> Iterator[DicomFile]:
    """List possible DICOM objects: the file itself, the files of a folder at any depth, the members of a zip archive.

    Parameters
    ----------
    path : Path
        A file, folder or archive.
    files : iterable of Path, optional
        The files of a folder, if they are known already; else they are those of `list_files`.

    Raises
    ------
    InputError
        A folder cannot be listed; an archive is damaged, a bomb, encrypted, or has members outside its folder.
    """
    if path.is_dir():
        for file in list_files(path).checked() if files is None else files:
            if not file.is_file():  # a broken link, pipe or device
                continue
            yield from _archived(file) if has_suffix(file, (".zip",)) and is_zip(file) else (DicomFile(file),)
    elif is_zip(path):
        yield from _archived(path)
    else:
        yield DicomFile(path)


def _archived(path: Path) -> Iterator[DicomFile]:
    return (DicomFile(path, member.filename) for member in archive_members(path))
