"""The DICOM files at a path; each file is opened once, and its header is parsed once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from volseg.errors import InputError
from volseg.files.door import door
from volseg.files.zip_archive import is_zip
from volseg.io.dicom.attributes import DAMAGE
from volseg.io.dicom.damage import DamagedFile, describe_damage
from volseg.io.dicom.dicomdir import files_of_dicomdir
from volseg.io.dicom.header import FrameHeader, LabelObject, OtherObject
from volseg.io.dicom.header_reading import read_headers, starts_as_dicom
from volseg.io.dicom.series import Series, group_frames
from volseg.io.dicom.storage import DicomFile, stored_files

_LOG = logging.getLogger(__name__)
_SUFFIXES = {".dcm", ".dicom", ".ima"}
_NAMED = 5
_MARK_END = 132
_LOST = "has no DICOM content, although it is named like the DICOM files beside it"
# Content of a file: the headers of its frames, another object, damaged, or None if it is not DICOM.
Content: TypeAlias = list[FrameHeader] | OtherObject | DamagedFile | None
Contents: TypeAlias = dict[DicomFile, Content]


@dataclass(frozen=True)
class Listing:
    """All DICOM files at a path.

    Parameters
    ----------
    path : Path
        A file, folder or archive.
    contents : dict
        Content of each file: the headers of its frames, another object, damaged, or None if it is not DICOM.
    series : tuple of Series
        Volumes, readable or not.
    others : tuple of OtherObject
        Objects that are not images.
    damaged : tuple of DamagedFile
        DICOM files that cannot be read.
    misnamed : tuple of DicomFile
        Files with the name of a DICOM file that are not DICOM.
    """

    path: Path
    contents: Contents
    series: tuple[Series, ...]
    others: tuple[OtherObject, ...]
    damaged: tuple[DamagedFile, ...]
    misnamed: tuple[DicomFile, ...]

    def __bool__(self) -> bool:
        """Whether there is any DICOM file, readable or not."""
        return bool(self.series or self.others or self.damaged)

    @property
    def labels(self) -> list[LabelObject]:
        """The segmentations and structure sets."""
        return [other for other in self.others if isinstance(other, LabelObject)]

    def readable(self) -> list[Series]:
        """Return all volumes, readable or not; warn of files that are left out.

        Raises
        ------
        InputError
            There is no image, or a damaged file blocks all of them.
        """
        if self.damaged and all(entry.problem for entry in self.series):
            raise InputError(f"{describe_damage(self.damaged)}; copy it again or move it away")
        if self.damaged:
            _LOG.warning("%s; left out", describe_damage(self.damaged))
        if not self.series:
            kinds = ", ".join(sorted({other.kind for other in self.others}))
            found = f"only {kinds}" if kinds else "no DICOM files"
            raise InputError(f"{self.path}: no DICOM image series; found {found}")
        if self.misnamed:
            named = ", ".join(str(file) for file in self.misnamed[:_NAMED])
            _LOG.warning("skipped %d file(s) with a DICOM file name that are not DICOM: %s", len(self.misnamed), named)
        return list(self.series)


@door
def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM file, or a folder or zip archive holds one at any depth."""
    return path.exists() and any(_is_candidate(file) for file in stored_files(path))


@door
def scan_dicom(
    path: Path, *, files: Iterable[Path] | Mapping[str, bytes] | None = None, known: Contents | None = None
) -> Listing:
    """Read all DICOM headers of a file, zip archive or, at any depth, a folder, and group the frames into volumes.

    Hidden files are left out. A DICOMDIR stands for the files that it lists.

    Parameters
    ----------
    path : Path
        A file, folder or archive.
    files : iterable of Path, or dict of str to bytes, optional
        The files of a folder, if they are known already; or objects in memory by name; `path` is then a name for them.
    known : dict, optional
        `Listing.contents` of another listing; its files are not read again.

    Raises
    ------
    InputError
        The path does not exist, a folder cannot be listed, an archive is damaged or hostile.
    """
    contents: Contents = {}
    for file in _listed_files(path, files):
        if file not in contents:
            contents[file] = known[file] if known and file in known else _content_of(file)
    return _listing(path, contents)


