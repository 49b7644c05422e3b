"""The scans that a folder stands for: image files, the DICOM scans of several patients, or one DICOM scan.

A folder without image files is a cohort if it holds zip archives, or DICOM folders of several patients or studies:
each archive and each folder is then a scan, and one that cannot be read fails alone. Folders of one study are one scan,
and so are folders that share a series: there a series has to be chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.errors import AmbiguousError, InputError
from volseg.files.names import CASE_SUFFIXES, has_suffix
from volseg.files.plain_text import first_few
from volseg.io import Catalogue

if TYPE_CHECKING:
    from volseg.io.dicom import Series

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanPlace:
    """The place of one scan.

    Parameters
    ----------
    path : Path
        A file, archive or folder.
    series : str, optional
        The series, if scans of several patients lie in one folder.
    studies : set
        The patients and studies there; empty if unknown.
    instances : dict
        The instances of each series there.
    """

    path: Path
    series: str | None = None
    studies: frozenset[tuple[str, str]] = frozenset()
    instances: dict[tuple[str, ...], int] = field(default_factory=dict)


def expand_folder(path: Path, series: str | None = None) -> list[ScanPlace]:
    """Return the scans that a path stands for.

    Parameters
    ----------
    path : Path
        A path that is not a folder stands for itself.
    series : str, optional
        The series of each patient.

    Raises
    ------
    InputError
        A folder cannot be listed.
    """
    if not path.is_dir():
        return [ScanPlace(path)]
    entries = _listed(path)
    images = [entry for entry in entries if has_suffix(entry, CASE_SUFFIXES) and not entry.is_dir()]
    if images:
        _warn_of_others(path, entries)
        return [ScanPlace(image) for image in images]
    # The reader gives the error for a folder without a scan.
    return _dicom_places(path, series) or [ScanPlace(path)]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.name[0] not in "._")
    except OSError as error:
        raise InputError(f"{folder}: folder cannot be listed ({error.strerror}); check its rights") from error


def _warn_of_others(folder: Path, entries: list[Path]) -> None:
    """Warn of DICOM folders and archives beside image files."""
    from volseg.io.dicom import is_dicom

    others = []
    for entry in entries:
        if not (entry.is_dir() or has_suffix(entry, (".zip",))):
            continue
        try:
            if is_dicom(entry):
                others.append(entry.name)
        except InputError:
            others.append(entry.name)
    if others:
        _LOG.warning("%s: only its image files are taken; left out, give them by name: %s", folder, first_few(others))


def _dicom_places(folder: Path, series: str | None) -> list[ScanPlace]:
    """Return the DICOM scans of a folder; an empty list if it holds no DICOM image."""
    entries = _listed(folder)
    if any(_is_loose_dicom(entry) for entry in entries):
        return _places_in(folder, series)
    places: list[ScanPlace] = []
    has_archives = False
    for entry in entries:
        if entry.is_dir():
            places += _dicom_places(entry, series)
        elif _is_archive(entry):
            has_archives = True
            places += _places_in(entry, series) or [ScanPlace(entry)]
    return _told_apart(places, folder, has_archives=has_archives) if places else []


def _told_apart(places: list[ScanPlace], folder: Path, *, has_archives: bool) -> list[ScanPlace]:
    """Return the places of a cohort, or the whole folder if they are parts of one scan."""
    studies: set[tuple[str, str]] = set()
    instances: dict[tuple[str, ...], int] = {}
    for place in places:
        studies |= place.studies
        instances |= place.instances
    are_scans = has_archives or len(studies) > 1
    if len(places) > 1 and are_scans and not _is_spread(places):
        return sorted(places, key=lambda place: place.path)
    return [ScanPlace(folder, None, frozenset(studies), instances)]


def _is_archive(entry: Path) -> bool:
    return entry.is_file() and has_suffix(entry, (".zip",))


def _is_loose_dicom(entry: Path) -> bool:
    """Whether it is a DICOM file, but neither an archive nor a DICOMDIR."""
    from volseg.io.dicom import is_dicom

    if not entry.is_file() or _is_archive(entry) or entry.name.upper().startswith("DICOMDIR"):
        return False
    return is_dicom(entry)


def _places_in(path: Path, series: str | None) -> list[ScanPlace]:
    """Return the scans of files in one folder: one, or one for each patient and study."""
    try:
        listing = Catalogue(path).dicom
    except InputError:
        return [ScanPlace(path)]  # it fails with the same reason when it is read
    if not listing.series:
        return [ScanPlace(path)] if listing.damaged else []
    by_study: dict[tuple[str, str], list[Series]] = {}
    for one in listing.series:
        study = (one.frames[0].patient_id, one.frames[0].study_uid)
        by_study.setdefault(study, []).append(one)
    whole = ScanPlace(path, None, frozenset(by_study), _instances(listing.series))
    if len(by_study) == 1:
        return [whole]
    return _one_of_each(by_study, path, series) or [whole]


def _one_of_each(by_study: Mapping[tuple[str, str], list[Series]], path: Path, series: str | None) -> list[ScanPlace]:
    """Return the scan of each patient and study; an empty list if one of them has several scans."""
    from volseg.io.dicom import choose_series

    places = []
    for study, found in by_study.items():
        try:
            chosen = choose_series(found, path, series)
        except AmbiguousError:
            return []  # reading the whole folder then fails and lists every scan
        except InputError as error:
            _LOG.warning("left out: %s", error)
        else:
            places.append(ScanPlace(path, chosen.id, frozenset([study]), _instances(found)))
    return places


def _instances(found: Iterable[Series]) -> dict[tuple[str, ...], int]:
    """Return a hash of the instances of each series, by its identity in the headers."""
    instances: dict[tuple[str, ...], set[str]] = {}
    for one in found:
        first = one.frames[0]
        key = (first.patient_id, first.study_uid, first.series_uid, one.number, one.description)
        instances.setdefault(key, set()).update(frame.sop_instance_uid for frame in one.frames)
    return {key: hash(frozenset(uids)) for key, uids in instances.items()}


def _is_spread(places: Iterable[ScanPlace]) -> bool:
    """Whether different parts of one series lie in several places; copies do not count."""
    seen: dict[tuple[str, ...], int] = {}
    return any(seen.setdefault(key, value) != value for place in places for key, value in place.instances.items())
