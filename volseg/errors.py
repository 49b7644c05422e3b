"""The exceptions that volseg raises on purpose.

::

    VolsegError              something volseg refuses; one clear line for the user
    |-- InputError           a file or folder that cannot be read as expected
    |   `-- AmbiguousError   several volumes where one was asked for; lists them
    |-- GeometryError        a grid, spacing or orientation that cannot be used, or two that differ
    |-- DatasetError         a training set with orphans, mismatches or unknown labels
    |-- ModelError           a model file that is damaged, foreign or does not fit the input
    |-- OutputError          a result that could not be written
    |-- RenderError          no way to draw pictures on this machine
    |-- MissingPackageError  an optional package that this step needs
    |-- UsageError           a wrong flag or argument
    |   `-- ConfigError      a configuration with unknown keys or impossible values
    `-- PartialError         some of several inputs failed; the others are done

Every message gives the value found, the expected values and a remedy. The command line prints the message
alone and ends with the exit code of the class.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from zipfile import BadZipFile

# The exceptions that parsers of any format raise on a damaged or hostile file; libraries add classes of their own. The
# reader of a format catches them in one place and raises an InputError. SyntaxError is raised for XML.
DAMAGE: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BadZipFile,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


_LONGEST_REASON = 300


def reason(error: BaseException) -> str:
    """Return in one line why something failed.

    Parameters
    ----------
    error : exception
        If it has no message, the name of its class is returned.
    """
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__


class VolsegError(Exception):
    """Base of all errors that volseg raises on purpose; `exit_code` is the exit code of the command line.

    Examples
    --------
    >>> import volseg
    >>> try:
    ...     volseg.read("missing.nii.gz")
    ... except volseg.VolsegError as error:
    ...     print(error)
    missing.nii.gz: no such file or folder; check the path
    """

    exit_code = 1


class InputError(VolsegError):
    """A file or folder cannot be read as expected."""


class AmbiguousError(InputError):
    """There are several volumes, and one was asked for."""


class GeometryError(VolsegError):
    """A grid, spacing or orientation cannot be used, or two of them differ."""


class DatasetError(VolsegError):
    """A training set has orphans, mismatches or unknown labels."""


class ModelError(VolsegError):
    """A model file is damaged, foreign, or does not fit the input."""


class OutputError(VolsegError):
    """A result could not be written."""


class RenderError(VolsegError):
    """Nothing on this machine can draw pictures."""


class MissingPackageError(VolsegError):
    """An optional package that this step needs is not installed."""


class UsageError(VolsegError):
    """A wrong flag or argument."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration has unknown keys or impossible values."""


class PartialError(VolsegError):
    """Some of several inputs failed; the others are done."""

    exit_code = 3


@contextmanager
def at(path: object) -> Iterator[None]:
    """Put a path before the messages of errors that the block raises about a file, unless they begin with it.

    Parameters
    ----------
    path : path
        The file that the block works on.
    """
    try:
        yield
    except (InputError, GeometryError, MissingPackageError) as error:
        message = str(error)
        if message.startswith(f"{path}:"):
            raise
        raise type(error)(f"{path}: {message}") from error
