"""`run.json`: the input and settings of a predicted case, and whether its files are unchanged since."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from volseg.errors import InputError
from volseg.files.regular import read_json

RECORD = "run.json"
_LONGEST = 1 << 24
_ALWAYS_READ = 1 << 24


class FileState(BaseModel):
    """State of a file when it was written.

    Parameters
    ----------
    bytes : int
        Size of the file.
    modified_ns : int
        Time of its last change.
    sha256 : str
    """

    model_config = ConfigDict(frozen=True)

    bytes: int
    modified_ns: int
    sha256: str


class ScanRecord(BaseModel):
    """Identity of the scan of a case as hashes, which reveal no path and no patient; see `volseg.io.scan_files`."""

    model_config = ConfigDict(frozen=True)

    identity: str
    place: str
    state: str
    content: str


class CaseRecord(BaseModel):
    """The content of ``run.json`` that later steps use; the rest is kept unchanged.

    Parameters
    ----------
    input : list of str
        Path of the scan relative to the working folder, or its name alone.
    series : str, optional
        The series as it was asked for.
    made_by : dict
        Everything that the outputs depend on.
    files : list of str
        The outputs.
    scan : ScanRecord, optional
        None in files of versions before 0.1.0; their `input` is a full path.
    written : dict of str to FileState
        State of each of `files` except ``run.json``; empty in files of versions before 0.1.0.
    seconds : dict of str to float
        Duration of each stage.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    input: list[str] = []
    series: str | None = None
    made_by: dict[str, Any] = {}
    files: list[str]
    scan: ScanRecord | None = None
    written: dict[str, FileState] = {}
    seconds: dict[str, float] = {}

    def whole_files(self, folder: Path) -> set[str]:
        """Return the outputs that exist with the bytes that were written.

        A file of another size does not count. One of the same size is read if it is at most 16 MiB or its time has
        changed. A file without a record must not be empty.
        """
        return {name for name in self.files if name != RECORD and _is_whole(folder / name, self.written.get(name))}


def read_record(folder: Path) -> CaseRecord | None:
    """Return the content of ``run.json``; None if it is missing or invalid: the case is then not finished."""
    try:
        return CaseRecord.model_validate(read_json(folder / RECORD, most=_LONGEST))
    except (InputError, ValueError, RecursionError):
        return None


def state_of(path: Path) -> FileState:
    """Return the state of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    found = path.stat()
    return FileState(bytes=found.st_size, modified_ns=found.st_mtime_ns, sha256=digest)


def _is_whole(path: Path, written: FileState | None) -> bool:
    try:
        found = path.stat()
        if written is None:
            return path.is_file() and found.st_size > 0
        if found.st_size != written.bytes:
            return False
        if found.st_size > _ALWAYS_READ and found.st_mtime_ns == written.modified_ns:
            return True
        return state_of(path).sha256 == written.sha256
    except OSError:
        return False
