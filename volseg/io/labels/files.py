"""The label maps of a path, and whether an image is a label map."""

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
MASKS_FOLDER = "segmentations"
# More labels without a name are the values of a scan, unless they lie in even areas.
_MOST_UNEVEN = 50
# Shares of equal neighbours: among pairs of voxels that are not 0, and among voxels that are not 0. See `is_even`.
_EVEN_PAIRS, _EVEN_VOXELS = 0.6, 0.5

_LOG = logging.getLogger(__name__)


def find_label_maps(path: str | Path, *, known: Collection[str] = ()) -> dict[str, Path]:
    """Find the label maps of a path.

    Parameters
    ----------
    path : path
        One of: a file; a folder of files ``<case>.<suffix>``; the output folder of one case, with ``labels.nii.gz``,
        ``labels.nii`` or ``labels.seg.nrrd``; a folder with a mask for each structure
        (`volseg.io.labels.mask_folder`), or a folder that holds such a folder as ``segmentations``; a folder of such
        folders.
    known : collection of str
        Further names of structures, by which folders of masks are recognised.

    Returns
    -------
    dict of str to Path
        Case name to file or folder of masks; empty for a folder without label maps.

    Raises
    ------
    InputError
        The path does not exist, or two files are the same case.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if own := single_label_map(Catalogue(path), known=known):
        return {case_of(own): own}
    cases: dict[str, Path] = {}
    for file in _label_maps_within(path, known):
        name = case_of(file)
        if name in cases:
            raise InputError(f"{file} and {cases[name]} are both case {name!r}; keep one of them in {path}")
        cases[name] = file
    return cases


def _label_maps_within(folder: Path, known: Collection[str]) -> list[Path]:
    """Return the label maps of the folders in a folder, then its files."""
    outputs, files = [], []
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        if file.is_file() and has_suffix(file, CASE_SUFFIXES):
            files.append(file)
        elif file.is_dir() and (own := single_label_map(Catalogue(file), known=known)):
            outputs.append(own)
    return outputs + files


def names_of(labels: str | Path | None) -> list[str]:
    """Return the names in a table of labels; an empty list without a table.

    Parameters
    ----------
    labels : path, optional
        The table; see `read_label_table`.
    """
    return [] if labels is None else [label.name for label in read_label_table(Path(labels))]


def has_label_table(path: Path) -> bool:
    """Whether an image has a table of label names, beside it or in its header.

    Parameters
    ----------
    path : Path
        The image.
    """
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
    """Whether a series names one of several volumes of this very file: ``<stem>_<n>``.

    Parameters
    ----------
    path : Path
        The file.
    series : str, optional
        As the user gave it.
    """
    return series is not None and re.fullmatch(re.escape(case_name(path)) + r"(_\d+)+", series.strip()) is not None


def check_labels(layers: Sequence[LabelMap], path: Path, named: Collection[int] = ()) -> None:
    """Refuse a scan of integers that was read as labels.

    Parameters
    ----------
    layers : sequence of LabelMap
    path : Path
        The file, for messages.
    named : collection of int
        Values that are named elsewhere.

    Raises
    ------
    InputError
        More than 50 labels have no name and do not lie in even areas. An atlas may have any number in even areas.
    """
    for layer in layers:
        unnamed = sum(label.name == f"label_{label.value}" and label.value not in named for label in layer.labels)
        if unnamed > _MOST_UNEVEN and not is_even(layer.array, layer.grid.spacing, count=unnamed):
            raise InputError(
                f"{path}: has {unnamed} different values, as a scan has; if these are labels, give a table of their "
                "names (--labels)"
            )


def is_even(values: NDArray[Any], spacing: Sequence[float], *, count: int) -> bool:
    """Whether neighbours along the finest axis are mostly equal, as in label maps.

    In label maps over 67 % of the neighbours that are not 0 are equal (cells of three voxels, cortex of two, ten
    thousand regions). In 8-bit scans, averaged brains and smoothed or interpolated scans it is under 56 %. An image of
    few values may be a scan of few counts, so there most voxels must have an equal neighbour.

    Parameters
    ----------
    values : (I, J, K) int
    spacing : three float
        mm.
    count : int
        Number of different values.
    """
    along = np.moveaxis(values, int(np.argmin(spacing)), 0)
    inside = along[:-1] != 0
    equal = np.count_nonzero((along[1:] == along[:-1]) & inside)
    even = equal >= _EVEN_PAIRS * np.count_nonzero(inside & (along[1:] != 0))
    return bool(even and (count > _MOST_UNEVEN or equal > _EVEN_VOXELS * np.count_nonzero(inside)))


def single_label_map(found: Catalogue, *, known: Collection[str] = ()) -> Path | None:
    """Return the only label map of a path: a file itself, or the label map or masks of a case.

    Parameters
    ----------
    found : Catalogue
        Of the path.
    known : collection of str
        As for `find_label_maps`.

    Returns
    -------
    Path or None
        None for a folder without a label map of its own; `find_label_maps` looks further.
    """
    path = found.path
    if path.is_file():
        return path
    for name in _OUTPUT_NAMES:
        if (path / name).is_file():
            return path / name
    for folder in (path, path / MASKS_FOLDER):
        if mask_files(found, folder, known=known):
            return folder
    return None


def case_of(path: Path) -> str:
    """Return the case name of a label map: that of the file, or of its folder if it has the name of all outputs.

    Parameters
    ----------
    path : Path
        A file, or a folder of masks.
    """
    return path.resolve().parent.name if path.name in (*_OUTPUT_NAMES, MASKS_FOLDER) else case_name(path)
