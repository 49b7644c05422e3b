"""The one writer of tables, comma- or tab-separated, and what a text becomes in a cell of one.

A cell of volseg's starts no formula in a spreadsheet program and moves no cursor in a terminal, whatever a label, a
case or a file is called. Source of the characters: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from volseg.files.atomic import write_text
from volseg.files.plain_text import plain

# Spaces before the sign do not help in every program; those of full width are signs too. A text that looks as if it was
# kept from being a formula gets another apostrophe, so that `as_text` gives it back.
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*(e[+-]?\d+)?|inf)", re.ASCII)


def write_table(
    path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, delimiter: str = ","
) -> Path:
    """Write a UTF-8 table with a header line atomically; texts become what `as_cell` says.

    Parameters
    ----------
    path : path
        Replaced if it exists.
    columns : sequence of str
    rows : iterable of sequences
        One cell a column; None is an empty one.
    delimiter : str
        A comma or a tab.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([as_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    write_text(path, text.getvalue())
    return Path(path)


def as_cell(text: str) -> str:
    """Return a text for a cell: one line without control characters, after an apostrophe if it starts a formula."""
    line = plain(text)
    return f"'{line}" if _FORMULA.match(line) and not _NUMBER.fullmatch(line) else line


def as_text(cell: str) -> str:
    """Return what `as_cell` made a cell of; all other cells stay."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
