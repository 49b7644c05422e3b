"""One form of a scan, label map or probabilities into another."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from volseg.conversion.labels import convert_labels, put_on_grid
from volseg.conversion.probabilities import convert_probabilities
from volseg.conversion.scans import FORMATS, ConvertedVolume, convert_all, convert_scan
from volseg.conversion.settings import FRACTIONAL, ConversionSettings, check_free, is_folder
from volseg.errors import InputError, UsageError
from volseg.io.dicom_objects import is_dicom_input, label_objects
from volseg.io.label_files import single_label_map
from volseg.io.labels import read_table, sidecar_path
from volseg.io.names import has_suffix

__all__ = ["FORMATS", "FRACTIONAL", "ConversionSettings", "ConvertedVolume", "convert", "convert_all", "put_on_grid"]

_LOG = logging.getLogger(__name__)

Content = Literal["scan", "labels", "probabilities"]


def convert(source: str | Path, target: str | Path, settings: ConversionSettings | None = None) -> list[Path]:
    """Read a scan, label map or probabilities in one form and write it in another.

    What the source is, is said by `settings` (a label table, a form or an image), by the target (``.seg.nrrd`` and
    ``.dcm`` hold labels), by the source (``.seg.nrrd``, and a DICOM segmentation or structure set that is alone), or by
    a label table beside it. All else is a scan.

    Parameters
    ----------
    source : path
        What `volseg.read` or `volseg.read_labels` takes; or the folder of a predicted case, for its label map.
    target : path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``; for a scan also a folder for a DICOM series; for labels also
        ``.seg.nrrd``, and ``.dcm`` with an image. Values stay as they are, fractions as float32.
    settings : ConversionSettings, optional
        Everything else.

    Returns
    -------
    list of Path
        The files written. Labels have their names in ``<stem>.tsv``, where the form itself cannot hold them. Labels
        that overlap are written as ``<stem>_1``, ``<stem>_2`` and so on, in a ``.seg.nrrd`` as layers.

    Raises
    ------
    UsageError
        Settings that contradict each other or the target.
    InputError, GeometryError
        The source or image cannot be read; all labels lie outside the image.
    OutputError
        A target is there already, or cannot be written.
    """
    source, target, settings = _label_map_of(Path(source)), Path(target), settings or ConversionSettings()
    if source.exists() and source.resolve() == target.resolve():
        raise UsageError(f"{target}: is the input itself; choose another name")
    check_free([target], settings)
    content = _content(source, target, settings)
    if content == "scan":
        return convert_scan(source, target, settings)
    if content == "probabilities":
        return convert_probabilities(source, target, settings)
    return convert_labels(source, target, settings)


def _label_map_of(source: Path) -> Path:
    own = single_label_map(source) if source.is_dir() else None
    return source if own is None or is_dicom_input(source) else own


def _content(source: Path, target: Path, settings: ConversionSettings) -> Content:
    if settings.form == FRACTIONAL:
        return "probabilities"
    if settings.labels or settings.form or settings.image:
        return "labels"
    if has_suffix(target, (".seg.nrrd", ".dcm")) or has_suffix(source, (".seg.nrrd",)):
        return "labels"
    if is_dicom_input(source):
        return "labels" if _holds_only_labels(source) else "scan"
    return "labels" if _has_label_table(source) and not is_folder(target) else "scan"


def _holds_only_labels(source: Path) -> bool:
    from volseg.io.dicom import scan_dicom

    scan = scan_dicom(source)
    found = label_objects(scan)
    if found and scan.series:
        _LOG.warning("%s: the scan is converted; beside it are labels, to convert them give %s", source, found[0].file)
    return bool(found) and not scan.series


def _has_label_table(source: Path) -> bool:
    table = sidecar_path(source)
    if not table.is_file():
        return False
    try:
        columns, _ = read_table(table, delimiter="\t")
    except InputError:
        return False
    return {"index", "name"} <= set(columns)
