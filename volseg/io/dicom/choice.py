"""Choice of one volume of a DICOM file, folder or archive."""

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
# The names by which a volume can be chosen; the first that matches counts.
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
    """Return the only volume, or the one that `wanted` names.

    Without `wanted`, some volumes do not count: localizers, screen captures, colour images, and single images beside a
    stack of the same series. Series with a damaged file do not count either if the only other series has more images
    than each of them. A warning names the volumes that were left out.

    Parameters
    ----------
    wanted : str, optional
        Full id, series number, exact name, description or label, PatientID, or an ending of the id; the first of these
        that matches counts.

    Raises
    ------
    InputError
        No volume matches; the message lists the volumes.
    AmbiguousError
        Several volumes match, or there are several and `wanted` is None.
    """
    found = _worth_reading(series) if wanted is None else _matches(series, wanted)
    if len(found) == 1:
        return found[0]
    listed = "; ".join(map(_described, (found or series)[:_LISTED]))
    if not found:
        raise InputError(f"{path}: no DICOM series {wanted!r}; expected one of: {listed}")
    more = "" if len(found) <= _LISTED else f"; and {len(found) - _LISTED} more"
    which = "" if wanted is None else f" that match {wanted!r}"
    uids = len({entry.uid for entry in found})
    what = f"{len(found)} volumes in {uids} DICOM series" if len(found) > uids else f"{uids} DICOM series"
    raise AmbiguousError(
        f"{path}: {what}{which}; choose one by number, description, label or end of its id (--series), or convert them "
        f"all (volseg convert --all): {listed}{more}"
    )


def choose_series_of(
    labels: LabelObject | None, series: list[Series], path: Path, *, wanted: str | None = None
) -> Series:
    """Choose as `choose_series`; among several volumes, the one that a label object was made on.

    Parameters
    ----------
    labels : LabelObject, optional
        The segmentation or structure set.
    series, path, wanted
        As for `choose_series`; `wanted` takes precedence over `labels`.
    """
    try:
        return choose_series(series, path, wanted)
    except AmbiguousError:
        found = [] if labels is None or wanted is not None else series_of(labels, series)
        if len(found) != 1:
            raise
        return found[0]


def _worth_reading(series: list[Series]) -> list[Series]:
    """Leave out the volumes that do not count by default; see `choose_series`."""
    scans = [entry for entry in series if not entry.frames[0].is_auxiliary and entry.frames[0].refusal is None]
    found = _sound(_without_single_images(scans))
    if len(found) != 1:
        return found or series
    for entry in series:
        if entry is not found[0]:
            _LOG.warning("%s: left out, beside the series that is read: %s", entry.frames[0].file, _described(entry))
    return found


def _without_single_images(series: list[Series]) -> list[Series]:
    """Leave out single images beside a stack of the same SeriesInstanceUID."""
    stacks = {entry.uid for entry in series if len(entry.frames) > 1}
    return [entry for entry in series if len(entry.frames) > 1 or entry.uid not in stacks]


def _sound(series: list[Series]) -> list[Series]:
    """Leave out damaged series if the only other one is larger; a small one may be a scout beside a scan."""
    sound = [entry for entry in series if not entry.problem]
    sizes = [len(entry.frames) for entry in series if entry.problem]
    return sound if len(sound) == 1 and len(sound[0].frames) > max(sizes, default=0) else series


def _described(series: Series) -> str:
    return f"{series.describe()}{' (not read, as one of its files is damaged)' if series.problem else ''}"


def _matches(series: list[Series], wanted: str) -> list[Series]:
    """Return the volumes that match by the first of `_NAMES` with a match."""
    text = wanted.strip()
    for name_of in _NAMES:
        found = [entry for entry in series if name_of(entry) == text]
        if found:
            return found
    return [entry for entry in series if entry.id.endswith(text)]
