"""What the mesh formats that are text share: rows of numbers, and names inside XML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import quoteattr

from numpy.typing import NDArray

_ROWS_AT_ONCE = 10_000
# Everything outside the characters of XML 1.0, which no escape makes legal: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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


def xml_attribute(text: str) -> str:
    """Quote and escape a text as the value of an XML attribute; characters that XML cannot hold become U+FFFD."""
    return quoteattr(_NOT_XML.sub("\ufffd", text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
