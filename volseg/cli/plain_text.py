"""Texts from files as a terminal may show them."""

from __future__ import annotations


def plain(text: str) -> str:
    """Return a text on one line, without characters that move the cursor, change colours or turn the direction.

    Names in image headers come from anywhere; an escape sequence in one must not reach the terminal.
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
