"""What made a scan that is written as a DICOM series, which image files do not say."""

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
    """Return the modality of the DICOM series that is written, in capital letters; None where none is given.

    Raises
    ------
    UsageError
        None that volseg writes, or no DICOM series is written.
    """
    if modality is None:
        return None
    if modality.upper() not in MODALITIES:
        raise UsageError(f"modality is {modality!r}; expected {' or '.join(MODALITIES)} (--modality)")
    if not to_dicom:
        raise UsageError("modality (--modality) is of the DICOM series that is written, and none is; leave it out")
    return modality.upper()


def of_modality(volume: Volume, source: Path, modality: str | None) -> Volume:
    """Return a scan with the modality that is chosen, else its own, else that of the JSON file of dcm2niix beside it.

    A choice against what the scan says of itself is logged.
    """
    if modality and volume.modality not in (None, modality):
        _LOG.warning("%s: is %s, and is written as %s as chosen", source, volume.modality, modality)
    chosen = modality or volume.modality or _beside(source)
    return volume if chosen == volume.modality else replace(volume, modality=chosen)


def _beside(source: Path) -> str | None:
    """Return what ``<stem>.json`` says, where it is there and says one of `MODALITIES`."""
    path = source.with_name(f"{case_name(source)}.json")
    if not path.is_file():
        return None
    try:
        content = read_json(path, most=_LONGEST_SIDECAR)
    except InputError as error:
        _LOG.warning("%s; the modality is not taken from it", error)
        return None
    found = content.get("Modality") if isinstance(content, dict) else None
    return found if found in MODALITIES else None
