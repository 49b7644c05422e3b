"""The text header of NRRD, checked before native code reads it; see `volseg.io.images.text_header`.

Source: "Definition of NRRD File Format", https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

from volseg.errors import InputError
from volseg.io.images.nrrd_volumes import data_names, find_list_axis, header_for_itk
from volseg.io.images.text_header import (
    FLOAT32_BYTES,
    LONGEST_HEADER,
    TextHeader,
    check_data,
    damaged,
    data_size,
    gather,
    parse_sizes,
    parse_unit,
)

_NAMES = "dimension|sizes|type|encoding|endian|data ?file|(?:space )?units|space|byte ?skip|line ?skip|kinds"
_NAMES += "|spacings|space directions|space dimension|space origin|axis ?mins|axis ?maxs"
_FIELD = re.compile(rf"({_NAMES}):(?!=) *(.*)", re.IGNORECASE)
_END = re.compile(rb"\r?\n\r?\n")
_TYPE_NAMES = {
    1: "signed char, int8, int8_t, uchar, unsigned char, uint8, uint8_t",
    2: "short, short int, signed short, signed short int, int16, int16_t, "
    "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    4: "int, signed int, int32, int32_t, uint, unsigned int, uint32, uint32_t, float",
    8: "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t, "
    "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t, double",
}
_ITEM_SIZES = {name: size for size, names in _TYPE_NAMES.items() for name in names.split(", ")}
_ENCODINGS = {"raw": "raw", "hex": "hex", "gz": "deflate", "gzip": "deflate"}
_ENCODINGS |= dict.fromkeys(("txt", "text", "ascii"), "text")
_AXES = 3
_ONE_NAME = {name: name.replace(" ", "") for name in ("data file", "byte skip", "line skip", "axis mins", "axis maxs")}
_LOG = logging.getLogger(__name__)
_PATIENT_SPACE = re.compile(r"(left|right)-(anterior|posterior)-superior(-time)?|(lps|ras|las)t?")


def check_nrrd(block: bytes, path: Path) -> TextHeader:
    """Check the header of a NRRD file.

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
    if end is None and len(block) == LONGEST_HEADER:
        raise damaged(path, "its header has no end")
    lines = re.split(r"\r?\n", block[: end.start() if end else None].decode("utf-8", errors="replace"))
    fields = gather(_fields(lines), path)
    sizes = parse_sizes(fields.get("sizes", ""), fields.get("dimension", ""), path)
    kind, encoding = _voxel_format(fields, path)
    # The layers of a segmentation are not volumes; see `volseg.io.images.seg_nrrd`.
    is_segmentation = any(line.startswith("Segment") and ":=" in line for line in lines)
    axis = None if is_segmentation else find_list_axis(fields, len(sizes))
    _check_skips(fields, path)
    _check_spacing(fields, len(sizes), axis, path)
    if "datafile" in fields:
        there = data_size(data_names(fields["datafile"], lines), path)
    else:
        there = path.stat().st_size - (end.end() if end else len(block))
    numbers, copied = math.prod(sizes), _copied_bytes(kind, len(sizes))
    check_data(path, numbers=numbers, item_size=_ITEM_SIZES[kind], encoding=encoding, there=there, copied=copied)
    return TextHeader(
        "NrrdImageIO",
        numbers,
        parse_unit(_units(fields, len(sizes), axis), path),
        bool(_PATIENT_SPACE.fullmatch(fields.get("space", "").lower())),
        lists_volumes=axis is not None,
        for_itk=None if axis is None else header_for_itk(fields, lines, axis, path),
    )


def _voxel_format(fields: dict[str, str], path: Path) -> tuple[str, str]:
    """Return the type of the numbers, a key of `_ITEM_SIZES`, and their encoding as `check_data` calls it."""
    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if kind not in _ITEM_SIZES or encoding not in _ENCODINGS:
        raise damaged(
            path, f"its type is {kind[:40]!r} and its encoding {encoding[:40]!r}; expected such as short, gzip"
        )
    return kind, _ENCODINGS[encoding]


def _copied_bytes(kind: str, dimension: int) -> int:
    """Return the bytes that are copied for each number: to make a double float32, or to sort numbers by volume."""
    if kind == "double":
        return FLOAT32_BYTES
    return _ITEM_SIZES[kind] if dimension > _AXES else 0


def _units(fields: dict[str, str], dimension: int, axis: int | None) -> list[str]:
    """Return the units of the axes of space, without that of an axis of volumes; empty if the fourth axis is space."""
    if of_space := re.findall('"([^"]*)"', fields.get("space units", "")):
        return of_space[:_AXES]
    of_axes = re.findall('"([^"]*)"', fields.get("units", ""))
    if dimension <= _AXES:
        return of_axes
    if axis is None:
        return []
    return of_axes[:axis] + of_axes[axis + 1 :]


def _check_skips(fields: dict[str, str], path: Path) -> None:
    """Refuse skips that make native code read other bytes without a warning."""
    lines, skip = fields.get("lineskip", "0"), fields.get("byteskip", "0")
    if not re.fullmatch(r"\d{1,9}", lines):
        raise damaged(path, f"its line skip is {lines[:40]!r}; expected a count")
    if not re.fullmatch(r"-1|\d{1,18}", skip):
        raise damaged(path, f"its byte skip is {skip[:40]!r}; expected -1 or a count")


def _check_spacing(fields: dict[str, str], dimension: int, axis: int | None, path: Path) -> None:
    """Refuse headers for which native code assumes 1 mm without a warning; `axis` lists volumes."""
    directions = fields.get("space directions", "")
    if directions:
        if (vectors := directions.count("(")) < min(3, dimension):
            raise InputError(f"{path}: its space directions have {vectors} vectors; expected {min(3, dimension)}")
    elif "spacings" in fields:
        for n, text in enumerate(fields["spacings"].lower().split()):
            if n != axis and "nan" in text:
                raise InputError(f"{path}: its spacings are {fields['spacings'][:80]}; expected numbers")
    elif {"axismins", "axismaxs"} & fields.keys():
        raise InputError(f"{path}: says where its axes end, but not its spacing; expected spacings or space directions")
    else:
        _LOG.warning("%s: does not say its spacing; taken as 1 mm", path)


def _fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines[1:]:
        if match := _FIELD.fullmatch(line.rstrip()):
            name = match[1].lower()
            yield _ONE_NAME.get(name, name), match[2].strip()
            if name.startswith("data") and match[2].startswith("LIST"):
                return  # file names follow
