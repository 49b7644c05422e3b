"""Copies: files with the same frames as another file of the same instance UID."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from volseg.errors import InputError, MissingPackageError
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.identity import identity_of
from volseg.io.dicom.pixels import read_values
from volseg.io.dicom.storage import DicomFile

# Numbers that differ by less are the same number in another spelling.
_SAME = 1e-5
# Number of pixels that are decoded together: a decoder takes half a second to start.
_PIXELS_AT_ONCE = 1 << 26

_FramesOf = Mapping[DicomFile, Sequence[FrameHeader]]
_Copies = dict[DicomFile, DicomFile]
_Identity = tuple[tuple[str, str], ...]


def find_copies(frames: Iterable[FrameHeader]) -> dict[DicomFile, DicomFile]:
    """Find the files of one series that are copies, and the original of each.

    A copy has the instance UID of its original. It either has the same bytes, or the same position, traits and values
    with another encoding or edited texts. The original is the file with the texts of most files in the series.

    Parameters
    ----------
    frames : iterable of FrameHeader
        All frames of the series.

    Returns
    -------
    dict of DicomFile to DicomFile
        The original of each copy.
    """
    frames_of: dict[DicomFile, list[FrameHeader]] = defaultdict(list)
    for frame in frames:
        frames_of[frame.file].append(frame)
    by_uid: dict[str, list[DicomFile]] = defaultdict(list)
    for file, own in frames_of.items():
        by_uid[own[0].sop_instance_uid].append(file)
    if len(by_uid) == len(frames_of):
        return {}
    usual = Counter(map(_identity, frames_of.values()))

    def rank(file: DicomFile) -> tuple[int, _Identity, DicomFile]:
        identity = _identity(frames_of[file])
        return -usual[identity], identity, file

    copies: _Copies = {}
    distinct = []
    for uid, files in by_uid.items():
        if len(files) > 1:
            files.sort(key=rank)
            equal = dict(_of_equal_bytes(files))
            copies |= equal
            if uid:
                distinct.append([file for file in files if file not in equal])
    others = _of_equal_values(distinct, frames_of)
    for copy, original in copies.items():
        copies[copy] = others.get(original, original)
    return copies | others


def _identity(frames: Sequence[FrameHeader]) -> _Identity:
    return tuple(sorted(identity_of(frames[0]).items()))


def _of_equal_bytes(files: Sequence[DicomFile]) -> Iterator[tuple[DicomFile, DicomFile]]:
    kept: dict[bytes, DicomFile] = {}
    for file in files:
        with file.open() as stream:
            digest = hashlib.sha256(stream.read()).digest()
        if digest in kept:
            yield file, kept[digest]
        kept.setdefault(digest, file)


def _of_equal_values(groups: Sequence[Sequence[DicomFile]], frames_of: _FramesOf) -> _Copies:
    """Find copies by their values, in groups of files with one instance UID."""
    found: _Copies = {}
    for lots in _batches(_lots(groups, frames_of), frames_of):
        values = _values(lots, frames_of)
        for first, *others in lots:
            for file in others:
                if _are_equal(values.get(first), values.get(file)):
                    found[file] = first
    if any(len(set(files) - found.keys()) > 1 for files in groups):
        # These UIDs are not unique, so equal frames of several patients, such as empty slices, are not copies.
        return {copy: one for copy, one in found.items() if _identity(frames_of[copy]) == _identity(frames_of[one])}
    return found


def _lots(groups: Sequence[Sequence[DicomFile]], frames_of: _FramesOf) -> list[list[DicomFile]]:
    """Return lots of several files of a group with the same frames by their headers."""
    lots = []
    for files in groups:
        for lot in _alike(files, frames_of):
            if len(lot) > 1:
                lots.append(lot)
    return lots


def _alike(files: Sequence[DicomFile], frames_of: _FramesOf) -> list[list[DicomFile]]:
    """Group files with the same frames by their headers."""
    lots: list[list[DicomFile]] = []
    for file in files:
        for lot in lots:
            if _are_alike(frames_of[lot[0]], frames_of[file]):
                lot.append(file)
                break
        else:
            lots.append([file])
    return lots


def _are_alike(some: Sequence[FrameHeader], others: Sequence[FrameHeader]) -> bool:
    if len(some) != len(others):
        return False
    for one, other in zip(some, others, strict=True):
        if _exact(one) != _exact(other):
            return False
        for numbers, other_numbers in zip(_numbers(one), _numbers(other), strict=True):
            if not _are_near(numbers, other_numbers):
                return False
    return True


def _exact(frame: FrameHeader) -> tuple[object, ...]:
    return frame.rows, frame.columns, frame.traits, frame.inverted, frame.unit


def _numbers(frame: FrameHeader) -> tuple[tuple[float, ...] | None, ...]:
    return frame.position, frame.orientation, frame.pixel_spacing, (frame.slope, frame.intercept)


def _are_near(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    return one == other or (one is not None and other is not None and np.allclose(one, other, rtol=0, atol=_SAME))


def _batches(lots: Sequence[list[DicomFile]], frames_of: _FramesOf) -> Iterator[list[list[DicomFile]]]:
    """Join lots of one image size into batches with a bounded number of pixels."""
    waiting: dict[tuple[int, int], list[list[DicomFile]]] = defaultdict(list)
    pixels: Counter[tuple[int, int]] = Counter()
    for lot in lots:
        first = frames_of[lot[0]][0]
        size = first.rows, first.columns
        waiting[size].append(lot)
        for file in lot:
            pixels[size] += len(frames_of[file]) * first.rows * first.columns
        if pixels[size] > _PIXELS_AT_ONCE:
            yield waiting.pop(size)
            del pixels[size]
    yield from waiting.values()


def _values(lots: list[list[DicomFile]], frames_of: _FramesOf) -> dict[DicomFile, NDArray[Any]]:
    """Decode files; files that cannot be decoded are absent."""
    frames: list[FrameHeader] = []
    for lot in lots:
        for file in lot:
            frames.extend(frames_of[file])
    # The first frame decides whether decoders run in other processes.
    frames.sort(key=lambda frame: not UID(frame.transfer_syntax).is_encapsulated)
    found: dict[DicomFile, NDArray[Any]] = {}
    try:
        values = read_values(frames)
    except (InputError, MissingPackageError):
        if len(lots) > 1:
            for lot in lots:
                found |= _values([lot], frames_of)
        return found
    numbers: dict[DicomFile, list[int]] = defaultdict(list)
    for number, frame in enumerate(frames):
        numbers[frame.file].append(number)
    for file, own in numbers.items():
        found[file] = values[:, :, own]
    return found


def _are_equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return False
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
