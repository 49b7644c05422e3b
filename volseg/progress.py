"""The progress of long work: the one way in which functions of volseg report it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A function that is called with the progress of work, such as one that draws a bar.

    An error that it raises ends the work.
    """

    def __call__(self, what: str, done: int, total: int, /) -> None:
        """Report progress.

        Parameters
        ----------
        what : str
            The work or the things that are counted, such as ``downloading`` or ``slices``; a plain word for a person.
        done : int
            The amount that is done.
        total : int
            The whole amount; 0 if it is not known.
        """


def ignore_progress(what: str, done: int, total: int) -> None:
    """Do nothing; for functions that were given no progress to tell."""
