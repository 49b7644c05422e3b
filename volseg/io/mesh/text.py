"""Rows of numbers, for the mesh formats that are text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

_ROWS_AT_ONCE = 10_000


def text_rows(row: str, values: NDArray[Any]) -> Iterator[str]:
    """Yield the text of a table in pieces.

    Parameters
    ----------
    row : str
        Format of one row, such as ``v %.9g %.9g %.9g`` with its line end.
    values : (rows, columns) array
    """
    for start in range(0, len(values), _ROWS_AT_ONCE):
        part = values[start : start + _ROWS_AT_ONCE]
        yield row * len(part) % tuple(part.ravel().tolist())
