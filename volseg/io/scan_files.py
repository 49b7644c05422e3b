"""The files of a scan: its identity, whatever their place, and whether they have changed.

A DICOM scan is identified by patient, study and series in its headers; an image file by its place or its content. A
scan is unchanged if the names, sizes and times of its files are; if these differ, its content decides.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.errors import DAMAGE, InputError
from volseg.files.names import METAIMAGE, NIFTI, NRRD, case_name, has_suffix, portable_name
from volseg.io.case_record import RECORD, CaseRecord, ScanRecord, read_record
from volseg.io.catalogue import Catalogue
from volseg.io.dicom.storage import DicomFile

if TYPE_CHECKING:
    from volseg.core.volume import Volume
    from volseg.io.dicom.series import Series

_PAIR = (*(suffix for suffix in NIFTI.suffixes if suffix not in NIFTI.written), *NIFTI.voxel_suffixes)
_LONGEST_HEADER = 1 << 16
_DIGITS = 8
_LONGEST_NAME = 200


@dataclass(frozen=True, eq=False)
class ScanFiles:
    """The files of one scan, as they are at this time.

    Parameters
    ----------
    paths : tuple of Path
        The given paths: one for each channel, or one for all.
    series : str, optional
        The series as it was asked for.
    chosen : tuple of Series
        The DICOM series of each path; empty for image files.
    files : tuple of tuples of DicomFile
        The files that are read for each path; image files are in the same form.
    seen : tuple
        Names, sizes and times of the files, as `look_at` gives them.
    """

    paths: tuple[Path, ...]
    series: str | None
    chosen: tuple[Series, ...]
    files: tuple[tuple[DicomFile, ...], ...]
    seen: tuple[tuple[str | int, ...], ...]

    def check_unchanged(self) -> None:
        """Check that the files have not changed.

        Raises
        ------
        InputError
            A file has been changed, replaced or removed.
        """
        try:
            now = _look_at(self.files)
        except OSError as error:
            raise InputError(f"{error.filename}: has been removed since it was read; no output is written") from error
        if changed := [one[0] for one, other in zip(self.seen, now, strict=True) if one != other]:
            raise InputError(
                f"{self.paths[0]}: {changed[0]} was changed while it was segmented; no output is written; run "
                "again when it is complete"
            )

    def read(self, *, strict: bool) -> list[Volume]:
        """Read the channels from these files only; errors are those of `volseg.io.read_channels`."""
        from volseg.io import read_channels

        if not self.chosen:
            return read_channels(self.paths, series=self.series, strict=strict)
        from volseg.io.dicom import read_stack

        return [read_stack(one, path, strict=strict) for one, path in zip(self.chosen, self.paths, strict=True)]

    @cached_property
    def identity(self) -> str:
        """SHA-256 (64 hex digits) of patient, study and series in the DICOM headers; empty for image files."""
        told = []
        for one in self.chosen:
            first = one.frames[0]
            # One instance UID is part of it, as some anonymisers give all series the same UID.
            instance = min(frame.sop_instance_uid for frame in one.frames)
            told.append((first.patient_id, first.study_uid, first.series_uid, instance, one.number, one.name))
        return _hash(told) if told else ""

    @cached_property
    def name(self) -> str:
        """Name of the case of a DICOM scan: the series' description, and 8 hex digits of its identity."""
        first = self.chosen[0]
        return f"{portable_name(first.name or first.modality or 'scan')}-{self.identity[:_DIGITS]}"

    @cached_property
    def place(self) -> str:
        """SHA-256 (64 hex digits) of its path."""
        return _hash([*(os.path.realpath(path) for path in self.paths), self.series or ""])

    @cached_property
    def state(self) -> str:
        """SHA-256 (64 hex digits) of the names, sizes and times of change of its files."""
        return _hash(sorted(entry[:3] for entry in self.seen))

    @cached_property
    def content(self) -> str:
        """SHA-256 (64 hex digits) of all bytes; a folder and a zip archive of the same DICOM files have the same."""
        return _hash([*(sorted(map(_digest, files)) for files in self.files), "" if self.chosen else self.series or ""])

    def record(self) -> ScanRecord:
        """Return the record of the scan for its case."""
        return ScanRecord(identity=self.identity, place=self.place, state=self.state, content=self.content)

    def is_of(self, case: CaseRecord) -> bool:
        """Whether a case was made from this scan, changed or not."""
        if case.scan is None:  # of an earlier version
            return (case.input, case.series) == ([str(path.resolve()) for path in self.paths], self.series)
        if self.identity:
            return case.scan.identity == self.identity
        return case.scan.place == self.place or case.scan.content == self.content

    def is_unchanged_since(self, case: CaseRecord) -> bool:
        """Whether the scan is unchanged since the case was made from it."""
        if case.scan is None:
            return case.made_by.get("scan files") == file_state(self.paths)
        known = bool(self.identity) or case.scan.place == self.place
        return (known and case.scan.state == self.state) or case.scan.content == self.content


