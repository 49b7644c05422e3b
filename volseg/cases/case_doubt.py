"""The doubt about a predicted case: the entry ``doubt`` of its ``run.json``, and how unsure each voxel is."""

from __future__ import annotations

import logging
from collections.abc import Set
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from volseg.cases.outputs import DOUBT, LABELS
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import VolsegError
from volseg.io import read
from volseg.io.case_record import read_record
from volseg.prediction.doubt import Doubt
from volseg.prediction.shown_doubt import ShownDoubt

_LOG = logging.getLogger(__name__)
_DOUBT = TypeAdapter(Doubt)


def read_doubt(entry: Any) -> Doubt:
    """Return the entry, or where it is missing or of another form, an empty one that says so.

    Parameters
    ----------
    entry : Any
        As in ``run.json``.
    """
    if entry is None:
        return nothing_known("run.json has no doubt: the case was predicted by a version that did not judge it")
    try:
        return _DOUBT.validate_python(entry)
    except ValidationError:
        return nothing_known("the doubt in run.json is of another form; predict the case anew (--overwrite)")


def nothing_known(reason: str) -> Doubt:
    """Return a doubt without figures.

    Parameters
    ----------
    reason : str
        Why there are none.
    """
    return Doubt(None, None, 0, None, None, None, (reason,), ())


def read_doubt_voxels(folder: Path, whole: Set[str]) -> Volume | None:
    """Read how unsure each voxel of a case is; None if its folder does not have it as it was written.

    Parameters
    ----------
    folder : Path
        Of the case.
    whole : set of str
        Names of its files that are as they were written.
    """
    if DOUBT not in whole:
        return None
    try:
        return read(folder / DOUBT)
    except VolsegError as error:
        _LOG.warning("%s: shown without its doubt, which cannot be read (%s)", folder, error)
        return None


def read_shown_doubt(folder: Path, grid: Grid) -> ShownDoubt | None:
    """Read what is to be seen of the doubt about a case; None if its labels are not those that were predicted.

    Parameters
    ----------
    folder : Path
        Of the case.
    grid : Grid
        Of its label map.
    """
    record = read_record(folder)
    whole = set() if record is None else record.whole_files(folder)
    if record is None or LABELS not in whole:
        return None
    doubt = read_doubt(record.model_dump().get("doubt"))
    return ShownDoubt(read_doubt_voxels(folder, whole), doubt.slices, grid)
