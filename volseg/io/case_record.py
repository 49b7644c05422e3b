"""`run.json`: what a predicted case was made from and how, and whether its files are still those that were written."""

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
    """A file as it was written.

    Parameters
    ----------
    bytes : int
        Its size.
    modified_ns : int
        Time of its last change.
    sha256 : str
    """

    model_config = ConfigDict(frozen=True)

    bytes: int
    modified_ns: int
    sha256: str


class ScanRecord(BaseModel):
    """Which scan a case is of: hashes, so that no path and no patient is passed on; see `volseg.io.scan_files`."""

    model_config = ConfigDict(frozen=True)

    identity: str
    place: str
    state: str
    content: str


class CaseRecord(BaseModel):
    """The content of ``run.json``, as far as other steps use it; the rest is kept as it is.

    Parameters
    ----------
    input : list of str
        Where the scan was, from the folder that was worked in, or its name alone.
    series : str, optional
        Which one of several, as it was asked for.
    made_by : dict
        What decides over the outputs.
    files : list of str
        The outputs.
    scan : ScanRecord, optional
        None in what versions before 0.1.0 wrote; there `input` is in full.
    written : dict of str to FileState
        Of each of `files` but ``run.json``; empty in what versions before 0.1.0 wrote.
    seconds : dict of str to float
        How long each stage took.
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
        """Return the outputs that are there as they were written, all of their bytes.

        A file of another size is not. One of the same size is read if it is small (16 MiB) or its time has changed;
        without a record of it, it must not be empty.
        """
        return {name for name in self.files if name != RECORD and _is_whole(folder / name, self.written.get(name))}


def read_record(folder: Path) -> CaseRecord | None:
    """Return what ``run.json`` says; None where there is none, or one that makes no sense: the case is not finished."""
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
