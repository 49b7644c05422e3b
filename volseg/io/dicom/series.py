"""DICOM series: which files of a folder are DICOM, and which pictures belong together."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from volseg.errors import InputError
from volseg.files.door import door
from volseg.files.zip_archive import is_zip
from volseg.io.dicom.attributes import DAMAGE
from volseg.io.dicom.copies import find_copies
from volseg.io.dicom.damage import DamagedFile, describe_damage
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.header import FrameHeader, OtherObject
from volseg.io.dicom.header_reading import read_headers, starts_as_dicom
from volseg.io.dicom.identity import differences_of, labels_of, split_loosely, split_strictly, told_apart
from volseg.io.dicom.split import split_volumes
from volseg.io.dicom.storage import DicomFile, stored_files

_LOG = logging.getLogger(__name__)
_SUFFIXES = {".dcm", ".dicom", ".ima"}
# Cosines that differ by more, a unit of two decimals, are another stack's; what is finer is measured when it is built.
_PARALLEL = 0.01 + 1e-9
_SAME_SPACING = 1e-3
# Pictures that differ in these never form one volume.
_KINDS: tuple[Callable[[FrameHeader], str], ...] = (
    lambda header: header.sop_class_uid,
    lambda header: header.echo,
    lambda header: header.unit or "",
)
_NAMED = 5
_MARK_END = 132


@dataclass(frozen=True)
class Series:
    """Pictures that form one volume.

    Parameters
    ----------
    id : str
        SeriesInstanceUID; with ``#1``, ``#2`` behind it where one UID holds several volumes.
    frames : tuple of FrameHeader
        At least one, in no particular order.
    label : str
        What tells it from other volumes of the same UID: ``time2``, ``b1000``; empty where nothing has a name.
    copies : tuple of DicomFile
        The same pictures as files of it; they are left out.
    notes : tuple of str
        What the reader warns of: other series of the same UID, texts that vary from slice to slice.
    problem : str
        Why it is not read, whatever its pictures: a damaged file is a slice of it, or may be.
    """

    id: str
    frames: tuple[FrameHeader, ...]
    label: str = ""
    copies: tuple[DicomFile, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def number(self) -> str:
        """SeriesNumber, or an empty text."""
        return self.frames[0].number

    @property
    def description(self) -> str:
        """SeriesDescription, or an empty text."""
        return self.frames[0].description

    @property
    def name(self) -> str:
        """Description and label, as far as there are any."""
        return "_".join(filter(None, (self.description, self.label)))

    @property
    def modality(self) -> str:
        """DICOM's word: CT, MR, PT; or an empty text."""
        return self.frames[0].modality

    @property
    def patient_id(self) -> str:
        """PatientID, or an empty text."""
        return self.frames[0].patient_id

    @property
    def unit(self) -> str | None:
        """Of the values after rescaling; None where nothing is said."""
        return next((frame.unit for frame in self.frames if frame.unit), None)

    @property
    def size(self) -> tuple[int, int, int]:
        """(I, J, K): columns, rows, pictures."""
        return self.frames[0].columns, self.frames[0].rows, len(self.frames)

    def describe(self) -> str:
        """One phrase for messages: number, name, modality, size, end of the id; the patient where there are several."""
        size = "x".join(map(str, self.size))
        patient = f" of patient {self.patient_id}" if self.label.startswith("patient") else ""
        return f"{self.number or '-'} '{self.name}'{patient} {self.modality} {size} [...{self.id[-12:]}]"


@dataclass(frozen=True)
class Listing:
    """All that DICOM has at a path.

    Parameters
    ----------
    series : tuple of Series
        Volumes, readable or not.
    others : tuple of OtherObject
        Objects that are no images.
    damaged : tuple of DamagedFile
        DICOM files that cannot be read.
    strangers : tuple of files
        Named as DICOM, but none.
    """

    path: Path
    series: tuple[Series, ...]
    others: tuple[OtherObject, ...]
    damaged: tuple[DamagedFile, ...]
    strangers: tuple[DicomFile, ...]


