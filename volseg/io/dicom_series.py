"""DICOM series: which files of a folder belong together, and which series is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.errors import AmbiguousError, InputError
from volseg.io.dicom_header import DAMAGE, OtherObject, SliceHeader, has_dicom_mark, read_header

_SUFFIXES = {".dcm", ".dicom", ".ima"}
# Cosines that differ by more belong to another stack; finer differences are measured in mm when the grid is built.
_PARALLEL = 0.01
_LISTED = 20


@dataclass(frozen=True)
class Series:
    """Image files that form one stack.

    Parameters
    ----------
    id : str
        SeriesInstanceUID; with ``#1``, ``#2`` behind it where one UID holds stacks of several orientations, matrix
        sizes, echoes or frames of reference.
    slices : tuple of SliceHeader
        At least one, in no particular order.
    """

    id: str
    slices: tuple[SliceHeader, ...]

    @property
    def number(self) -> str:
        """SeriesNumber, or an empty text."""
        return self.slices[0].number

    @property
    def description(self) -> str:
        """SeriesDescription, or an empty text."""
        return self.slices[0].description

    @property
    def modality(self) -> str:
        """DICOM's word: CT, MR, PT; or an empty text."""
        return self.slices[0].modality

    @property
    def size(self) -> tuple[int, int, int]:
        """(I, J, K): columns, rows, files."""
        return self.slices[0].columns, self.slices[0].rows, len(self.slices)

    def describe(self) -> str:
        """One phrase for messages: number, description, modality, size, end of the id."""
        size = "x".join(map(str, self.size))
        return f"{self.number or '-'} '{self.description}' {self.modality} {size} [...{self.id[-12:]}]"


@dataclass(frozen=True)
class Scan:
    """All that DICOM has in a folder or file: series, objects that are no images, damaged files with the reason."""

    path: Path
    series: tuple[Series, ...]
    others: tuple[OtherObject, ...]
    damaged: tuple[tuple[Path, str], ...]


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM file, or a folder holds one at any depth."""
    files = _files(path) if path.is_dir() else iter([path])
    return any(file.is_file() and _is_candidate(file) for file in files)


def scan_dicom(path: Path) -> Scan:
    """Read all DICOM headers of a file or, at any depth, a folder, and group the images into series.

    Hidden files and files that are not DICOM are left out.

    Raises
    ------
    InputError
        The path does not exist or a folder cannot be listed.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    headers: list[SliceHeader] = []
    others: list[OtherObject] = []
    damaged: list[tuple[Path, str]] = []
    for file in _files(path) if path.is_dir() else iter([path]):
        try:
            if not file.is_file() or not _is_candidate(file):
                continue
            header = read_header(file)
        except DAMAGE as error:
            damaged.append((file, " ".join(str(error).split())[:200] or type(error).__name__))
            continue
        if isinstance(header, OtherObject):
            others.append(header)
        else:
            headers.append(header)
    return Scan(path, tuple(_group(headers)), tuple(others), tuple(damaged))


def list_series(path: Path) -> list[Series]:
    """List the image series of a DICOM file or folder, also those that cannot be read as a volume.

    Raises
    ------
    InputError
        The path does not exist, a file is damaged, or there is no image.
    """
    scan = scan_dicom(path)
    if scan.damaged:
        file, reason = scan.damaged[0]
        more = f" ({len(scan.damaged)} such files)" if len(scan.damaged) > 1 else ""
        raise InputError(f"{file}: damaged DICOM file{more}: {reason}; copy it again or move it away")
    if not scan.series:
        kinds = ", ".join(sorted({other.kind for other in scan.others}))
        found = f"only {kinds}" if kinds else "nothing that is DICOM"
        raise InputError(f"{path}: no DICOM image series; found {found}")
    return list(scan.series)


def choose_series(series: list[Series], path: Path, wanted: str | None) -> Series:
    """Return the one series that is there or that `wanted` names.

    Parameters
    ----------
    wanted : str, optional
        Full id, series number, exact description, or an ending of the id; the first of these that fits counts.

    Raises
    ------
    InputError
        None fits; the message lists what is there.
    AmbiguousError
        Several fit, or there are several and none was asked for.
    """
    found = series if wanted is None else _matches(series, wanted)
    if len(found) == 1:
        return found[0]
    listed = "; ".join(entry.describe() for entry in (found or series)[:_LISTED])
    if not found:
        raise InputError(f"{path}: no DICOM series {wanted!r}; there are: {listed}")
    more = "" if len(found) <= _LISTED else f"; and {len(found) - _LISTED} more"
    which = "" if wanted is None else f" that fit {wanted!r}"
    raise AmbiguousError(
        f"{path}: {len(found)} DICOM series{which}; choose one by number, description or end of its id "
        f"(--series): {listed}{more}"
    )


def _matches(series: list[Series], wanted: str) -> list[Series]:
    def fitting(text: str) -> Iterator[list[Series]]:
        yield [s for s in series if s.id == text]
        yield [s for s in series if s.id.rpartition("#")[0] == text]
        yield [s for s in series if s.number == text]
        yield [s for s in series if s.description == text]
        yield [s for s in series if s.id.endswith(text)]

    return next((found for found in fitting(wanted.strip()) if found), [])


def _group(headers: Iterable[SliceHeader]) -> Iterator[Series]:
    stacks: dict[str, dict[tuple[object, ...], list[list[SliceHeader]]]] = {}
    for header in headers:
        # Over-anonymised files have no series UID; then number and description must keep strangers apart.
        uid = header.series_uid or f"{header.study_uid}/{header.number}/{header.description}"
        key = (header.frame_of_reference_uid, header.modality, header.rows, header.columns, header.echo)
        alike = stacks.setdefault(uid, {}).setdefault(key, [])
        stack = next((stack for stack in alike if _parallel(stack[0], header)), None)
        if stack is None:
            alike.append([header])
        else:
            stack.append(header)
    for uid, by_key in stacks.items():
        found = [stack for alike in by_key.values() for stack in alike]
        for count, stack in enumerate(found, start=1):
            yield Series(uid if len(found) == 1 else f"{uid}#{count}", tuple(stack))


def _parallel(one: SliceHeader, other: SliceHeader) -> bool:
    if one.orientation is None or other.orientation is None:
        return one.orientation is other.orientation
    return bool(np.abs(np.subtract(one.orientation, other.orientation)).max() < _PARALLEL)


def _is_candidate(file: Path) -> bool:
    # A file that is named as DICOM but is none is reported as damaged, since a slice may be lost with it.
    return file.suffix.lower() in _SUFFIXES or has_dicom_mark(file)


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: folder cannot be listed ({error.strerror}); check its rights") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith("."))
