"""Names and colours of labels: the table beside a label map, and ``dataset.json``.

The table is BIDS's ``dseg.tsv``. It is tab-separated and has the columns ``index`` and ``name``. Optional columns are
``abbreviation``, ``color`` (``#rrggbb``), ``mapping`` (an integer: the label in BIDS's own list), and volseg's own
``code`` (a terminology code, ``SCT:10200004``). Source: https://bids-specification.readthedocs.io, "Common
image-derived labels".
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from volseg.core.labelmap import Colour, Label, default_colour, keep_colours_apart
from volseg.errors import InputError
from volseg.files.names import case_name, has_suffix
from volseg.files.plain_text import plain
from volseg.files.regular import read_json, read_text
from volseg.files.tables import as_text, write_table

CODE_COLUMN = "code"
_COLUMNS = ("index", "name", "abbreviation", "color", "mapping")
_ABSENT = "n/a"
# A row of two letters takes 300 bytes of memory.
_LONGEST_TABLE, _MOST_ROWS = 1 << 24, 200_000


def sidecar_path(image_path: Path) -> Path:
    """Return the path of the label table of an image file: ``labels.nii.gz`` -> ``labels.tsv``.

    Parameters
    ----------
    image_path : Path
    """
    return image_path.with_name(case_name(image_path) + ".tsv")


def read_label_table(path: Path) -> tuple[Label, ...]:
    """Read names and colours of labels.

    Parameters
    ----------
    path : Path
        A table as described above, or a ``dataset.json`` of the Medical Segmentation Decathlon or nnU-Net.

    Returns
    -------
    tuple of Label
        Without background (0). A label without a colour gets `default_colour`, or a similar one if another label has
        that. The code comes from the column ``code``, or from ``mapping`` as in older tables.

    Raises
    ------
    InputError
        The file cannot be read, or has mistakes; the message lists every wrong line.
    """
    if has_suffix(path, (".json",)):
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
            raise InputError(f"{path}: has no 'labels' object; expected a dataset.json or a table (.tsv)")
        return labels_from_json(content["labels"], path)
    columns, rows = read_table(path, delimiter="\t")
    if missing := {"index", "name"} - set(columns):
        raise InputError(
            f"{path}: has no column {' and '.join(sorted(missing))}; expected a tab-separated table with the columns "
            f"{', '.join(_COLUMNS)}; index and name are required"
        )
    placed = []
    for number, row in rows:
        placed.append((f"line {number}", {column: as_text(cell) for column, cell in row.items()}))
    return labels_from_rows(placed, path)


def write_label_table(labels: Iterable[Label], path: Path) -> None:
    """Write names, colours and codes of labels as a table for `read_label_table`.

    Parameters
    ----------
    labels : iterable of Label
    path : Path
    """
    labels = tuple(labels)
    columns = label_columns(labels)
    rows: list[Sequence[object]] = []
    for label, name in zip(labels, _names_in_table(labels), strict=True):
        red, green, blue = label.colour
        cells = [label.value, name, _ABSENT, f"#{red:02x}{green:02x}{blue:02x}", _ABSENT, _ABSENT]
        if label.code:
            cells[5 if _is_terminology(label.code) else 4] = label.code
        rows.append(cells[: len(columns)])
    write_table(path, columns, rows, delimiter="\t")


def _names_in_table(labels: Sequence[Label]) -> list[str]:
    """Return the names in a form that can be read back: on one line, and unique by their values."""
    names: dict[str, None] = {}
    for label in labels:
        name = plain(label.name).strip()
        while name in names:
            name = f"{name}_{label.value}"
        names[name] = None
    return list(names)


def label_columns(labels: Iterable[Label]) -> tuple[str, ...]:
    """Return the columns that `write_label_table` writes: BIDS's, and `CODE_COLUMN` if a label has a code.

    Parameters
    ----------
    labels : iterable of Label
    """
    for label in labels:
        if label.code and _is_terminology(label.code):
            return (*_COLUMNS, CODE_COLUMN)
    return _COLUMNS


def _is_terminology(code: str) -> bool:
    """Whether a code is a terminology code; BIDS's own integers belong into the column ``mapping``."""
    return not re.fullmatch(r"[0-9]+", code)


