"""The text header of MetaImage, checked before native code reads it; see `volseg.io.images.text_header`.

Source: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from volseg.errors import InputError
from volseg.io.images.text_header import (
    FLOAT32_BYTES,
    Deflated,
    TextHeader,
    check_data,
    damaged,
    data_size,
    gather,
    parse_sizes,
    parse_unit,
)

_FIELD = re.compile(r"([^=:]{1,400})(?:[=:](.*))?", re.DOTALL)
_END = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][^\n]*(\n|\Z)", re.MULTILINE)
_LONGEST_LINE = 30_000
_ARRAYS = {"DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "TransformMatrix", "Rotation"}
_ARRAYS |= {"Orientation", "CenterOfRotation", "Color", "SequenceID"}
_MOST_NUMBERS = 25
_USED = {"NDims", "ElementType", "ElementNumberOfChannels", "BinaryData", "CompressedData", "CompressedDataSize"}
_USED |= {"DistanceUnits", "ElementDataFile", "HeaderSize"} | _ARRAYS
_LOG = logging.getLogger(__name__)
_ITEM_SIZES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4, "FLOAT": 4}
_ITEM_SIZES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "DOUBLE": 8}


def check_meta(block: bytes, path: Path) -> TextHeader:
    """Check the header of a MetaImage file.

    Parameters
    ----------
    block : bytes
        The beginning of the file, up to `LONGEST_HEADER` bytes.
    path : Path
        The file.

    Raises
    ------
    InputError
        The header is damaged, promises more than the file can hold, or must not be given to native code.
    """
    end = _END.search(block)
    if end is None or b"\0" in block[: end.end()]:
        raise damaged(path, "it has no ElementDataFile")
    fields = gather(_fields(block[: end.end()].decode("utf-8", errors="replace"), path), path)
    sizes = parse_sizes(fields.get("DimSize", ""), fields.get("NDims", ""), path)
    kind = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    channels = fields.get("ElementNumberOfChannels", "1")
    if kind not in _ITEM_SIZES or not re.fullmatch("[1-9][0-9]{0,5}", channels):
        raise damaged(
            path, f"its ElementType is {kind[:40]!r} with {channels[:20]!r} channels; expected such as MET_SHORT"
        )
    if not {"ElementSpacing", "ElementSize"} & fields.keys():
        _LOG.warning("%s: does not say its spacing; taken as 1 mm", path)
    if fields.get("HeaderSize", "0") not in ("0", "-1") and fields["ElementDataFile"].upper() == "LOCAL":
        raise damaged(path, f"its HeaderSize is {fields['HeaderSize'][:40]!r}, but its voxels follow the header")
    _check_spacing(fields.get("ElementSpacing", fields.get("ElementSize", "1")), path)
    voxels = _find_voxels(fields["ElementDataFile"], block[end.end() :], path, header_size=end.end())
    numbers = math.prod(sizes) * int(channels)
    encoding = _encoding(fields, voxels.size, path)
    _check_size(path, numbers, kind, encoding, voxels)
    # The world is LPS by definition. AnatomicalOrientation is ignored, as writers fill it in differently.
    mm_per_unit = parse_unit([fields.get("DistanceUnits", "")], path)
    streams = _streams(voxels, fields, numbers * _ITEM_SIZES[kind]) if encoding == "deflate" else ()
    return TextHeader("MetaImageIO", numbers, mm_per_unit, True, deflated=streams)


class _Voxels(NamedTuple):
    """Where the voxels are: the bytes of all files, the files, and the byte of each where they begin."""

    size: int
    files: list[Path]
    start: int = 0


def _streams(voxels: _Voxels, fields: dict[str, str], size: int) -> tuple[Deflated, ...]:
    """Return the zlib stream of each file; all together they hold `size` bytes."""
    # The parser reads so many bytes of each file, and all if none are given.
    stored = int(fields.get("CompressedDataSize", "0")) or None
    of_each = size // len(voxels.files)
    return tuple(Deflated(file, voxels.start, stored, of_each) for file in voxels.files)


def _check_size(path: Path, numbers: int, kind: str, encoding: str, voxels: _Voxels) -> None:
    copied = FLOAT32_BYTES if kind == "DOUBLE" else 0
    item_size = _ITEM_SIZES[kind]
    check_data(path, numbers=numbers, item_size=item_size, encoding=encoding, there=voxels.size, copied=copied)


def _find_voxels(value: str, rest: bytes, path: Path, *, header_size: int) -> _Voxels:
    """Find the voxels by the value of ElementDataFile and the rest of the file."""
    if value.upper() == "LOCAL":
        return _Voxels(path.stat().st_size - header_size, [path], header_size)
    names = _data_files(value, rest)
    return _Voxels(data_size(names, path), [path.parent / name for name in names])


def _fields(text: str, path: Path) -> Iterator[tuple[str, str]]:
    """Yield the fields that are used; MetaImage's parser has fixed room for names, texts and numbers."""
    for line in filter(None, map(str.strip, text.split("\n"))):
        match = _FIELD.fullmatch(line[: _LONGEST_LINE + 1])
        if match is None or len(line) > _LONGEST_LINE:
            raise damaged(path, f"{line[:80]!r} is not a line of such a header")
        name, value = match[1].strip(), (match[2] or "").strip()
        if name not in _USED:
            continue  # ITK writes DICOM texts into headers, some with several lines
        if name in _ARRAYS and len(value.split()) > _MOST_NUMBERS:
            raise damaged(path, f"{name} has {len(value.split())} numbers; expected at most {_MOST_NUMBERS}")
        yield name, value


def _check_spacing(text: str, path: Path) -> None:
    # ITK turns a negative spacing into a flipped axis without moving the origin.
    if any(word.startswith("-") for word in text.split()):
        raise InputError(f"{path}: has the spacing {text[:80]}; expected positive numbers")


def _encoding(fields: dict[str, str], there: int, path: Path) -> str:
    if fields.get("CompressedData", "False")[:1].lower() in "t1y":
        size = fields.get("CompressedDataSize", "0")  # the parser takes this much memory
        if not re.fullmatch("[0-9]{1,18}", size) or int(size) > there:
            raise damaged(path, f"CompressedDataSize is {size[:40]}, the file has {there} bytes")
        return "deflate"
    return "raw" if fields.get("BinaryData", "True")[:1].lower() in "t1y" else "text"


def _data_files(value: str, rest: bytes) -> list[str]:
    if not re.fullmatch(r"LIST(\s+\w+)*", value):
        return [value]
    return [name for line in rest.decode("utf-8", errors="replace").split("\n") if (name := line.strip())]
