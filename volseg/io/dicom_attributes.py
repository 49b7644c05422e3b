"""Values of DICOM attributes as plain texts and numbers, whatever the writer made of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pydicom.errors import BytesLengthException, InvalidDicomError

from volseg import errors

# Everything that pydicom and its decoders were seen to raise on damaged files.
DAMAGE = (*errors.DAMAGE, InvalidDicomError, BytesLengthException)


class Attributes(Protocol):
    """A data set, or a mapping, from keywords to values."""

    def get(self, keyword: str, default: Any = None, /) -> Any:
        """Return the value of a keyword, or the default."""


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings on values it could still read from the user, who can do nothing about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def text_of(attributes: Attributes, *keywords: str) -> str:
    """Return the first of the keywords that has a value, as text; several values are joined by backslashes."""
    for keyword in keywords:
        value = attributes.get(keyword)
        if value is None:
            continue
        is_list = hasattr(value, "__iter__") and not isinstance(value, str)
        text = "\\".join(map(str, value)) if is_list else str(value)
        if text := text.strip("\0 "):
            return text
    return ""


def numbers_of(attributes: Attributes, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return `count` finite numbers; None where the attribute is absent or empty.

    Raises
    ------
    ValueError
        Another count, or NaN or infinity.
    """
    value = attributes.get(keyword)
    if value is None or value == "" or (hasattr(value, "__len__") and not len(value)):
        return None
    is_list = hasattr(value, "__iter__") and not isinstance(value, str)
    numbers = tuple(map(float, value)) if is_list else (float(value),)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{keyword} is {list(numbers)}; expected {count} finite number(s)")
    return numbers


def number_of(attributes: Attributes, keyword: str, default: float) -> float:
    """Return one finite number, or the default where the attribute is absent or empty; raises as `numbers_of`."""
    numbers = numbers_of(attributes, keyword, 1)
    return default if numbers is None else numbers[0]


def size_of(attributes: Attributes, keyword: str) -> int:
    """Return a size of at least 1, or raise ValueError."""
    size = int(number_of(attributes, keyword, 0))
    if size < 1:
        raise ValueError(f"{keyword} is {size} or missing; expected at least 1")
    return size
