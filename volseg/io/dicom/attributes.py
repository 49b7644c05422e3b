"""Values of DICOM attributes as plain texts and numbers, even if the writer broke the standard."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pydicom.errors import BytesLengthException, InvalidDicomError

from volseg import errors

# The errors that pydicom and its decoders raise on damaged files.
DAMAGE: tuple[type[Exception], ...] = (*errors.DAMAGE, InvalidDicomError, BytesLengthException)


class Attributes(Protocol):
    """A data set, or a mapping, from keywords to values."""

    def get(self, keyword: str, default: Any = None, /) -> Any:
        """Return the value of a keyword, or the default."""


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Suppress pydicom's warnings about values that it could read: users cannot act on them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def text_of(attributes: Attributes, *keywords: str) -> str:
    """Return the first of the keywords that has a value, as text; several values are joined by backslashes.

    Parameters
    ----------
    attributes : Attributes
        A data set or mapping.
    *keywords : str
        The attributes, in the order in which they are tried.
    """
    for keyword in keywords:
        value = attributes.get(keyword)
        if value is None:
            continue
        is_list = hasattr(value, "__iter__") and not isinstance(value, str)
        text = "\\".join(map(str, value)) if is_list else str(value)
        if text := text.strip("\0 "):
            return text
    return ""


def modality_table(attributes: Attributes) -> Any | None:
    """Return the item of ModalityLUTSequence; None if it is absent or empty.

    Parameters
    ----------
    attributes : Attributes
        A data set or mapping.

    Raises
    ------
    ValueError
        It has values without a description of them.
    """
    items = attributes.get("ModalityLUTSequence")
    given = {keyword for keyword in ("LUTDescriptor", "LUTData") if items and not _is_empty(items[0].get(keyword))}
    if not given:
        return None
    if len(given) < 2 or len(items[0].LUTDescriptor) != 3:
        raise ValueError("ModalityLUTSequence lacks its LUTData or the three numbers of its LUTDescriptor")
    return items[0]


def _is_empty(value: Any) -> bool:
    return value is None or (hasattr(value, "__len__") and not len(value))


def numbers_of(attributes: Attributes, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return `count` finite numbers; None if the attribute is absent or empty.

    Parameters
    ----------
    attributes : Attributes
        A data set or mapping.
    keyword : str
        The attribute.
    count : int
        How many numbers it must have.

    Raises
    ------
    ValueError
        Another count, or NaN or infinity.
    """
    value = attributes.get(keyword)
    if _is_empty(value):
        return None
    is_list = hasattr(value, "__iter__") and not isinstance(value, str)
    numbers = tuple(map(float, value)) if is_list else (float(value),)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{keyword} is {list(numbers)}; expected {count} finite number(s)")
    return numbers


def last_digit_of(attributes: Attributes, keyword: str) -> float:
    """Return the value of one unit in the last decimal of an attribute's numbers as written; 0 if it is absent.

    Parameters
    ----------
    attributes : Attributes
        A data set or mapping.
    keyword : str
        An attribute of several numbers.
    """
    value = attributes.get(keyword)
    is_list = hasattr(value, "__iter__") and not isinstance(value, str)
    texts = [str(number).lower().partition("e") for number in (value if is_list else ()) if number is not None]
    decimals = [len(digits.partition(".")[2]) - int(exponent or 0) for digits, _, exponent in texts]
    return float(10.0 ** -max(decimals)) if decimals else 0.0


def number_of(attributes: Attributes, keyword: str, default: float) -> float:
    """Return one finite number, or the default if the attribute is absent or empty; raises as `numbers_of`.

    Parameters
    ----------
    attributes : Attributes
        A data set or mapping.
    keyword : str
        The attribute.
    default : float
        The result if the value is missing.
    """
    numbers = numbers_of(attributes, keyword, 1)
    return default if numbers is None else numbers[0]


def size_of(attributes: Attributes, keyword: str) -> int:
    """Return a size of at least 1, or raise ValueError.

    Parameters
    ----------
    attributes : Attributes
        A data set or mapping.
    keyword : str
        The attribute.
    """
    size = int(number_of(attributes, keyword, 0))
    if size < 1:
        raise ValueError(f"{keyword} is {size} or missing; expected at least 1")
    return size
