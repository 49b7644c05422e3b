"""Texts from files, made safe for a terminal and a table."""

from __future__ import annotations

from collections.abc import Sequence

# Joiners that isprintable() rejects; words in Persian and Indian scripts are misspelt without them.
_JOINERS = "\u200c\u200d"


def plain(text: str) -> str:
    """Return a text on one line, without characters that move the cursor, change colours or reverse the direction.

    Names in image headers are not trusted; an escape sequence in one must not reach the terminal.

    Parameters
    ----------
    text : str
    """
    characters = []
    for character in text:
        if character.isprintable() or character in _JOINERS:
            characters.append(character)
        else:
            characters.append(" " if character.isspace() else "?")
    return "".join(characters)


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return names for a message: the first ones, and ``...`` if there are more."""
    more = ", ..." if len(names) > most else ""
    return ", ".join(names[:most]) + more