@door
def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM file, or a folder or zip archive holds one at any depth."""
    return path.exists() and any(_is_candidate(file) for file in stored_files(path))


@door
def scan_dicom(path: Path) -> Listing:
    """Read all DICOM headers of a file, zip archive or, at any depth, a folder, and group the pictures into volumes.

    Hidden files and files that are not DICOM are left out. A DICOMDIR stands for the files that it lists.

    Raises
    ------
    InputError
        The path does not exist, a folder cannot be listed, an archive is damaged or hostile.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    frames: list[FrameHeader] = []
    others: list[OtherObject] = []
    damaged: list[DamagedFile] = []
    no_dicom: list[DicomFile] = []
    for file in dict.fromkeys(_listed_files(path)):
        if not _is_candidate(file):
            no_dicom.append(file)
            continue
        try:
            found = read_headers(file)
        except DAMAGE as error:
            damaged.append(DamagedFile.after(error, file))
            continue
        if isinstance(found, OtherObject):
            others.append(found)
        else:
            frames.extend(found)
    lost = _lost(no_dicom, {frame.file for frame in frames})
    damaged += [
        DamagedFile(file, "has no content that is DICOM's, though its name is like those beside") for file in lost
    ]
    strangers = [
        file
        for file in no_dicom
        if file not in lost and ((file.path == path and not file.member) or _is_named_as_dicom(file))
    ]
    series = tuple(_unless_damaged(entry, damaged) for entry in group_pictures(frames))
    return Listing(path, series, tuple(others), tuple(damaged), tuple(strangers))


def _unless_damaged(series: Series, damaged: Sequence[DamagedFile]) -> Series:
    own = [entry for entry in damaged if entry.may_belong_to(series.frames)]
    if not own:
        return series
    told = (
        "its SeriesInstanceUID is that of the series"
        if own[0].series_uid
        else "it may be a slice of the series beside it"
    )
    return replace(series, problem=f"{describe_damage(own)}; {told}; copy it again or move it away")


def list_series(path: Path) -> list[Series]:
    """List the volumes of a DICOM file, folder or zip archive, also those that cannot be read.

    Raises
    ------
    InputError
        The path does not exist, there is no image, or a damaged file blocks all of them.
    """
    listing = scan_dicom(path)
    if listing.damaged and all(entry.problem for entry in listing.series):
        raise InputError(f"{describe_damage(listing.damaged)}; copy it again or move it away")
    if listing.damaged:
        _LOG.warning("%s; left out", describe_damage(listing.damaged))
    if not listing.series:
        kinds = ", ".join(sorted({other.kind for other in listing.others}))
        found = f"only {kinds}" if kinds else "nothing that is DICOM"
        raise InputError(f"{path}: no DICOM image series; found {found}")
    if listing.strangers:
        named = ", ".join(str(file) for file in listing.strangers[:_NAMED])
        _LOG.warning("%d file(s) named as DICOM are none; left out: %s", len(listing.strangers), named)
    return list(listing.series)


def group_pictures(frames: Iterable[FrameHeader]) -> Iterator[Series]:
    """Put pictures together that form a volume."""
    by_uid: dict[str, list[FrameHeader]] = {}
    for header in frames:
        by_uid.setdefault(header.series_uid or _substitute_uid(header), []).append(header)
    for uid, alike in by_uid.items():
        originals = find_copies(alike)
        kept = [header for header in alike if header.file not in originals]
        found = [part for group in split_strictly(kept) for stack in _stacks(group) for part in _volumes(stack)]
        labels = labels_of([(label, part) for label, part, _ in found])
        told = differences_of([part for _, part, _ in found])
        for count, (label, (_, part, notes), difference) in enumerate(zip(labels, found, told, strict=True), start=1):
            files = {header.file for header in part}
            copies = tuple(copy for copy, original in originals.items() if original in files)
            notes = (*filter(None, (difference,)), *notes)
            yield Series(uid if len(found) == 1 else f"{uid}#{count}", tuple(part), label, copies, notes)


def _volumes(stack: list[FrameHeader]) -> Iterator[tuple[str, list[FrameHeader], tuple[str, ...]]]:
    for part, notes in split_loosely(stack):
        yield from ((label, volume, notes) for label, volume in split_volumes(part))


