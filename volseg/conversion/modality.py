"""Modality of a scan that is written as a DICOM series; other image formats do not record it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from volseg.core.volume import MODALITIES, Volume
from volseg.errors import InputError, UsageError
from volseg.files.names import case_name
from volseg.files.regular import read_json

_LOG = logging.getLogger(__name__)
_LONGEST_SIDECAR = 1 << 20


def check_modality(modality: str | None, *, to_dicom: bool) -> str | None:
    """Return the modality of the DICOM series that is written, in capital letters; None if it is not given.

    Raises
    ------
    UsageError
        volseg does not write this modality, or no DICOM series is written.
    """
    if modality is None:
        return None
    if modality.upper() not in MODALITIES:
        raise UsageError(f"modality is {modality!r}; expected {' or '.join(MODALITIES)} (--modality)")
    if not to_dicom:
        raise UsageError("modality (--modality) is only for writing a DICOM series; leave it out")
    return modality.upper()


def of_modality(volume: Volume, source: Path, modality: str | None) -> Volume:
    """Return a scan with the chosen modality, else its own, else that of the JSON file of dcm2niix beside it.

    A choice that differs from the scan's own modality is logged.
    """
    if modality and volume.modality not in (None, modality):
        _LOG.warning("%s: is %s, but is written as %s as chosen", source, volume.modality, modality)
    chosen = modality or volume.modality or _beside(source)
    return volume if chosen == volume.modality else replace(volume, modality=chosen)


def _beside(source: Path) -> str | None:
    """Return the modality in ``<stem>.json``; None if the file is missing or has none of `MODALITIES`."""
    path = source.with_name(f"{case_name(source)}.json")
    if not path.is_file():
        return None
    try:
        content = read_json(path, most=_LONGEST_SIDECAR)
    except InputError as error:
        _LOG.warning("%s; its modality is ignored", error)
        return None
    found = content.get("Modality") if isinstance(content, dict) else None
    return found if found in MODALITIES else None
