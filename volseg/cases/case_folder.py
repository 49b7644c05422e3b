"""The folder of a case: whose it is, one process at a time, and how new outputs take the place of old ones."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.inputs import CaseInput, former_names
from volseg.cases.output_table import is_output
from volseg.cases.outputs import LABELS
from volseg.errors import OutputError, VolsegError
from volseg.files.atomic import is_part, reason_of
from volseg.files.folders import make_beside, put_in_place
from volseg.files.locking import lock_file
from volseg.files.names import LONGEST_NAME, with_digits
from volseg.io import read_labels
from volseg.io.case_record import CaseRecord, read_record, state_of
from volseg.io.scan_files import ScanFiles

_LOG = logging.getLogger(__name__)
_HIDDEN = ".volseg-"
_NEW, _OLD, _LOCK = ".new-", ".old-", ".lock"
_LEFT = re.compile(r"\.volseg-(?P<name>.+?(?<!~[0-9a-f]{8}))(\.lock|\.(new|old)-[0-9a-f]{8})", re.DOTALL)
_ROOM = 25  # bytes before and behind a hidden name


@dataclass(frozen=True)
class CaseFolder:
    """The folder that a case's outputs are in or will be in.

    Parameters
    ----------
    path : Path
        ``OUT/<case>``.
    place : Path
        The same, where it really lies.
    record : CaseRecord, optional
        Of the finished case there; None if there is none.
    """

    path: Path
    place: Path
    record: CaseRecord | None

    def is_free_for(self, scan: ScanFiles) -> bool:
        """Whether outputs of a scan may be written here: no case is finished here, or that of the same scan.

        Parameters
        ----------
        scan : ScanFiles
            The scan; a DICOM scan is known by its headers, an image file by its place or content.
        """
        return self.record is None or scan.is_of(self.record)

    def named(self, case: CaseInput) -> CaseInput:
        """Return a case; if its DICOM files give its name, that is now the name of the folder.

        Parameters
        ----------
        case : CaseInput
        """
        return replace(case, name=self.path.name) if case.by_content else case

    def files(self) -> tuple[Path, ...]:
        """Return the files that are finished here, the label map first."""
        names = [] if self.record is None else self.record.files
        return tuple(self.path / name for name in names)

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        """Give an empty hidden folder beside this one; at the end of the block it takes its place.

        Files that are not outputs are moved into it. If the block fails, the folder stays as it was.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        new: Path | None = None
        try:
            new = make_beside(self.place, _hidden(self.place, _NEW))
            yield new
            old = put_in_place(new, self.place, aside=_aside(self.place))
            if old not in (None, new):
                _retire(old, self.place)
        except VolsegError as error:
            raise type(error)(str(error).replace(str(new), str(self.path))) from error
        except OSError as error:
            reason = f"{self.path}: cannot be written ({reason_of(error)})"
            raise OutputError(f"{reason}; check the folder and the disk") from error
        finally:
            if new is not None and new.is_dir():  # the old one, or, if the block failed, the unfinished one
                _retire(new, self.place)


def find_folder(output: Path, case: CaseInput, scan: ScanFiles) -> CaseFolder:
    """Find the folder of a case and its present state; nothing is written, and other processes may be at work there.

    If a folder already holds outputs of this scan, it is used under any name. Otherwise the folder has the name of the
    case; if outputs of another scan are there, 8 hex digits are added that tell the scans apart.

    Parameters
    ----------
    output : Path
        The folder with the folders of all cases; need not exist.
    case : CaseInput
    scan : ScanFiles
        Of the case.

    Raises
    ------
    OutputError
        A file is in its place, or outputs of other scans are in both.
    """
    for folder in _candidates(output, case, scan):
        if folder.is_free_for(scan):
            return folder
    raise _taken(folder)


@contextmanager
def claimed_folder(output: Path, case: CaseInput, scan: ScanFiles) -> Iterator[CaseFolder]:
    """Find the folder of a case as `find_folder` does, and lock it; leftovers of killed processes are removed.

    While another process works on it, this one waits.

    Parameters
    ----------
    output : Path
        The folder with the folders of all cases; made if missing.
    case : CaseInput
    scan : ScanFiles
        Of the case.

    Raises
    ------
    OutputError
        As of `find_folder`, or the folder cannot be locked.
    """
    with suppress(OSError):  # the lock says why not
        output.mkdir(parents=True, exist_ok=True)
    for found in _candidates(output, case, scan):
        place = found.place
        with lock_file(place.with_name(_hidden(place, _LOCK)), wait_for=str(found.path)) as hold:
            if hold.certain:
                _tidy(place)
            folder = replace(found, record=read_record(place))
            if folder.is_free_for(scan):
                yield folder
                return
    raise _taken(found)


