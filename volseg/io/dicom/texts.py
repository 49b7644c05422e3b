"""Texts, numbers and codes in the form of DICOM, and codes from that form."""

from __future__ import annotations

import re

from pydicom.valuerep import DSfloat

from volseg.files.plain_text import plain
from volseg.io.dicom.attributes import Attributes, text_of

# Characters of a text (LO) and of a short code value (SH), PS3.5 6.2; a longer code value is a LongCodeValue.
LONGEST_TEXT, LONGEST_CODE = 64, 16
_CODE = re.compile(r"([^:\s\\]{1,16}):([^\s\\]+)")


def fit_text(text: str) -> str:
    """Convert a text to DICOM's LO: 64 characters, without backslashes and control characters.

    Parameters
    ----------
    text : str
        A text of any length.
    """
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in text)[:LONGEST_TEXT]


def decimal(value: float) -> DSfloat:
    """Round a number to the 16 characters of a DICOM decimal (DS).

    Parameters
    ----------
    value : float
        Any finite number.
    """
    return DSfloat(float(value), auto_format=True)


def split_code(code: str | None) -> tuple[str, str] | None:
    """Return scheme and value of a label's code, ``SCT:10200004``; None if it does not fit DICOM.

    Parameters
    ----------
    code : str or None
        ``scheme:value``.
    """
    match = _CODE.fullmatch(code or "")
    return (match[1], match[2]) if match else None


def read_code(concept: Attributes) -> str | None:
    """Return ``scheme:value`` of an item of a code sequence; None if it lacks one of them.

    Parameters
    ----------
    concept : Attributes
        An item of a code sequence.
    """
    scheme = text_of(concept, "CodingSchemeDesignator")
    value = text_of(concept, "CodeValue", "LongCodeValue", "URNCodeValue")
    return plain(f"{scheme}:{value}") if scheme and value else None
