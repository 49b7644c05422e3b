"""Files that hold the same pictures as another of the same instance UID: one of them is enough."""

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

# Numbers that differ by less are the same, written otherwise.
_SAME = 1e-5
# So many pixels are decoded together: a decoder takes half a second to start.
_PIXELS_AT_ONCE = 1 << 26

_Pictures = Mapping[DicomFile, Sequence[FrameHeader]]
_Copies = dict[DicomFile, DicomFile]


def find_copies(frames: Iterable[FrameHeader]) -> dict[DicomFile, DicomFile]:
    """Find the files of one series that are copies, each with the file that stays.

    A copy has the instance UID of the other, and is the same byte for byte, or has the same place, traits and values
    in another encoding or with edited texts. That stays whose texts most of the series has.
    """
    pictures: dict[DicomFile, list[FrameHeader]] = defaultdict(list)
    for frame in frames:
        pictures[frame.file].append(frame)
    by_uid: dict[str, list[DicomFile]] = defaultdict(list)
    for file, own in pictures.items():
        by_uid[own[0].sop_instance_uid].append(file)
    usual = Counter(map(_identity, pictures.values()))
    ranks = {file: (-usual[_identity(own)], _identity(own), file) for file, own in pictures.items()}
    repeated = [sorted(files, key=ranks.__getitem__) for files in by_uid.values() if len(files) > 1]
    copies = {copy: original for files in repeated for copy, original in _of_equal_bytes(files)}
    distinct = [[file for file in files if file not in copies] for files in repeated]
    others = _of_equal_values([files for files in distinct if pictures[files[0]][0].sop_instance_uid], pictures)
    return {copy: others.get(original, original) for copy, original in copies.items()} | others


def _identity(pictures: Sequence[FrameHeader]) -> tuple[tuple[str, str], ...]:
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
    alike = [lot for files in groups for lot in _alike(files, pictures)]
    for lots in _batches([lot for lot in alike if len(lot) > 1], pictures):
        values = _values(lots, pictures)
        for first, *others in lots:
            found.update({file: first for file in others if _are_equal(values.get(first), values.get(file))})
    if any(len([file for file in files if file not in found]) > 1 for files in groups):
        # The UIDs do not tell pictures apart: equal ones, such as empty slices, of several patients are no copies.
        return {copy: one for copy, one in found.items() if _identity(pictures[copy]) == _identity(pictures[one])}
    return found


def _alike(files: Sequence[DicomFile], pictures: _Pictures) -> list[list[DicomFile]]:
    """Group files whose headers say that they hold the same pictures."""
    lots: list[list[DicomFile]] = []
    for file in files:
        lot = next((lot for lot in lots if _are_alike(pictures[lot[0]], pictures[file])), None)
        if lot is None:
            lots.append([file])
        else:
            lot.append(file)
    return lots


def _are_alike(some: Sequence[FrameHeader], others: Sequence[FrameHeader]) -> bool:
    if len(some) != len(others):
        return False
    return all(
        (one.rows, one.columns, one.traits, one.inverted, one.unit)
        == (other.rows, other.columns, other.traits, other.inverted, other.unit)
        and all(_are_near(*pair) for pair in zip(_numbers(one), _numbers(other), strict=True))
        for one, other in zip(some, others, strict=True)
    )


def _numbers(frame: FrameHeader) -> tuple[tuple[float, ...] | None, ...]:
    return frame.position, frame.orientation, frame.pixel_spacing, (frame.slope, frame.intercept)


def _are_near(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    return one == other or (one is not None and other is not None and np.allclose(one, other, rtol=0, atol=_SAME))


def _batches(lots: Sequence[list[DicomFile]], pictures: _Pictures) -> Iterator[list[list[DicomFile]]]:
    """Put together what is of one size, and not too much at once."""
    waiting: dict[tuple[int, int], list[list[DicomFile]]] = defaultdict(list)
    for lot in lots:
        first = pictures[lot[0]][0]
        size = first.rows, first.columns
        waiting[size].append(lot)
        if sum(len(pictures[file]) for some in waiting[size] for file in some) * size[0] * size[1] > _PIXELS_AT_ONCE:
            yield waiting.pop(size)
    yield from waiting.values()


def _values(lots: list[list[DicomFile]], pictures: _Pictures) -> dict[DicomFile, NDArray[Any]]:
    """Decode files, those that can be decoded."""
    frames = [frame for lot in lots for file in lot for frame in pictures[file]]
    # The first says whether decoders run in processes of their own.
    frames.sort(key=lambda frame: not UID(frame.transfer_syntax).is_encapsulated)
    try:
        values = read_values(frames)
    except (InputError, MissingPackageError):
        return (
            {} if len(lots) == 1 else {file: array for lot in lots for file, array in _values([lot], pictures).items()}
        )
    numbers: dict[DicomFile, list[int]] = defaultdict(list)
    for number, frame in enumerate(frames):
        numbers[frame.file].append(number)
    return {file: values[:, :, own] for file, own in numbers.items()}


def _are_equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return False
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
