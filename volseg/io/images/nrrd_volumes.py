"""NRRD files that hold several volumes: which axis lists them, and their header as ITK reads it.

ITK takes an axis of the kind list or vector as the numbers of a voxel, in any place. It refuses an axis of time or of
unknown kind, which other programs write for the same purpose. Such a file is read through a second header, in which the
axis is a list.
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
# Fields that both headers have, with their names in the second one.
_TAKEN_OVER = {"type": "type", "sizes": "sizes", "encoding": "encoding", "endian": "endian", "byteskip": "byte skip"}


def find_list_axis(fields: Mapping[str, str], dimension: int) -> int | None:
    """Find the one of four axes that lists volumes.

    Parameters
    ----------
    fields : mapping
        Of the header, by their names in lower case.
    dimension : int
        Number of axes.

    Returns
    -------
    int or None
        None if no axis lists volumes, or if the header does not say which.
    """
    kinds, vectors = _kinds(fields), _vectors(fields)
    if not dimension == len(kinds) == len(vectors) == _AXES:
        return None
    found = []
    for axis, (kind, vector) in enumerate(zip(kinds, vectors, strict=True)):
        if kind in _LISTS or (vector and not _is_spatial(vector)):
            found.append(axis)
    if len(found) != 1 or kinds[found[0]] not in (*_LISTS, *_UNSAID):
        return None
    return found[0]


def header_for_itk(fields: Mapping[str, str], lines: Sequence[str], axis: int, path: Path) -> str | None:
    """Return a second header, by which ITK reads the file; None if ITK reads the file itself.

    Parameters
    ----------
    fields : mapping
        Of the header, by their names in lower case.
    lines : sequence of str
        The header, without the empty line at its end.
    axis : int
        The axis that lists volumes, by `find_list_axis`.
    path : Path
        The file.

    Raises
    ------
    InputError
        NRRD would take the path for a pattern of file names.
    """
    if _is_read_by_itk(fields, axis):
        return None
    header = [lines[0], f"dimension: {_AXES}"]
    for field, name in _TAKEN_OVER.items():
        if field in fields:
            header.append(f"{name}: {fields[field]}")
    header.append("kinds: " + _per_axis(["domain"] * _AXES, axis, "list"))
    header += _space_lines(fields, axis)
    header += [line for line in lines if ":=" in line]
    return "\n".join([*header, *_data_lines(fields, lines, path)]) + "\n"


def _is_read_by_itk(fields: Mapping[str, str], axis: int) -> bool:
    has_time = bool(_WITH_TIME.fullmatch(fields.get("space", ""))) or fields.get("space dimension") == str(_AXES)
    has_vector = _vectors(fields)[axis].lower() not in ("", "none")
    return _kinds(fields)[axis] in _READ_BY_ITK and not has_vector and not has_time


def _space_lines(fields: Mapping[str, str], axis: int) -> Iterator[str]:
    """Yield the lines of a header that describe the patient space, without time."""
    if space := _WITH_TIME.sub(lambda match: match[1] or match[2], fields.get("space", "")):
        yield f"space: {space}"
    elif "space dimension" in fields:
        yield "space dimension: 3"
    vectors = _vectors(fields)
    if any(vectors):
        yield "space directions: " + _per_axis([*map(_of_three, vectors[:_AXES])], axis, "none")
    if "spacings" in fields:
        yield "spacings: " + _per_axis(fields["spacings"].split()[:_AXES], axis, "nan")
    if "space origin" in fields:
        yield f"space origin: {_of_three(fields['space origin'])}"


def _per_axis(values: Sequence[str], axis: int, of_list: str) -> str:
    """Join the values of the axes, with another value for the axis that lists volumes."""
    return " ".join(of_list if n == axis else value for n, value in enumerate(values))


def _kinds(fields: Mapping[str, str]) -> list[str]:
    return fields.get("kinds", "").lower().split() or ["???"] * _AXES


def _vectors(fields: Mapping[str, str]) -> list[str]:
    return _VECTOR.findall(fields.get("space directions", "")) or [""] * _AXES


def _is_spatial(vector: str) -> bool:
    """Whether an axis has a direction along the three axes of the patient; an axis of time has not."""
    numbers = _NUMBER.findall(vector)[:3]
    return len(numbers) == 3 and any(re.search("[1-9]", number.lower().partition("e")[0]) for number in numbers)


def _of_three(vector: str) -> str:
    return f"({','.join(_NUMBER.findall(vector)[:3])})"


def _data_lines(fields: Mapping[str, str], lines: Sequence[str], path: Path) -> list[str]:
    """Return the lines that say where the voxels are: in the file behind its header, or in the files that it names."""
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
    """Return the names of the files with the voxels.

    Parameters
    ----------
    value : str
        Of the field ``data file``; after a LIST the names follow in the lines of the header.
    lines : sequence of str
        The header.
    """
    if not re.fullmatch(r"LIST( +\d+)?", value):
        return [value]
    first = next(n for n, line in enumerate(lines) if re.match("data ?file:", line, re.IGNORECASE))
    return [line for line in lines[first + 1 :] if line]
