"""How a command ends when some of its inputs failed."""

from __future__ import annotations

from collections.abc import Sequence

from volseg.errors import PartialError, VolsegError
from volseg.files.plain_text import plain


def raise_failures(failures: Sequence[tuple[str, VolsegError]], count: int, what: str) -> None:
    """Raise what went wrong; nothing where all went well.

    Parameters
    ----------
    failures : sequence of (str, VolsegError)
        The name of each input that failed, and why.
    count : int
        How many inputs there were.
    what : str
        What the sentence ``2 of 5 ...`` says of those that failed.

    Raises
    ------
    VolsegError
        The error of the only input.
    PartialError
        One line for each of several inputs that failed.
    """
    if failures and count == 1:
        raise failures[0][1]
    if failures:
        lines = [f"{len(failures)} of {count} {what}"]
        for name, error in failures:
            lines.append(plain(f"{name}: {error}"))
        raise PartialError("\n".join(lines))
