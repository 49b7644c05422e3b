"""Which label maps and image files a path stands for, and whether an image is a label map at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import InputError, UsageError
from volseg.io.labels import read_table, sidecar_path
from volseg.io.named_volumes import count_volumes
from volseg.io.names import ITK_SUFFIXES, NIFTI_SUFFIXES, case_name, has_suffix
from volseg.labelmap import LabelMap

_LISTED_SUFFIXES = (".nii.gz", ".nii", ".hdr", *ITK_SUFFIXES)
_OUTPUT_NAMES = ("labels.nii.gz", "labels.nii", "labels.seg.nrrd")
# The voxel files of header pairs, which are read through their headers.
_VOXEL_FILES = (".img", ".img.gz")
# So many labels without a name are a scan's values; so many are, where they do not lie in even areas.
_MOST_UNNAMED, _MOST_UNEVEN = 256, 50
_EVEN = 0.5

_LOG = logging.getLogger(__name__)


def find_label_maps(path: str | Path) -> dict[str, Path]:
    """Find the label maps that a path stands for; no file is opened.

    Parameters
    ----------
    path : path
        A file; a folder of files ``<case>.<suffix>``; the output folder of one case, with ``labels.nii.gz``,
        ``labels.nii`` or ``labels.seg.nrrd``; or a folder of such folders.

    Returns
    -------
    dict of str to Path
        Case name to file; empty for a folder without any.

    Raises
    ------
    InputError
        Nothing is there, or two files are one case.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if own := single_label_map(path):
        return {_name(own): own}
    files = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
    outputs = [own for file in files if file.is_dir() and (own := single_label_map(file))]
    flat = [file for file in files if file.is_file() and has_suffix(file, _LISTED_SUFFIXES)]
    cases: dict[str, Path] = {}
    for file in (*outputs, *flat):
        name = _name(file)
        if name in cases:
            raise InputError(f"{file} and {cases[name]} are both case {name!r}; keep one of them in {path}")
        cases[name] = file
    return cases


def has_label_table(path: Path) -> bool:
    """Whether a table of label names lies beside an image."""
    table = sidecar_path(path)
    if not table.is_file():
        return False
    try:
        columns, _ = read_table(table, delimiter="\t")
    except InputError as error:
        _LOG.warning("%s; %s is not taken for labels", error, path)
        return False
    return {"index", "name"} <= set(columns)


def image_files(path: Path) -> Iterator[Path]:
    """Give the NIfTI, NRRD and MetaImage files of a folder at any depth, or the file itself; none that are hidden."""
    if path.is_file() and has_suffix(path, (*NIFTI_SUFFIXES, *ITK_SUFFIXES)):
        yield path
    for root, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = (name for name in sorted(files) if not name.startswith(".") and not has_suffix(name, _VOXEL_FILES))
        yield from (Path(root, name) for name in names if has_suffix(name, (*NIFTI_SUFFIXES, *ITK_SUFFIXES)))


def check_single(path: Path) -> None:
    """Say of a file with several volumes what may be meant, as `read_labels` cannot.

    Raises
    ------
    UsageError
        It is a file of several volumes.
    """
    if (count := count_volumes(path)) > 1:
        raise UsageError(
            f"{path}: holds {count} volumes, a label map is one; `volseg convert --all` writes each to a file, "
            "`--as fractional` probabilities to DICOM"
        )


def check_labels(layers: Sequence[LabelMap], path: Path, named: Collection[int] = ()) -> None:
    """Refuse a scan that was taken for labels, which its integers could be; `named` are values with names elsewhere.

    Raises
    ------
    InputError
        More than 256 labels have no name, or more than 50 that do not lie in even areas.
    """
    for layer in layers:
        unnamed = sum(label.name == f"label_{label.value}" and label.value not in named for label in layer.labels)
        if unnamed > _MOST_UNNAMED or (unnamed > _MOST_UNEVEN and not is_even(layer.array, layer.grid.spacing)):
            raise InputError(
                f"{path}: has {unnamed} different values, as a scan has; if these are labels, give a table of their "
                "names (--labels)"
            )


def is_even(values: NDArray[Any], spacing: Sequence[float]) -> bool:
    """Whether most non-zero voxels (I, J, K) have an equal neighbour along the finest axis, as labels do.

    Of label maps over 0.8 have one, of 8-bit MR and averaged brains under 0.35.
    """
    along = np.moveaxis(values, int(np.argmin(spacing)), 0)
    inside = along[:-1] != 0
    return bool(np.count_nonzero((along[1:] == along[:-1]) & inside) > _EVEN * np.count_nonzero(inside))


def single_label_map(path: Path) -> Path | None:
    """Return a file itself, and the label map of the output folder of one case; None for all else."""
    if path.is_file():
        return path
    return next((path / name for name in _OUTPUT_NAMES if (path / name).is_file()), None)


def _name(path: Path) -> str:
    """Return the case name: of the folder where the file has the one name that all outputs have."""
    return path.resolve().parent.name if path.name in _OUTPUT_NAMES else case_name(path)
