"""Names and colours of labels in the header of a NIfTI file: the XML of Caret, as TotalSegmentator writes it.

``<CaretExtension><VolumeInformation><LabelTable><Label Key="5" Red="0.1" Green="1" Blue="0"><![CDATA[liver]]></Label>``
in a header extension; colours are from 0 to 1. Only the first table of a file counts. Files that the XML names are not
opened, and entities are not expanded: a text with a document type is not read at all.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from volseg.core.labelmap import Label
from volseg.errors import DAMAGE, InputError
from volseg.files.names import NIFTI, has_suffix
from volseg.files.streams import opened, read_exactly
from volseg.io.labels.table import labels_from_rows

_LOG = logging.getLogger(__name__)
_LONGEST_TABLE = 1 << 23
_MOST_LABELS, _LONGEST_NAME = 65535, 1000
_MOST_READ = 4 * _LONGEST_TABLE
_DAMAGE: tuple[type[Exception], ...] = (*DAMAGE, InputError, ExpatError)
_COLOURS = ("Red", "Green", "Blue")


def read_header_labels(path: Path) -> tuple[Label, ...]:
    """Read the labels that the header of a NIfTI file names.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of Label
        Without background (0). Empty for other files and for a header without names, and with a warning for a table
        that is damaged or longer than 8 MiB.

    Raises
    ------
    InputError
        The header itself is damaged.
    """
    if not (has_suffix(path, NIFTI.written) and path.is_file()):
        return ()
    content = _label_table(path)
    try:
        return labels_from_rows(_Table().rows(content), path) if content else ()
    except _DAMAGE as error:
        _LOG.warning("%s: the names of labels in its header are damaged and left out (%.200s)", path, error)
        return ()


def _label_table(path: Path) -> bytes:
    """Return the first header extension that has a label table; empty without one."""
    from volseg.io.images.nifti_header import find_extensions

    places, left = find_extensions(path), _MOST_READ
    with opened(path) as stream:
        for start, length in places:
            if left <= 0:
                break
            stream.seek(start)
            content = read_exactly(stream, min(length, _LONGEST_TABLE + 1))
            if b"<LabelTable" in content:
                return content
            left -= len(content)
    return b""


class _Table:
    """The first label table of a text, collected while the text is parsed."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, dict[str, str]]] = []
        self._label: dict[str, str] | None = None
        self._tables = 0

    def rows(self, content: bytes) -> list[tuple[str, dict[str, str]]]:
        """Return the labels as rows of a label table, each with its place for messages."""
        if len(content) > _LONGEST_TABLE:
            raise ValueError(f"it takes more than {_LONGEST_TABLE} bytes")
        parser = ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(content.rstrip(b"\0 \r\n\t"), True)
        return self._rows

    def _refuse(self, *_: Any) -> None:
        raise ValueError("it has a document type, which a label table does not need")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._tables += tag == "LabelTable"
        if tag != "Label" or self._tables != 1:
            return
        if len(self._rows) >= _MOST_LABELS:
            raise ValueError(f"it has more than {_MOST_LABELS} labels")
        self._label = {"index": attributes.get("Key", ""), "name": "", "color": _colour(attributes)}

    def _text(self, text: str) -> None:
        if self._label is None:
            return
        self._label["name"] += text
        if len(self._label["name"]) > _LONGEST_NAME:
            raise ValueError(f"a name has more than {_LONGEST_NAME} letters")

    def _end(self, tag: str) -> None:
        if tag == "Label" and self._label is not None:
            self._rows.append((f"label {len(self._rows) + 1}", self._label))
            self._label = None


def _colour(attributes: dict[str, str]) -> str:
    """Return ``#rrggbb``, or an empty text if one of the three is not a number."""
    text = "#"
    for name in _COLOURS:
        try:
            part = float(attributes[name])
        except (KeyError, ValueError):
            return ""
        if not math.isfinite(part):
            return ""
        text += f"{round(255 * min(max(part, 0.0), 1.0)):02x}"
    return text
