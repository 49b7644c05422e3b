"""What the mesh formats that are text share: rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

_ROWS_AT_ONCE = 10_000


def text_rows(row: str, values: NDArray[Any]) -> Iterator[str]:
    """Give the text of a table in pieces.

    Parameters
    ----------
    row : str
        How one row looks, such as ``v %.9g %.9g %.9g`` with its line end.
    values : (rows, columns) array
    """
    for start in range(0, len(values), _ROWS_AT_ONCE):
        part = values[start : start + _ROWS_AT_ONCE]
        yield row * len(part) % tuple(part.ravel().tolist())
