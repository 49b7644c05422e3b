"""The outermost layer of the readers: every exception that a damaged file causes becomes one InputError."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from volseg.errors import DAMAGE, InputError, reason

P = ParamSpec("P")
T = TypeVar("T")


def door(read: Callable[P, T]) -> Callable[P, T]:
    """Make a function that reads a path raise an InputError with the path if the file is damaged or too large.

    The readers of the formats raise errors that say more; this decorator is for exceptions that they do not expect.

    Parameters
    ----------
    read : function
        Its first argument of type str or Path is the path.
    """

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except MemoryError as error:
            raise InputError(
                f"{_path(args, kwargs)}: needs more memory than there is; close other programs, or give a part of it"
            ) from error
        except DAMAGE as error:
            raise InputError(
                f"{_path(args, kwargs)}: cannot be read, damaged or of an unusual form ({reason(error)})"
            ) from error

    return reading


def _path(args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Return the path among the arguments, or that of an argument that has one."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, str | Path):
            return value
        if isinstance(path := getattr(value, "path", None), Path):
            return path
    return "the file"
