"""Which label maps and image files a path stands for, and whether an image is a label map at all."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import LabelMap
from volseg.errors import InputError
from volseg.files.names import CASE_SUFFIXES, case_name, has_suffix
from volseg.io.catalogue import Catalogue
from volseg.io.labels.mask_folder import mask_files
from volseg.io.labels.nifti_names import read_header_labels
from volseg.io.labels.table import read_label_table, read_table, sidecar_path

_OUTPUT_NAMES = ("labels.nii.gz", "labels.nii", "labels.seg.nrrd")
# The masks of a case in TotalSegmentator's dataset, beside its scan.
_MASKS = "segmentations"
# So many labels without a name are a scan's values, where they do not lie in even areas.
_MOST_UNEVEN = 50
# Shares of equal neighbours: among voxels that are both not 0, and of all that are not. See `is_even`.
_EVEN_PAIRS, _EVEN_VOXELS = 0.6, 0.5

_LOG = logging.getLogger(__name__)


def find_label_maps(path: str | Path, *, known: Collection[str] = ()) -> dict[str, Path]:
    """Find the label maps that a path stands for.

    Parameters
    ----------
    path : path
        A file; a folder of files ``<case>.<suffix>``; the output folder of one case, with ``labels.nii.gz``,
        ``labels.nii`` or ``labels.seg.nrrd``; a folder of masks, one a structure (`volseg.io.labels.mask_folder`), or
        one that holds such a folder as ``segmentations``; or a folder of such folders.
    known : collection of str
        Names of structures, by which folders of masks are told besides those that everybody knows.

    Returns
    -------
    dict of str to Path
        Case name to file or folder of masks; empty for a folder without any.

    Raises
    ------
    InputError
        Nothing is there, or two files are one case.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if own := single_label_map(Catalogue(path), known=known):
        return {case_of(own): own}
    outputs, flat = [], []
    for file in sorted(path.iterdir()):
        if file.name.startswith("."):
            continue
        if file.is_file() and has_suffix(file, CASE_SUFFIXES):
            flat.append(file)
        elif file.is_dir() and (own := single_label_map(Catalogue(file), known=known)):
            outputs.append(own)
    cases: dict[str, Path] = {}
    for file in (*outputs, *flat):
        name = case_of(file)
        if name in cases:
            raise InputError(f"{file} and {cases[name]} are both case {name!r}; keep one of them in {path}")
        cases[name] = file
    return cases


def names_of(labels: str | Path | None) -> list[str]:
    """Return the names in a table of labels; none where there is no table."""
    return [] if labels is None else [label.name for label in read_label_table(Path(labels))]


def has_label_table(path: Path) -> bool:
    """Whether a table of label names lies beside an image, or in its header."""
    table = sidecar_path(path)
    try:
        if not table.is_file():
            return bool(read_header_labels(path))
        columns, _ = read_table(table, delimiter="\t")
    except InputError as error:
        _LOG.warning("%s; %s is not taken for labels", error, path)
        return False
    return {"index", "name"} <= set(columns)


def names_volume(path: Path, series: str | None) -> bool:
    """Whether a series is, by its name, one of several volumes of this file, and not of another: ``<stem>_<n>``."""
    return series is not None and re.fullmatch(re.escape(case_name(path)) + r"(_\d+)+", series.strip()) is not None


def check_labels(layers: Sequence[LabelMap], path: Path, named: Collection[int] = ()) -> None:
    """Refuse a scan that was taken for labels, which its integers could be; `named` are values with names elsewhere.

    Raises
    ------
    InputError
        More than 50 labels have no name and do not lie in even areas, however many an atlas has that do.
    """
    for layer in layers:
        unnamed = sum(label.name == f"label_{label.value}" and label.value not in named for label in layer.labels)
        if unnamed > _MOST_UNEVEN and not is_even(layer.array, layer.grid.spacing, count=unnamed):
            raise InputError(
                f"{path}: has {unnamed} different values, as a scan has; if these are labels, give a table of their "
                "names (--labels)"
            )


def is_even(values: NDArray[Any], spacing: Sequence[float], *, count: int) -> bool:
    """Whether neighbours along the finest axis are mostly equal, as they are in label maps.

    Of two neighbours that are not 0, those of label maps are equal in over 67 % (cells of three voxels, cortex of two,
    ten thousand regions), those of 8-bit scans, averaged brains and scans that were smoothed or interpolated in under
    56 %. An image of few values, `count`, may be a scan of few counts: there most voxels must have an equal neighbour.
    """
    along = np.moveaxis(values, int(np.argmin(spacing)), 0)
    inside = along[:-1] != 0
    equal = np.count_nonzero((along[1:] == along[:-1]) & inside)
    even = equal >= _EVEN_PAIRS * np.count_nonzero(inside & (along[1:] != 0))
    return bool(even and (count > _MOST_UNEVEN or equal > _EVEN_VOXELS * np.count_nonzero(inside)))


def single_label_map(found: Catalogue, *, known: Collection[str] = ()) -> Path | None:
    """Return the one label map of a path: a file itself, or the label map or masks of a case.

    Parameters
    ----------
    found : Catalogue
        What lies at the path.
    known : collection of str
        As of `find_label_maps`.

    Returns
    -------
    Path or None
        None for a folder with none or several, as `find_label_maps` knows them.
    """
    path = found.path
    if path.is_file():
        return path
    for name in _OUTPUT_NAMES:
        if (path / name).is_file():
            return path / name
    for folder in (path, path / _MASKS):
        if mask_files(found, folder, known=known):
            return folder
    return None


def case_of(path: Path) -> str:
    """Return the case name of a label map: of the folder where the file has the one name that all outputs have."""
    return path.resolve().parent.name if path.name in (*_OUTPUT_NAMES, _MASKS) else case_name(path)