def _listing(path: Path, contents: Contents) -> Listing:
    """Sort files by their content, and group the frames into volumes."""
    frames: list[FrameHeader] = []
    others: list[OtherObject] = []
    damaged: list[DamagedFile] = []
    not_dicom: list[DicomFile] = []
    for file, found in contents.items():
        if found is None:
            not_dicom.append(file)
        elif isinstance(found, OtherObject):
            others.append(found)
        elif isinstance(found, DamagedFile):
            damaged.append(found)
        else:
            frames.extend(found)
    lost = _lost(not_dicom, {frame.file for frame in frames})
    damaged += [DamagedFile(file, _LOST) for file in lost]
    series = tuple(_unless_damaged(entry, damaged) for entry in group_frames(frames))
    misnamed = _misnamed(path, not_dicom, lost)
    return Listing(path, contents, series, tuple(others), tuple(damaged), misnamed)


def _content_of(file: DicomFile) -> Content:
    if not _is_candidate(file):
        return None
    try:
        return read_headers(file)
    except DAMAGE as error:
        return DamagedFile.after(error, file)


def _unless_damaged(series: Series, damaged: Sequence[DamagedFile]) -> Series:
    own = [entry for entry in damaged if entry.may_belong_to(series.frames)]
    if not own:
        return series
    said = "its SeriesInstanceUID is that of the series"
    unsaid = "it may be a slice of the series beside it"
    why = said if own[0].series_uid else unsaid
    return replace(series, problem=f"{describe_damage(own)}; {why}; copy it again or move it away")


def _is_candidate(file: DicomFile) -> bool:
    """Whether a file is DICOM or a damaged DICOM file: an unreadable slice must be reported."""
    try:
        return starts_as_dicom(file) or (_is_named_as_dicom(file) and file.size() == 0)
    except DAMAGE:
        return True


def _lost(files: Iterable[DicomFile], images: set[DicomFile]) -> list[DicomFile]:
    """Find slices that were copied without their content: files named like images beside them."""
    names = {(file.folder, _pattern(file)) for file in images}
    lost = []
    for file in files:
        if (file.folder, _pattern(file)) in names:
            start = file.start(_MARK_END)
            if len(start) < _MARK_END or not start.strip(b"\0"):
                lost.append(file)
    return lost


def _pattern(file: DicomFile) -> str:
    return re.sub(r"\d+", "0", file.name)


def _misnamed(path: Path, not_dicom: list[DicomFile], lost: list[DicomFile]) -> tuple[DicomFile, ...]:
    return tuple(file for file in not_dicom if file not in lost and _should_be_dicom(file, path))


def _should_be_dicom(file: DicomFile, path: Path) -> bool:
    """Whether a user expects a file to be DICOM: by its name, or because it is the given path."""
    return _is_named_as_dicom(file) or (file.path == path and not file.member)


def _is_named_as_dicom(file: DicomFile) -> bool:
    name = PurePosixPath(file.name.lower().removesuffix(".gz"))
    return name.suffix in _SUFFIXES


def _received(path: Path, objects: Mapping[str, bytes]) -> Iterator[DicomFile]:
    """List objects in memory; refuse names that are one path, as one of them would be lost."""
    names: dict[Path, str] = {}
    for name, content in objects.items():
        file = DicomFile(path / name, content=content)
        if file.path in names:
            raise InputError(f"{path}: {names[file.path]!r} and {name!r} are one name; expected different ones")
        names[file.path] = name
        yield file


def _listed_files(path: Path, files: Iterable[Path] | Mapping[str, bytes] | None) -> Iterator[DicomFile]:
    """Yield the files at a path; for a DICOMDIR, the files in its list."""
    if isinstance(files, Mapping):
        yield from _received(path, files)
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    elif path.is_file() and path.name.upper().startswith("DICOMDIR") and not is_zip(path):
        yield from files_of_dicomdir(path)
    else:
        yield from stored_files(path, files)
