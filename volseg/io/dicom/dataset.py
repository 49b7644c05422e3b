"""Reading of DICOM data sets by pydicom, with bounds on memory and time that undamaged files do not reach.

pydicom takes a kilobyte for each coordinate as a number, and 300 bytes for an element of eight bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, BinaryIO, cast

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import read_partial, read_sequence
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from volseg.files.streams import most_unpacked
from volseg.io.dicom.attributes import text_of
from volseg.io.dicom.storage import ALWAYS_UNPACKED, DicomFile
from volseg.io.dicom.stream import BoundedStream, ReadBudget, SeekableStream, SwollenError

_MARK = slice(128, 132)
_META_LENGTH = slice(140, 144)
_CHUNK = 1 << 24
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_MOST_ELEMENTS = 20_000
# For numbers and texts. Contours are read as raw bytes, with another bound in `volseg.io.dicom.rtstruct_file`.
_LONGEST_VALUE = 1 << 20
_BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ"}
_CONTOUR_DATA = 0x30060050
# Sequences of longer headers are parsed at once, and their elements are counted.
_LONG_HEADER = 1 << 25


def has_mark(head: bytes) -> bool:
    """Whether a file starts with a preamble and DICOM's mark.

    Parameters
    ----------
    head : bytes
        At least the first 132 bytes.
    """
    return head[_MARK] == b"DICM"


def open_dataset(file: DicomFile, **options: Any) -> Any:
    """Read a file by pydicom. Preamble and file meta may be missing if it clearly is DICOM.

    Parameters
    ----------
    file : DicomFile
    stop_before_pixels : bool
        Read only the elements before the pixels.
    specific_tags : sequence of str
        Read only these attributes of the data set itself; the default is all.

    Raises
    ------
    One of `volseg.io.dicom.attributes.DAMAGE`
        The file is cut off, is not DICOM, or has more elements or longer values than any scan.
    """
    with file.open() as stream:
        return parse_dataset(stream, **options)


def parse_dataset(
    stream: SeekableStream, *, stop_before_pixels: bool = False, specific_tags: Sequence[str] | None = None
) -> Any:
    """Read an open, seekable file as `open_dataset` does.

    Parameters
    ----------
    stream : SeekableStream
        The file.
    stop_before_pixels, specific_tags
        As in `open_dataset`.
    """
    head = stream.read(1 << 10)
    if not head:
        raise EOFError("it is empty")
    bare = not has_mark(head)
    if DeflatedExplicitVRLittleEndian.encode() in head:
        _check_deflated(stream, head)
    stream.seek(0)
    wanted = _tags(tuple(specific_tags)) if specific_tags else None
    dataset = read_partial(cast(BinaryIO, stream), _Counter(stop_before_pixels), force=bare, specific_tags=wanted)
    check_values(dataset)
    if stream.tell() - _pixel_bytes(dataset) > _LONG_HEADER:
        _parse_sequences(dataset, ReadBudget())
    if bare:
        if not UID(text_of(dataset, "SOPClassUID")).name.endswith("Storage"):
            raise ValueError("it has neither DICOM's mark nor a SOPClassUID; it is not DICOM, or its start is missing")
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, _ = dataset.original_encoding
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


@lru_cache(maxsize=16)
def _tags(keywords: tuple[str, ...]) -> list[Any]:
    return [Tag(keyword) for keyword in keywords]


class _Counter:
    """Counts the elements of a data set, and stops at its pixels or at too many elements."""

    def __init__(self, stop_before_pixels: bool) -> None:
        self._pixels = _PIXELS if stop_before_pixels else set()
        self._found = 0

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        self._found += 1
        if self._found > _MOST_ELEMENTS:
            raise ValueError(f"it has more than {_MOST_ELEMENTS} elements")
        return tag in self._pixels


def check_values(dataset: Any) -> None:
    """Refuse texts and numbers that are longer than in any scan, before pydicom makes objects of them.

    Parameters
    ----------
    dataset : Dataset
        The data set, or an item of a sequence.

    Raises
    ------
    ValueError
        An attribute of the data set itself is longer.
    """
    for tag in tuple(dataset.keys()):
        raw = dataset.get_item(tag)
        if not isinstance(raw, RawDataElement) or raw.value is None or len(raw.value) <= _LONGEST_VALUE:
            continue
        if _vr_of(raw) not in _BINARY and tag not in (*_PIXELS, _CONTOUR_DATA):
            raise ValueError(f"attribute {tag} has {len(raw.value)} bytes; expected at most {_LONGEST_VALUE}")


def _parse_sequences(dataset: Any, budget: ReadBudget) -> None:
    """Parse the sequences of a data set, and those inside them, within the budget."""
    for tag in tuple(dataset.keys()):
        element = dataset.get_item(tag)
        if isinstance(element, RawDataElement):
            if _vr_of(element) != "SQ" or not element.value:
                continue
            content = BoundedStream(BytesIO(element.value), len(element.value), budget)
            items = read_sequence(
                cast(BinaryIO, content),
                element.is_implicit_VR,
                element.is_little_endian,
                len(element.value),
                dataset.original_character_set,
            )
            element = dataset[tag] = DataElement(tag, "SQ", items)
        for item in element.value if element.VR == "SQ" else ():
            check_values(item)
            _parse_sequences(item, budget)


def _vr_of(raw: RawDataElement) -> str:
    if raw.VR and raw.VR != "UN":
        return str(raw.VR)
    try:
        return str(dictionary_VR(raw.tag))
    except KeyError:
        return "UN"


def _pixel_bytes(dataset: Any) -> int:
    pixels = (dataset.get_item(tag) for tag in _PIXELS if tag in dataset)
    return sum(len(element.value or b"") for element in pixels)


def _check_deflated(stream: SeekableStream, head: bytes) -> None:
    """Refuse a data set that unpacks to more than a scan has; pydicom would unpack it whole."""
    stream.seek(_META_LENGTH.stop + int.from_bytes(head[_META_LENGTH], "little"))
    data = stream.read()
    most, size, unpacker = most_unpacked(len(data), always=ALWAYS_UNPACKED), 0, zlib.decompressobj(wbits=-15)
    while data and not unpacker.eof:
        size += len(unpacker.decompress(data, _CHUNK))
        data = unpacker.unconsumed_tail
        if size > most:
            raise SwollenError(f"unpacks to more than {most} bytes, as a decompression bomb does")
