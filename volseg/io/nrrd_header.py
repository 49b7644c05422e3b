"""The text header of NRRD, checked before native code reads it; see `volseg.io.text_header`.

Source: "Definition of NRRD File Format", https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

from volseg.errors import InputError
from volseg.io.text_header import (
    LONGEST_HEADER,
    TextHeader,
    check_data,
    damaged,
    data_size,
    gather,
    parse_sizes,
    parse_unit,
)

_NAMES = "dimension|sizes|type|encoding|data ?file|(?:space )?units|space|byte ?skip"
_NAMES += "|spacings|space directions|axis ?mins|axis ?maxs"
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
_AXES = 3  # of more, one is a list or time and has another unit
_ONE_NAME = {"data file": "datafile", "byte skip": "byteskip", "axis mins": "axismins", "axis maxs": "axismaxs"}
_LOG = logging.getLogger(__name__)
_PATIENT_SPACE = re.compile(r"(left|right)-(anterior|posterior)-superior(-time)?|(lps|ras|las)t?")


def check_nrrd(block: bytes, path: Path) -> TextHeader:
    """Check the header of a NRRD file.

    Parameters
    ----------
    block : bytes
        The beginning of the file, `LONGEST_HEADER` bytes if it has so many.
    path : Path
        The file.

    Raises
    ------
    InputError
        What it promises cannot be, or must not be given to native code.
    """
    end = _END.search(block)
    if end is None and len(block) == LONGEST_HEADER:
        raise damaged(path, "its header has no end")
    lines = re.split(r"\r?\n", block[: end.start() if end else None].decode("utf-8", errors="replace"))
    fields = gather(_fields(lines), path)
    sizes = parse_sizes(fields.get("sizes", ""), fields.get("dimension", ""), path)
    kind, encoding = fields.get("type", "").lower(), fields.get("encoding", "").lower()
    if kind not in _ITEM_SIZES or encoding not in _ENCODINGS:
        raise damaged(
            path, f"its type is {kind[:40]!r} and its encoding {encoding[:40]!r}; expected such as short, gzip"
        )
    _check_places(fields, len(sizes), path)
    if "datafile" in fields:
        there = data_size(_data_files(fields["datafile"], lines), path)
    else:
        there = path.stat().st_size - (end.end() if end else len(block))
    numbers = math.prod(sizes)
    check_data(path, numbers=numbers, item_size=_ITEM_SIZES[kind], encoding=_ENCODINGS[encoding], there=there)
    unit = parse_unit(
        re.findall('"([^"]*)"', fields.get("space units") or (fields.get("units", "") if len(sizes) <= _AXES else "")),
        path,
    )
    return TextHeader("NrrdImageIO", numbers, unit, bool(_PATIENT_SPACE.fullmatch(fields.get("space", "").lower())))


def _check_places(fields: dict[str, str], dimension: int, path: Path) -> None:
    """Refuse where native code would take 1 mm, or bytes from elsewhere, without a word."""
    skip, directions = fields.get("byteskip", "0"), fields.get("space directions", "")
    if not re.fullmatch(r"-1|\d{1,18}", skip):
        raise damaged(path, f"its byte skip is {skip[:40]!r}; expected -1 or a count")
    if directions:
        if (vectors := directions.count("(")) < min(3, dimension):
            raise InputError(f"{path}: its space directions have {vectors} vectors; expected {min(3, dimension)}")
    elif {"axismins", "axismaxs"} & fields.keys() and "spacings" not in fields:
        raise InputError(f"{path}: says where its axes end, but not its spacing; expected spacings or space directions")
    elif "nan" in fields.get("spacings", "").lower():
        raise InputError(f"{path}: its spacings are {fields['spacings'][:80]}; expected numbers")
    elif "spacings" not in fields:
        _LOG.warning("%s: does not say its spacing; taken as 1 mm", path)


def _fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines[1:]:
        if match := _FIELD.fullmatch(line.rstrip()):
            name = match[1].lower()
            yield _ONE_NAME.get(name, name), match[2].strip()
            if name.startswith("data") and match[2].startswith("LIST"):
                return  # file names follow


def _data_files(value: str, lines: list[str]) -> list[str]:
    if not re.fullmatch(r"LIST( +\d+)?", value):
        return [value]
    first = next(n for n, line in enumerate(lines) if re.match("data ?file:", line, re.IGNORECASE))
    return [line for line in lines[first + 1 :] if line]
