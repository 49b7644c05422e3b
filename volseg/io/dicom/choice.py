"""Which volume of a DICOM file, folder or archive is meant."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from volseg.errors import AmbiguousError, InputError
from volseg.io.dicom.header import LabelObject
from volseg.io.dicom.objects import series_of
from volseg.io.dicom.series import Series

_LOG = logging.getLogger(__name__)
_LISTED = 20
# What a volume may be asked for by; the first that fits counts.
_NAMES: tuple[Callable[[Series], str], ...] = (
    lambda series: series.id,
    lambda series: series.id.rpartition("#")[0],
    lambda series: series.number,
    lambda series: series.name,
    lambda series: series.description,
    lambda series: series.label,
    lambda series: series.patient_id,
)


def choose_series(series: list[Series], path: Path, wanted: str | None) -> Series:
    """Return the one volume that is there or that `wanted` names.

    Without `wanted`, localizers, screen and colour pictures, and single pictures beside a stack of the same series do
    not count, nor do series that a damaged file keeps from being read, unless one has as many pictures as what could be
    read; a warning says what was left out.

    Parameters
    ----------
    wanted : str, optional
        Full id, series number, exact name, description or label, PatientID, or an ending of the id; the first of these
        that fits counts.

    Raises
    ------
    InputError
        None fits; the message lists what is there.
    AmbiguousError
        Several fit, or there are several and none was asked for.
    """
    found = _worth_reading(series) if wanted is None else _matches(series, wanted)
    if len(found) == 1:
        return found[0]
    listed = "; ".join(map(_described, (found or series)[:_LISTED]))
    if not found:
        raise InputError(f"{path}: no DICOM series {wanted!r}; there are: {listed}")
    more = "" if len(found) <= _LISTED else f"; and {len(found) - _LISTED} more"
    which = "" if wanted is None else f" that fit {wanted!r}"
    uids = len({entry.uid for entry in found})
    what = f"{len(found)} volumes in {uids} DICOM series" if len(found) > uids else f"{uids} DICOM series"
    raise AmbiguousError(
        f"{path}: {what}{which}; choose one by number, description, label or end of its id (--series), or convert them "
        f"all (volseg convert --all): {listed}{more}"
    )


def choose_series_of(
    labels: LabelObject | None, series: list[Series], path: Path, *, wanted: str | None = None
) -> Series:
    """Choose as `choose_series`; of several volumes the one that a label object was made on.

    Parameters
    ----------
    labels : LabelObject, optional
        The segmentation or structure set.
    series, path, wanted
        As of `choose_series`; `labels` does not count if one is wanted.
    """
    try:
        return choose_series(series, path, wanted)
    except AmbiguousError:
        found = [] if labels is None or wanted is not None else series_of(labels, series)
        if len(found) != 1:
            raise
        return found[0]


def _worth_reading(series: list[Series]) -> list[Series]:
    """Leave out what is not meant if nothing is said: see `choose_series`."""
    scans = [entry for entry in series if not entry.frames[0].is_auxiliary and entry.frames[0].refusal is None]
    found = _sound(_without_single_pictures(scans))
    if len(found) != 1:
        return found or series
    for entry in series:
        if entry is not found[0]:
            _LOG.warning("%s: left out, beside the series that is read: %s", entry.frames[0].file, _described(entry))
    return found


def _without_single_pictures(series: list[Series]) -> list[Series]:
    """Leave out single pictures beside a stack of the same SeriesInstanceUID."""
    stacks = {entry.uid for entry in series if len(entry.frames) > 1}
    return [entry for entry in series if len(entry.frames) > 1 or entry.uid not in stacks]


def _sound(series: list[Series]) -> list[Series]:
    """Leave out series that cannot be read if one is left; not if that is small, such as a scout beside a scan."""
    sound = [entry for entry in series if not entry.problem]
    sizes = [len(entry.frames) for entry in series if entry.problem]
    return sound if len(sound) == 1 and len(sound[0].frames) > max(sizes, default=0) else series


def _described(series: Series) -> str:
    return f"{series.describe()}{' (not read, as a file of it is damaged)' if series.problem else ''}"


def _matches(series: list[Series], wanted: str) -> list[Series]:
    """Return the volumes that fit by the first of `_NAMES` by which one fits."""
    text = wanted.strip()
    for name_of in _NAMES:
        found = [entry for entry in series if name_of(entry) == text]
        if found:
            return found
    return [entry for entry in series if entry.id.endswith(text)]
