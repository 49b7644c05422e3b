"""Texts from files as a terminal and a table may show them."""

from __future__ import annotations

# Joiners that isprintable() rejects, without which words of Persian and Indian scripts are misspelt.
_JOINERS = "\u200c\u200d"


def plain(text: str) -> str:
    """Return a text on one line, without characters that move the cursor, change colours or turn the direction.

    Names in image headers come from anywhere; an escape sequence in one must not reach the terminal.
    """
    return "".join(c if c.isprintable() or c in _JOINERS else " " if c.isspace() else "?" for c in text)