def find_scan_files(paths: Sequence[Path], series: str | None = None) -> ScanFiles:
    """Find the files that a scan is read from.

    Parameters
    ----------
    paths : sequence of Path
        As for `volseg.io.read_channels`.
    series : str, optional
        The wanted series if there are several.

    Raises
    ------
    InputError
        As for `volseg.io.read`, as far as headers show; a file that is not a scan fails only when it is read.
    """
    chosen, files = [], []
    try:
        for path in paths:
            found = Catalogue(path)
            if found.image_format is not None and path.is_file():
                files.append(tuple(DicomFile(file) for file in _with_voxels(path)))
            elif found.is_dicom:
                one = found.series(series)
                chosen.append(one)
                files.append(tuple(dict.fromkeys([*(frame.file for frame in one.frames), *one.copies])))
        if len(chosen) != len(files):
            chosen = []
        return ScanFiles(tuple(paths), series, tuple(chosen), tuple(files), _look_at(files))
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}); check the path and its rights"
        ) from error


def find_scan_of(folder: Path) -> ScanFiles:
    """Find the scan that a case was predicted from, at the path in ``run.json``, if it is unchanged.

    Raises
    ------
    InputError
        The scan is missing or has changed.
    """
    record = read_record(folder)
    if record is None:
        raise InputError(f"{folder}: has no {RECORD} that names the scan it was predicted from")
    for base in (Path(), *folder.resolve().parents):
        paths = [base / name for name in record.input]
        if paths and all(path.exists() for path in paths):
            scan = find_scan_files(paths, record.series)
            if scan.is_unchanged_since(record):
                return scan
    where = ", ".join(record.input)
    raise InputError(f"{where}: was changed, or is neither in this folder nor in a folder above the case; give it too")


def _look_at(files: Iterable[Iterable[DicomFile]]) -> tuple[tuple[str | int, ...], ...]:
    """Yield name, size and time of files on disk, and numbers that differ for a file that has replaced it."""
    paths = dict.fromkeys(file.path for part in files for file in part)
    states = [(path.name, path.stat()) for path in paths]
    return tuple((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in states)


def _with_voxels(path: Path) -> Iterator[Path]:
    """Yield an image file and the files of its voxels, if they are in other files."""
    yield path
    if has_suffix(path, _PAIR):
        files = [path.with_name(case_name(path) + suffix) for suffix in _PAIR]
    elif has_suffix(path, (*NRRD.suffixes, *METAIMAGE.suffixes)):
        files = [path.parent / name for name in _names_in_header(path)]
    else:
        files = []
    for file in files:
        if file != path and file.is_file():
            yield file


def _names_in_header(path: Path) -> list[str]:
    """Return possible file names in a header of NRRD or MetaImage: texts after ``:`` or ``=``, and whole lines."""
    with path.open("rb") as stream:
        lines = stream.read(_LONGEST_HEADER).decode("utf-8", "replace").splitlines()
    names = {re.split(r"[=:]", line, maxsplit=1)[-1].strip() for line in lines}
    return [name for name in sorted(names) if 0 < len(name) < _LONGEST_NAME and "\0" not in name]


def file_state(paths: Iterable[Path]) -> str:
    """Return 16 hex digits of names, sizes and times; they change if a file, or a file in the folder, is replaced."""
    files: list[Path] = []
    for path in paths:
        files += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    text = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(file: DicomFile) -> str:
    try:
        if file.member:
            with closing(file.open()) as unpacked:
                return hashlib.sha256(unpacked.read()).hexdigest()
        with file.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except DAMAGE as error:
        raise InputError(f"{file}: can no longer be read ({error})") from error


def _hash(what: object) -> str:
    return hashlib.sha256(repr(what).encode("utf-8", "backslashreplace")).hexdigest()