def _stacks(frames: Iterable[FrameHeader]) -> Iterator[list[FrameHeader]]:
    """Give the pictures that could form a volume together: of one kind, parallel, of one pixel size."""
    by_kind: dict[tuple[object, ...], list[FrameHeader]] = {}
    for header in frames:
        kind = (header.is_auxiliary, header.refusal, header.rows, header.columns)
        by_kind.setdefault(kind, []).append(header)
    alike = list(by_kind.values())
    for text_of in _KINDS:
        alike = [part for pictures in alike for part in told_apart(pictures, text_of)]
    yield from (stack for pictures in alike for stack in _parallel(pictures))


def _parallel(frames: Iterable[FrameHeader]) -> list[list[FrameHeader]]:
    stacks: list[list[FrameHeader]] = []
    for header in frames:
        stack = next((stack for stack in stacks if _same_plane(stack[0], header)), None)
        if stack is None:
            stacks.append([header])
        else:
            stack.append(header)
    return stacks


def _substitute_uid(header: FrameHeader) -> str:
    """Keep strangers apart in over-anonymised files, which have no series UID; as a hash, as it is shown to users."""
    told_by = (header.study_uid, header.patient_id, header.number, header.description)
    return f"without-uid-{hashlib.sha256(repr(told_by).encode()).hexdigest()[:12]}"


def _same_plane(one: FrameHeader, other: FrameHeader) -> bool:
    """Whether two pictures are parallel and of the same pixel size, or both without geometry."""
    if one.orientation is None or other.orientation is None or one.pixel_spacing is None or other.pixel_spacing is None:
        return (one.orientation, one.pixel_spacing) == (other.orientation, other.pixel_spacing)
    turned = np.abs(np.subtract(one.orientation, other.orientation)).max()
    scaled = np.abs(np.subtract(one.pixel_spacing, other.pixel_spacing)).max()
    return bool(turned <= _PARALLEL and scaled <= _SAME_SPACING * max(map(abs, one.pixel_spacing)))


def _is_candidate(file: DicomFile) -> bool:
    """Whether a file is DICOM, or would have been: a slice that cannot be read must not go unnoticed."""
    try:
        return starts_as_dicom(file) or (_is_named_as_dicom(file) and file.size() == 0)
    except DAMAGE:
        return True


def _lost(files: Iterable[DicomFile], images: set[DicomFile]) -> set[DicomFile]:
    """Find files without content that are called as the images beside them: slices that were not copied whole."""
    names = {(file.folder, _pattern(file)) for file in images}
    alike = (file for file in files if (file.folder, _pattern(file)) in names)
    return {file for file in alike if len(start := file.start(_MARK_END)) < _MARK_END or not start.strip(b"\0")}


def _pattern(file: DicomFile) -> str:
    return re.sub(r"\d+", "0", file.name)


def _is_named_as_dicom(file: DicomFile) -> bool:
    name = PurePosixPath(file.name.lower().removesuffix(".gz"))
    return name.suffix in _SUFFIXES


def _listed_files(path: Path) -> Iterator[DicomFile]:
    """List the files at a path; for a DICOMDIR itself those that it lists."""
    if path.is_file() and path.name.upper().startswith("DICOMDIR") and not is_zip(path):
        yield from _of_directory(path)
    else:
        yield from stored_files(path)


def _of_directory(path: Path) -> Iterator[DicomFile]:
    try:
        directory = open_dataset(DicomFile(path))
        records = [record.get("ReferencedFileID") for record in directory.get("DirectoryRecordSequence") or ()]
    except DAMAGE as error:
        raise InputError(f"{path}: damaged DICOMDIR ({error}); give the folder that holds the images") from error
    names = [Path(*([record] if isinstance(record, str) else record)) for record in records if record]
    if outside := next((name for name in names if name.is_absolute() or ".." in name.parts), None):
        raise InputError(f"{path}: lists {outside}, which lies outside its folder; not read")
    files = [path.parent / name for name in names]
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        raise InputError(
            f"{path}: lists {len(files)} files, of which {len(missing)} are missing"
            f"{f' ({missing[0]})' if missing else ''}; copy the whole medium, or give the folder that holds the images"
        )
    yield from (DicomFile(file) for file in files)
