"""NRRD files that hold several volumes: which axis lists them, and their header as ITK reads it.

ITK takes an axis of the kind list or vector for numbers of a voxel, wherever it stands. It refuses an axis of time or
of unknown kind, which other programs write for the same: such a file is read through a header of its own, in which
the axis is a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volseg.errors import InputError

_AXES = 4
_READ_BY_ITK = ("list", "vector")
_LISTS = (*_READ_BY_ITK, "time")
_UNSAID = ("???", "none", "domain", "space")
_VECTOR = re.compile(r"none|\([^()]*\)", re.IGNORECASE)
_NUMBER = re.compile(r"[^\s(),]+")
_WITH_TIME = re.compile(r"(.*superior)-time|(lps|ras|las)t", re.IGNORECASE)
# Fields that say the same of the file's numbers in both headers.
_TAKEN_OVER = {"type": "type", "sizes": "sizes", "encoding": "encoding", "endian": "endian", "byteskip": "byte skip"}


def find_list_axis(fields: Mapping[str, str], dimension: int) -> int | None:
    """Return which of four axes lists volumes; None where none does, or it is not said.

    Parameters
    ----------
    fields : mapping
        Of the header, by their names in lower case.
    dimension : int
        How many axes there are.
    """
    kinds, vectors = _kinds(fields), _vectors(fields)
    if not dimension == len(kinds) == len(vectors) == _AXES:
        return None
    found = [n for n in range(_AXES) if kinds[n] in _LISTS or (vectors[n] and not _is_spatial(vectors[n]))]
    return found[0] if len(found) == 1 and kinds[found[0]] in (*_LISTS, *_UNSAID) else None


def header_for_itk(fields: Mapping[str, str], lines: Sequence[str], axis: int, path: Path) -> str | None:
    """Return a header, for a file of its own, by which ITK reads the file; None where it reads the file itself.

    Parameters
    ----------
    fields : mapping
        As of `find_list_axis`, which gave the axis.
    lines : sequence of str
        The header, without the empty line at its end.
    axis : int
        The one that lists volumes.
    path : Path
        The file.

    Raises
    ------
    InputError
        NRRD takes the path for a pattern of file names.
    """
    if _is_read_by_itk(fields, axis):
        return None
    header = [lines[0], f"dimension: {_AXES}"]
    header += [f"{name}: {fields[field]}" for field, name in _TAKEN_OVER.items() if field in fields]
    header.append("kinds: " + _per_axis(["domain"] * _AXES, axis, "list"))
    header += _space_lines(fields, axis)
    header += [line for line in lines if ":=" in line]
    return "\n".join([*header, *_data_lines(fields, lines, path)]) + "\n"


def _is_read_by_itk(fields: Mapping[str, str], axis: int) -> bool:
    has_time = bool(_WITH_TIME.fullmatch(fields.get("space", ""))) or fields.get("space dimension") == str(_AXES)
    has_vector = _vectors(fields)[axis].lower() not in ("", "none")
    return _kinds(fields)[axis] in _READ_BY_ITK and not has_vector and not has_time


def _space_lines(fields: Mapping[str, str], axis: int) -> Iterator[str]:
    """Yield what a header says of the patient space, without time."""
    if space := _WITH_TIME.sub(lambda match: match[1] or match[2], fields.get("space", "")):
        yield f"space: {space}"
    elif "space dimension" in fields:
        yield "space dimension: 3"
    vectors = _vectors(fields)
    if any(vectors):
        yield "space directions: " + _per_axis([_of_three(vector) for vector in vectors[:_AXES]], axis, "none")
    if "spacings" in fields:
        yield "spacings: " + _per_axis(fields["spacings"].split()[:_AXES], axis, "nan")
    if "space origin" in fields:
        yield f"space origin: {_of_three(fields['space origin'])}"


def _per_axis(values: Sequence[str], axis: int, of_list: str) -> str:
    """Join a value for each axis; that which lists volumes has its own."""
    return " ".join(of_list if n == axis else value for n, value in enumerate(values))


def _kinds(fields: Mapping[str, str]) -> list[str]:
    return fields.get("kinds", "").lower().split() or ["???"] * _AXES


def _vectors(fields: Mapping[str, str]) -> list[str]:
    return _VECTOR.findall(fields.get("space directions", "")) or [""] * _AXES


def _is_spatial(vector: str) -> bool:
    """Whether an axis has a direction in the three axes of the patient; of a fourth one, time, none of its own."""
    numbers = _NUMBER.findall(vector)[:3]
    return len(numbers) == 3 and any(re.search("[1-9]", number.lower().partition("e")[0]) for number in numbers)


def _of_three(vector: str) -> str:
    return f"({','.join(_NUMBER.findall(vector)[:3])})"


def _data_lines(fields: Mapping[str, str], lines: Sequence[str], path: Path) -> list[str]:
    """Say where the voxels are: in the file behind its header, or in those that it names."""
    skipped = int(fields.get("lineskip", "0"))
    folder = path.parent.absolute()
    if "%" in str(folder / path.name):
        raise InputError(f"{folder / path.name}: NRRD does not allow % in a path; rename it")
    if "datafile" not in fields:
        return [f"line skip: {len(lines) + 1 + skipped}", f"data file: {folder / path.name}"]
    start = [f"line skip: {skipped}"] if skipped else []
    names = data_names(fields["datafile"], lines)
    if names == [fields["datafile"]]:
        return [*start, f"data file: {folder / names[0]}"]
    return [*start, f"data file: {fields['datafile']}", *(str(folder / name) for name in names)]


def data_names(value: str, lines: Sequence[str]) -> list[str]:
    """Return the names of the files with the voxels: the value of ``data file``, or the lines after a LIST."""
    if not re.fullmatch(r"LIST( +\d+)?", value):
        return [value]
    first = next(n for n, line in enumerate(lines) if re.match("data ?file:", line, re.IGNORECASE))
    return [line for line in lines[first + 1 :] if line]
