"""How a command ends when some of its inputs failed."""

from __future__ import annotations

from collections.abc import Sequence

from volseg.errors import PartialError, VolsegError
from volseg.files.plain_text import plain


def raise_failures(failures: Sequence[tuple[str, VolsegError]], count: int, what: str) -> None:
    """Raise the errors of a command; return if there are none.

    Parameters
    ----------
    failures : sequence of (str, VolsegError)
        Name and error of each input that failed.
    count : int
        Number of inputs.
    what : str
        End of the sentence ``2 of 5 ...`` about the failed inputs.

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
