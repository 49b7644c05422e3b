"""Copies among files: those that hold the same pictures as another file of the same instance UID."""

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

# Numbers that differ by less are the same, but written in another way.
_SAME = 1e-5
# Pixels that are decoded together: a decoder takes half a second to start.
_PIXELS_AT_ONCE = 1 << 26

_Pictures = Mapping[DicomFile, Sequence[FrameHeader]]
_Copies = dict[DicomFile, DicomFile]
_Identity = tuple[tuple[str, str], ...]


def find_copies(frames: Iterable[FrameHeader]) -> dict[DicomFile, DicomFile]:
    """Find the files of one series that are copies, each with the file that stays.

    A copy has the instance UID of the other, and is the same byte for byte, or has the same place, traits and values
    in another encoding or with edited texts. The file with the texts of most of the series stays.

    Parameters
    ----------
    frames : iterable of FrameHeader
        All pictures of the series.

    Returns
    -------
    dict of DicomFile to DicomFile
        For each copy the file that stays.
    """
    pictures: dict[DicomFile, list[FrameHeader]] = defaultdict(list)
    for frame in frames:
        pictures[frame.file].append(frame)
    by_uid: dict[str, list[DicomFile]] = defaultdict(list)
    for file, own in pictures.items():
        by_uid[own[0].sop_instance_uid].append(file)
    if len(by_uid) == len(pictures):
        return {}
    usual = Counter(map(_identity, pictures.values()))

    def rank(file: DicomFile) -> tuple[int, _Identity, DicomFile]:
        identity = _identity(pictures[file])
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
    others = _of_equal_values(distinct, pictures)
    for copy, original in copies.items():
        copies[copy] = others.get(original, original)
    return copies | others


def _identity(pictures: Sequence[FrameHeader]) -> _Identity:
    return tuple(sorted(identity_of(pictures[0]).items()))


def _of_equal_bytes(files: Sequence[DicomFile]) -> Iterator[tuple[DicomFile, DicomFile]]:
    kept: dict[bytes, DicomFile] = {}
    for file in files:
        with file.open() as stream:
            digest = hashlib.sha256(stream.read()).digest()
        if digest in kept:
            yield file, kept[digest]
        kept.setdefault(digest, file)


def _of_equal_values(groups: Sequence[Sequence[DicomFile]], pictures: _Pictures) -> _Copies:
    """Find copies among files of one instance UID each."""
    found: _Copies = {}
    for lots in _batches(_lots(groups, pictures), pictures):
        values = _values(lots, pictures)
        for first, *others in lots:
            for file in others:
                if _are_equal(values.get(first), values.get(file)):
                    found[file] = first
    if any(len(set(files) - found.keys()) > 1 for files in groups):
        # The UIDs do not tell pictures apart: equal pictures of several patients, such as empty slices, are not copies.
        return {copy: one for copy, one in found.items() if _identity(pictures[copy]) == _identity(pictures[one])}
    return found


def _lots(groups: Sequence[Sequence[DicomFile]], pictures: _Pictures) -> list[list[DicomFile]]:
    """Return the files of each group whose headers say that they hold the same pictures, together, if several do."""
    lots = []
    for files in groups:
        for lot in _alike(files, pictures):
            if len(lot) > 1:
                lots.append(lot)
    return lots


def _alike(files: Sequence[DicomFile], pictures: _Pictures) -> list[list[DicomFile]]:
    """Group files whose headers say that they hold the same pictures."""
    lots: list[list[DicomFile]] = []
    for file in files:
        for lot in lots:
            if _are_alike(pictures[lot[0]], pictures[file]):
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


def _batches(lots: Sequence[list[DicomFile]], pictures: _Pictures) -> Iterator[list[list[DicomFile]]]:
    """Put lots of one size together, but not too many pixels at once."""
    waiting: dict[tuple[int, int], list[list[DicomFile]]] = defaultdict(list)
    pixels: Counter[tuple[int, int]] = Counter()
    for lot in lots:
        first = pictures[lot[0]][0]
        size = first.rows, first.columns
        waiting[size].append(lot)
        for file in lot:
            pixels[size] += len(pictures[file]) * first.rows * first.columns
        if pixels[size] > _PIXELS_AT_ONCE:
            yield waiting.pop(size)
            del pixels[size]
    yield from waiting.values()


def _values(lots: list[list[DicomFile]], pictures: _Pictures) -> dict[DicomFile, NDArray[Any]]:
    """Decode files; those that cannot be decoded are absent."""
    frames: list[FrameHeader] = []
    for lot in lots:
        for file in lot:
            frames.extend(pictures[file])
    # The first says whether decoders run in processes of their own.
    frames.sort(key=lambda frame: not UID(frame.transfer_syntax).is_encapsulated)
    found: dict[DicomFile, NDArray[Any]] = {}
    try:
        values = read_values(frames)
    except (InputError, MissingPackageError):
        if len(lots) > 1:
            for lot in lots:
                found |= _values([lot], pictures)
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
