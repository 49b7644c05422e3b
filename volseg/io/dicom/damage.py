"""Damaged DICOM files, and the series they belong to if their headers can still be read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom.dataset import has_mark
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.storage import DicomFile

_SERIES = Tag("SeriesInstanceUID")
# The series UID lies within this many bytes from the start, unless large private elements precede it.
_HEADER = 1 << 18
_UID = re.compile(r"[0-9.]{3,64}")


@dataclass(frozen=True)
class DamagedFile:
    """A DICOM file that cannot be read.

    Parameters
    ----------
    file : DicomFile
        The damaged file.
    reason : str
        What is wrong with the file.
    series_uid : str
        UID of its series. Empty if it cannot be read; the file may then belong to any series of its folder.
    """

    file: DicomFile
    reason: str
    series_uid: str = ""

    @classmethod
    def after(cls, error: Exception, file: DicomFile) -> DamagedFile:
        """Describe a file by the error of reading it and by the readable part of its header."""
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        try:
            return cls(file, reason, _series_uid(file))
        except DAMAGE:
            return cls(file, reason)

    def may_belong_to(self, frames: Iterable[FrameHeader]) -> bool:
        """Whether it is, or may be, a slice of the series with these frames."""
        if self.series_uid:
            return any(frame.series_uid == self.series_uid for frame in frames)
        return self.file.folder in {frame.file.folder for frame in frames}


def describe_damage(damaged: Sequence[DamagedFile]) -> str:
    """Describe damaged files: the first one and its damage, and their number."""
    more = f" ({len(damaged)} such files)" if len(damaged) > 1 else ""
    return f"{damaged[0].file}: damaged DICOM file{more}: {damaged[0].reason}"


def _series_uid(file: DicomFile) -> str:
    """Read the series UID of a header; empty if the header ends with it, as it may be cut off."""
    data = file.start(_HEADER)
    if not data or DeflatedExplicitVRLittleEndian.encode() in data[: 1 << 10]:
        return ""
    behind: list[BaseTag] = []

    def stop(tag: BaseTag, *_: Any) -> bool:
        behind.extend([tag] if tag > _SERIES else [])
        return bool(behind)

    with quiet_pydicom():
        dataset = read_partial(io.BytesIO(data), stop, force=not has_mark(data), specific_tags=[_SERIES])
        uid = text_of(dataset, "SeriesInstanceUID")
    return uid if behind and _UID.fullmatch(uid) else ""
