"""The one writer of tables, comma- or tab-separated, and the form of texts in their cells.

No cell starts a formula in a spreadsheet program or moves the cursor of a terminal, whatever the name of a label, case
or file is. Source of the characters: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from volseg.files.atomic import write_text
from volseg.files.plain_text import plain

# Some programs ignore spaces before the sign, and full-width signs count too. A text that already starts with an
# apostrophe and a sign gets another apostrophe, so that `as_text` restores it.
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*(e[+-]?\d+)?|inf)", re.ASCII)


def write_table(
    path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, delimiter: str = ","
) -> Path:
    """Write a UTF-8 table with a header line atomically; texts go through `as_cell`.

    Parameters
    ----------
    path : path
        Replaced if it exists.
    columns : sequence of str
    rows : iterable of sequences
        One cell for each column; None is an empty cell.
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
    for row in rows:
        writer.writerow([as_cell(cell) if isinstance(cell, str) else cell for cell in row])
    write_text(path, text.getvalue())
    return Path(path)


def as_cell(text: str) -> str:
    """Return a text for a cell: one line without control characters, after an apostrophe if it starts a formula.

    Parameters
    ----------
    text : str
    """
    line = plain(text)
    return f"'{line}" if _FORMULA.match(line) and not _NUMBER.fullmatch(line) else line


def as_text(cell: str) -> str:
    """Return the text from which `as_cell` made a cell; other cells are returned unchanged.

    Parameters
    ----------
    cell : str
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
