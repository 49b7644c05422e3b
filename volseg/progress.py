"""How far a long piece of work is: the one way in which functions of volseg tell it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What is called with how far the work is; such as a function that draws a bar.

    An error that it raises ends the work.
    """

    def __call__(self, what: str, done: int, total: int, /) -> None:
        """Take how far the work is.

        Parameters
        ----------
        what : str
            What is being done or counted, such as ``downloading`` or ``slices``; a plain word for a person.
        done : int
            How much of it is done.
        total : int
            Of how much; 0 if that is not known.
        """


def ignore_progress(what: str, done: int, total: int) -> None:
    """Do nothing; for functions that were given no progress to tell."""