def _taken(folder: CaseFolder) -> OutputError:
    return OutputError(f"{folder.path}: holds outputs of another scan; choose another output folder")


def tidy_output(output: Path) -> None:
    """Remove leftovers of killed processes, of every case; files that are being written stay.

    Parameters
    ----------
    output : Path
        The folder with the folders of all cases.
    """
    names = set()
    with suppress(OSError):
        for path in output.iterdir():
            if match := _LEFT.fullmatch(path.name):
                names.add(match["name"])
        for name in sorted(names):
            with lock_file(output / f"{_HIDDEN}{name}{_LOCK}") as hold:
                if hold.mine and hold.certain:
                    _tidy(output / name)


def _candidates(output: Path, case: CaseInput, scan: ScanFiles) -> Iterator[CaseFolder]:
    """Give the folders that may be the case's: first that with outputs of the scan, then those of its names."""
    for name in _known_names(output, case, scan):
        record = read_record(output / name)
        if record is not None and scan.is_of(record):
            yield _folder_at(output / name)
            break
    for name in _free_names(case, scan):
        yield _folder_at(output / name)


def _folder_at(path: Path) -> CaseFolder:
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_dir():
        raise OutputError(f"{path}: cannot be written: a file is where its folder should be")
    return CaseFolder(path, place, read_record(place))


def _known_names(output: Path, case: CaseInput, scan: ScanFiles) -> Iterator[str]:
    """Give the names that outputs of the scan may have; those of earlier versions come last."""
    free = _free_names(case, scan)
    own = next(free)
    yield own
    if any(output.glob(glob.escape(with_digits(own, "X" * 8)).removesuffix("X" * 8) + "[0-9a-f]" * 8)):
        yield from free
    yield from former_names(case, scan)


def _free_names(case: CaseInput, scan: ScanFiles) -> Iterator[str]:
    """Give the names that new outputs of the scan may get; only for the second its content is read."""
    own = scan.name if case.by_content and scan.chosen else case.name
    yield own
    yield with_digits(own, scan.content[:8])


def _hidden(place: Path, kind: str) -> str:
    """Return the start of a hidden name beside a folder; the end of a long name is replaced by a digest."""
    name = place.name
    if len(os.fsencode(name)) > LONGEST_NAME - _ROOM:
        name = f"{name[:40]}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"
    return f"{_HIDDEN}{name}{kind}"


def _aside(place: Path) -> Path:
    return place.with_name(_hidden(place, _OLD) + secrets.token_hex(4))


def _tidy(place: Path) -> None:
    """Finish what a killed process was doing: an old folder without a successor goes back, others are removed."""
    for kind in (_OLD, _NEW):
        for left in sorted(place.parent.glob(f"{glob.escape(_hidden(place, kind))}*")):
            with suppress(OSError):
                if kind == _OLD and not place.exists():
                    left.rename(place)
                else:
                    _retire(left, place)


def _retire(folder: Path, place: Path) -> None:
    """Remove a folder that was replaced; files in it that are not outputs are moved to its successor."""
    record = read_record(folder)
    _keep_changed_labels(folder, place, record)
    if place.is_dir():
        for file in sorted(folder.rglob("*")):
            target = place / file.relative_to(folder)
            is_folder = file.is_dir() and not file.is_symlink()
            if not is_folder and not _is_ours(file, folder, record) and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                file.rename(target)
    shutil.rmtree(folder, ignore_errors=True)


def _is_ours(file: Path, folder: Path, record: CaseRecord | None) -> bool:
    """Whether a file in a case's folder is an output, or a part of one that a killed process has left."""
    name = file.relative_to(folder).as_posix()
    if record is not None and name in record.files:
        return True
    return is_part(file) or is_output(name, recorded=record is not None)


def _keep_changed_labels(folder: Path, place: Path, record: CaseRecord | None) -> None:
    """Keep a label map that somebody has worked on since it was predicted, under another name."""
    file = folder / LABELS
    if record is None or LABELS not in record.written or LABELS in record.whole_files(folder):
        return
    try:
        read_labels(file, labels=None)
    except VolsegError:  # cut off, or gone
        return
    kept = place / f"labels_changed_{state_of(file).sha256[:8]}.nii.gz"
    file.rename(kept)
    _LOG.warning("%s: was changed after it was predicted; it is kept as %s", place / LABELS, kept.name)
