"""The cases of a cohort that failed, in ``OUT/failures.json``: a report lists them too."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from volseg.cases.outputs import CaseResult
from volseg.errors import InputError, VolsegError
from volseg.files.atomic import write_text
from volseg.files.locking import lock_file
from volseg.files.names import with_shown_paths
from volseg.files.regular import read_json

FAILURES = "failures.json"

_LOG = logging.getLogger(__name__)


class Failure(BaseModel):
    """A case that failed.

    Parameters
    ----------
    case : str
    scan : str
        A digest of where the scan lies, and of its series.
    error : str
    """

    model_config = ConfigDict(frozen=True)

    case: str
    scan: str
    error: str


def note_ending(output: Path, result: CaseResult) -> None:
    """Add a case that failed to the file, or remove one that has succeeded since; other cases stay.

    Where the file cannot be written a warning says so, as the list of failures must not end a cohort.

    Parameters
    ----------
    output : Path
        The folder with the folders of all cases.
    result : CaseResult
    """
    path = output / FAILURES
    if result.error is None and not path.exists():
        return
    try:
        _write_ending(path, result)
    except (VolsegError, OSError) as error:
        _LOG.warning(
            "%s: cannot be written, so a report will not tell how %s ended (%s)", path, result.case.name, error
        )


def _write_ending(path: Path, result: CaseResult) -> None:
    output = path.parent
    with lock_file(output / f".volseg-{FAILURES}.lock", wait_for=str(path)):
        place = repr(([str(each.absolute()) for each in result.case.paths], result.case.series))
        scan = hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()
        kept = [failure for failure in read_failures(output) if failure.scan != scan]
        if result.error is not None:
            error = with_shown_paths(str(result.error), result.case.paths)
            kept.append(Failure(case=result.case.name, scan=scan, error=error))
        if kept:
            write_text(path, json.dumps([failure.model_dump() for failure in kept], indent=2) + "\n")
        else:
            path.unlink(missing_ok=True)


def read_failures(output: Path) -> Sequence[Failure]:
    """Return the cases that failed; none if the file is missing or of another form.

    Parameters
    ----------
    output : Path
        The folder with the folders of all cases.
    """
    try:
        return [Failure.model_validate(entry) for entry in read_json(output / FAILURES)]
    except (InputError, ValidationError, TypeError):
        return []
