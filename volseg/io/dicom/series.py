"""DICOM series: grouping of frames into volumes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from volseg.io.dicom.copies import find_copies
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.identity import differences_of, labels_of, split_loosely, split_strictly, told_apart
from volseg.io.dicom.split import split_volumes
from volseg.io.dicom.storage import DicomFile

# Cosines that differ by more (a unit of the second decimal) are of another stack; the rest is checked later.
_PARALLEL = 0.01 + 1e-9
_SAME_SPACING = 1e-3
# Frames that differ in these never form one volume.
_KINDS: tuple[Callable[[FrameHeader], str], ...] = (
    lambda header: header.sop_class_uid,
    lambda header: header.echo,
    lambda header: header.unit or "",
)


@dataclass(frozen=True)
class Series:
    """Frames that form one volume.

    Parameters
    ----------
    id : str
        SeriesInstanceUID; with the suffix ``#1``, ``#2`` if one UID has several volumes.
    frames : tuple of FrameHeader
        At least one, in no particular order.
    label : str
        Name among the volumes of the same UID: ``time2``, ``b1000``; may be empty.
    copies : tuple of DicomFile
        Files with the same frames as its files; they are left out.
    notes : tuple of str
        Warnings of the reader: other series of the same UID, texts that vary from slice to slice.
    problem : str
        Reason why it is not read: a damaged file is, or may be, a slice of it. Empty if it is read.
    """

    id: str
    frames: tuple[FrameHeader, ...]
    label: str = ""
    copies: tuple[DicomFile, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.id.partition("#")[0]

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
        """Description and label, if present."""
        return "_".join(filter(None, (self.description, self.label)))

    @property
    def modality(self) -> str:
        """Modality in DICOM's words: CT, MR, PT; or an empty text."""
        return self.frames[0].modality

    @property
    def patient_id(self) -> str:
        """PatientID, or an empty text."""
        return self.frames[0].patient_id

    @property
    def unit(self) -> str | None:
        """Unit of the values after rescaling; None if unknown."""
        return next((frame.unit for frame in self.frames if frame.unit), None)

    @property
    def size(self) -> tuple[int, int, int]:
        """(I, J, K): columns, rows, frames."""
        return self.frames[0].columns, self.frames[0].rows, len(self.frames)

    def describe(self) -> str:
        """One phrase for messages: number, name, modality, size, end of the id."""
        size = "x".join(map(str, self.size))
        return f"{self.number or '-'} '{self.name}' {self.modality} {size} [...{self.id[-12:]}]"


def group_frames(frames: Iterable[FrameHeader]) -> Iterator[Series]:
    """Group frames into volumes.

    Parameters
    ----------
    frames : iterable of FrameHeader
        The headers of all frames in any order.
    """
    by_uid: dict[str, list[FrameHeader]] = {}
    for header in frames:
        by_uid.setdefault(header.series_uid or _substitute_uid(header), []).append(header)
    for uid, frames in by_uid.items():
        yield from _series_of(uid, frames)


def _series_of(uid: str, frames: list[FrameHeader]) -> Iterator[Series]:
    """Split the frames of one SeriesInstanceUID into volumes, and describe their differences."""
    originals = find_copies(frames)
    parts = _parts([header for header in frames if header.file not in originals])
    labels = list(labels_of([(part.label, part.frames) for part in parts]))
    differences = list(differences_of([part.frames for part in parts]))
    for number, part in enumerate(parts):
        difference = differences[number]
        yield Series(
            id=uid if len(parts) == 1 else f"{uid}#{number + 1}",
            frames=tuple(part.frames),
            label=labels[number],
            copies=_copies_of(part.frames, originals),
            notes=(difference, *part.notes) if difference else part.notes,
        )


def _copies_of(frames: list[FrameHeader], originals: Mapping[DicomFile, DicomFile]) -> tuple[DicomFile, ...]:
    files = {header.file for header in frames}
    return tuple(copy for copy, original in originals.items() if original in files)


class _Part(NamedTuple):
    """Frames of a volume, its label by the headers, and the warnings of the reader."""

    label: str
    frames: list[FrameHeader]
    notes: tuple[str, ...]


def _parts(frames: list[FrameHeader]) -> list[_Part]:
    parts = []
    for group in split_strictly(frames):
        for stack in _stacks(group):
            for part, notes in split_loosely(stack):
                for label, volume in split_volumes(part):
                    parts.append(_Part(label, volume, notes))
    return parts


def _stacks(frames: Iterable[FrameHeader]) -> Iterator[list[FrameHeader]]:
    """Yield groups of frames that could form a volume: of one kind, parallel, of one pixel size."""
    by_kind: dict[tuple[object, ...], list[FrameHeader]] = {}
    for header in frames:
        kind = (header.is_auxiliary, header.refusal, header.rows, header.columns)
        by_kind.setdefault(kind, []).append(header)
    alike = list(by_kind.values())
    for text_of in _KINDS:
        parted: list[list[FrameHeader]] = []
        for frames in alike:
            parted.extend(told_apart(frames, text_of))
        alike = parted
    for frames in alike:
        yield from _parallel(frames)


def _parallel(frames: Iterable[FrameHeader]) -> list[list[FrameHeader]]:
    stacks: list[list[FrameHeader]] = []
    for header in frames:
        for stack in stacks:
            if _same_plane(stack[0], header):
                stack.append(header)
                break
        else:
            stacks.append([header])
    return stacks


def _substitute_uid(header: FrameHeader) -> str:
    """Make a UID for anonymised files without one from other attributes; hashed, as users see the result."""
    told_by = (header.study_uid, header.patient_id, header.number, header.description)
    return f"without-uid-{hashlib.sha256(repr(told_by).encode()).hexdigest()[:12]}"


def _same_plane(one: FrameHeader, other: FrameHeader) -> bool:
    """Whether two frames are parallel and of the same pixel size, or both without geometry."""
    if one.orientation is None or other.orientation is None or one.pixel_spacing is None or other.pixel_spacing is None:
        return (one.orientation, one.pixel_spacing) == (other.orientation, other.pixel_spacing)
    turned = np.abs(np.subtract(one.orientation, other.orientation)).max()
    scaled = np.abs(np.subtract(one.pixel_spacing, other.pixel_spacing)).max()
    return bool(turned <= _PARALLEL and scaled <= _SAME_SPACING * max(map(abs, one.pixel_spacing)))