def labels_from_json(entries: Mapping[str, Any], path: Path) -> tuple[Label, ...]:
    """Read the ``labels`` of a ``dataset.json``: ``{"1": "liver"}`` (Decathlon) or ``{"liver": 1}`` (nnU-Net).

    Parameters
    ----------
    entries : mapping
        The value of ``labels``.
    path : Path
        The file, for messages.

    Raises
    ------
    InputError
        Entries are wrong; the message lists them. nnU-Net's regions (several values) and ``ignore`` label are not
        supported.
    """
    rows = []
    for key, value in entries.items():
        decathlon = isinstance(value, str) and key.strip().isdigit()
        index, name = (key, value) if decathlon else (value, key)
        if str(name).strip().lower() == "ignore":
            raise InputError(f"{path}: an 'ignore' label is not supported; remove it from the label maps")
        rows.append((f"label {key!r}", {"index": index, "name": name}))
    return labels_from_rows(rows, path)


def read_table(path: Path, *, delimiter: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a table with a header line.

    Parameters
    ----------
    path : Path
    delimiter : str

    Returns
    -------
    columns : list of str
    rows : list of (int, dict of str to str)
        Line number, and stripped cells by column.

    Raises
    ------
    InputError
        The file cannot be read as a table.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, most=_LONGEST_TABLE)), delimiter=delimiter)
    rows = []
    try:
        columns = list(map(str.strip, reader.fieldnames or ()))
        reader.fieldnames = columns
        for row in islice(reader, _MOST_ROWS + 1):
            rows.append((reader.line_num, {column: (cell or "").strip() for column, cell in row.items() if column}))
    except csv.Error as error:
        raise InputError(f"{path}: is not a table ({error})") from error
    if len(rows) > _MOST_ROWS:
        raise InputError(f"{path}: has more than {_MOST_ROWS} rows; expected a table of labels or cases")
    return columns, rows


def labels_from_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], path: Path) -> tuple[Label, ...]:
    """Make labels from the rows of a table.

    Parameters
    ----------
    rows : iterable of (str, mapping)
        Place in the file, for messages, and cells by column.
    path : Path
        The file.

    Raises
    ------
    InputError
        Rows are wrong; the message lists them.
    """
    labels: list[Label] = []
    known: dict[int | str, Label] = {}  # by value and by name
    given = set()
    problems = []
    for place, row in rows:
        try:
            value = _value(row)
            if value == 0:
                continue
            code = _optional(row.get(CODE_COLUMN)) or _optional(row.get("mapping"))
            name, colour = row["name"].strip(), _colour(row.get("color", ""))
            label = Label(value, name, colour or default_colour(value, name), code)
            if twin := known.get(value) or known.get(name):
                raise ValueError(f"{value} {label.name!r} repeats {twin.value} {twin.name!r}")
            labels.append(label)
            known |= {value: label, name: label}
            given.update([value] if colour else [])
        except (ValueError, InputError) as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return keep_colours_apart(sorted(labels, key=lambda label: label.value), given)


def _value(row: Mapping[str, Any]) -> int:
    index, name = row["index"], row["name"]
    if isinstance(index, list):
        raise ValueError(f"{name!r} is a region of several values {index}, which is not supported; give one value")
    if isinstance(index, bool) or not re.fullmatch(r"\d{1,18}", str(index).strip()):
        raise ValueError(f"index is {index!r}; expected an integer of at least 0")
    return int(index)


def _colour(text: str) -> Colour | None:
    if not _optional(text):
        return None
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"color is {text!r}; expected #rrggbb")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _optional(text: str | None) -> str | None:
    return None if text in (None, "", _ABSENT) else text
