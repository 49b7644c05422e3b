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
    # The layers of a segmentation are no volumes; see `volseg.io.images.seg_nrrd`.
    is_segmentation = any(line.startswith("Segment") and ":=" in line for line in lines)
    axis = None if is_segmentation else find_list_axis(fields, len(sizes))
    _check_places(fields, len(sizes), axis, path)
    if "datafile" in fields:
        there = data_size(data_names(fields["datafile"], lines), path)
    else:
        there = path.stat().st_size - (end.end() if end else len(block))
    numbers, item_size = math.prod(sizes), _ITEM_SIZES[kind]
    copied = FLOAT32_BYTES if kind == "double" else item_size if len(sizes) > _AXES else 0
    check_data(path, numbers=numbers, item_size=item_size, encoding=_ENCODINGS[encoding], there=there, copied=copied)
    return TextHeader(
        "NrrdImageIO",
        numbers,
        parse_unit(_units(fields, len(sizes), axis), path),
        bool(_PATIENT_SPACE.fullmatch(fields.get("space", "").lower())),
        lists_volumes=axis is not None,
        for_itk=None if axis is None else header_for_itk(fields, lines, axis, path),
    )


def _units(fields: dict[str, str], dimension: int, axis: int | None) -> list[str]:
    """Return the units of the axes of space; an axis that lists volumes, and a fourth one of space, have others."""
    if of_space := re.findall('"([^"]*)"', fields.get("space units", "")):
        return of_space[:_AXES]
    of_axes = re.findall('"([^"]*)"', fields.get("units", ""))
    if dimension > _AXES:
        return [unit for n, unit in enumerate(of_axes) if n != axis] if axis is not None else []
    return of_axes


def _check_places(fields: dict[str, str], dimension: int, axis: int | None, path: Path) -> None:
    """Refuse where native code would take 1 mm, or bytes from elsewhere, without a word; `axis` lists volumes."""
    skip, directions = fields.get("byteskip", "0"), fields.get("space directions", "")
    spacings = [text for n, text in enumerate(fields.get("spacings", "").lower().split()) if n != axis]
    if not re.fullmatch(r"\d{1,9}", fields.get("lineskip", "0")):
        raise damaged(path, f"its line skip is {fields['lineskip'][:40]!r}; expected a count")
    if not re.fullmatch(r"-1|\d{1,18}", skip):
        raise damaged(path, f"its byte skip is {skip[:40]!r}; expected -1 or a count")
    if directions:
        if (vectors := directions.count("(")) < min(3, dimension):
            raise InputError(f"{path}: its space directions have {vectors} vectors; expected {min(3, dimension)}")
    elif {"axismins", "axismaxs"} & fields.keys() and "spacings" not in fields:
        raise InputError(f"{path}: says where its axes end, but not its spacing; expected spacings or space directions")
    elif any("nan" in text for text in spacings):
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
