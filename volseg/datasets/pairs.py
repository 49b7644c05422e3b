"""Find the images and the label map or masks of each case: in folders, or in a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from volseg.datasets.labelling import is_image
from volseg.datasets.types import Case, Patient
from volseg.errors import DatasetError
from volseg.files.names import IMAGE_SUFFIXES, VOXEL_SUFFIXES, case_name, has_suffix
from volseg.io.labels import MASKS_FOLDER, read_table

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_IMAGE_COLUMN = re.compile(r"image(_\d+)?")
# Columns that are not named by a structure; the last ones are likely to mean ``label``.
_OTHER_COLUMN = re.compile(r"case|patient|image(_\d+)?|labels?|masks?|seg|segmentations?", re.IGNORECASE)


def is_shown(name: str) -> bool:
    """Whether a file counts: names that start with ``.`` or ``_`` do not.

    Parameters
    ----------
    name : str
    """
    return not name.startswith((".", "_"))


def pair_folders(root: Path, *, ending: str = "") -> list[Case]:
    """Pair the images in imagesTr with the label maps in labelsTr by the name of the case.

    Parameters
    ----------
    root : Path
    ending : str
        The ending of all files (nnU-Net); every image then carries its channel number. Without it ``case_0001`` may be
        the name of a case: numbers are channels only if there is a ``_0000`` without a label map of its own.
    """
    images = _by_stem(root / "imagesTr", ending)
    labels = _by_stem(root / "labelsTr", ending)
    channels: dict[str, list[tuple[str, str, Path]]] = {}
    for stem, paths in images.items():
        name, channel = stem, ""
        if numbered := _CHANNEL.fullmatch(stem):
            first = f"{numbered[1]}_0000"
            if ending or (first in images and first not in labels):
                name, channel = numbered.groups()
        for path in paths:
            channels.setdefault(name, []).append((channel, path.name, path))
    cases = []
    for name in sorted(channels.keys() | labels.keys()):
        found = tuple(path for _, _, path in sorted(channels.get(name, ())))
        label = labels[name][-1] if name in labels else None
        cases.append(Case(name, found, label))
    return cases


def _by_stem(folder: Path, ending: str) -> dict[str, list[Path]]:
    """Return the images in a folder by their names without the ending, in alphabetical order."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected the images or label maps of the dataset there")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if is_shown(path.name) and _may_be_image(path, ending):
            stem = path.name.removesuffix(ending) if ending else case_name(path)
            found.setdefault(stem, []).append(path)
    return found


def _may_be_image(path: Path, ending: str) -> bool:
    if ending:
        return path.name.endswith(ending)
    if path.is_dir():  # perhaps a DICOM series
        return True
    return has_suffix(path, (*IMAGE_SUFFIXES, ".dcm")) and not has_suffix(path, VOXEL_SUFFIXES)


def pair_case_folders(root: Path) -> list[Case]:
    """Pair the scan in each folder with the masks in its ``segmentations``, as TotalSegmentator's data set has them.

    Parameters
    ----------
    root : Path
        The folder of the folders of all cases.

    Returns
    -------
    list of Case
        Empty if no folder holds such a folder.
    """
    cases = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if is_shown(folder.name) and (folder / MASKS_FOLDER).is_dir():
            images = filter(is_image, sorted(folder.iterdir()))
            cases.append(Case(folder.name, tuple(images), folder / MASKS_FOLDER))
    return cases


def pair_table(path: Path) -> tuple[list[Case], list[str]]:
    """Read the cases of a CSV table, and the names of its columns of images.

    Parameters
    ----------
    path : Path
        Relative paths in it start at its folder. Without a column ``label``, each column that is not ``image``,
        ``case`` or ``patient`` has the masks of the structure that it is named after.
    """
    columns, rows = read_table(path, delimiter=",")
    channels, structures = _channel_columns(columns), _structure_columns(columns)
    if not channels or not ("label" in columns or structures):
        raise DatasetError(
            f"{path}: has the columns {columns}; expected image (or image_0, image_1, ...), case, and label or, for "
            "masks, a column for each structure"
        )
    cases, problems = [], []
    for number, row in rows:
        empty = [column for column in channels if not row[column]]
        if empty:
            problems.append(f"line {number}: {', '.join(empty)} is empty")
        else:
            cases.append(_case_of(row, channels, structures, path.parent))
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}; expected the path of a scan")
    return cases, channels


def _case_of(row: Mapping[str, str], channels: Sequence[str], structures: Sequence[str], folder: Path) -> Case:
    images = tuple(folder / row[column] for column in channels)
    label = folder / row["label"] if row.get("label") else None
    masks = tuple((column, folder / row[column]) for column in structures if row.get(column))
    patient = Patient(row["patient"], "column patient") if row.get("patient") else None
    return Case(row.get("case") or case_name(images[0]), images, label, masks, patient=patient)


def _structure_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of masks; none if there is a column of label maps."""
    if "label" in columns:
        return []
    return [column for column in columns if column and not _OTHER_COLUMN.fullmatch(column)]


def _channel_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of images in the order of the channels; none if they are not numbered from 0."""
    found = list(filter(_IMAGE_COLUMN.fullmatch, columns))
    if found == ["image"]:
        return found
    numbered = [f"image_{number}" for number in range(len(found))]
    return numbered if sorted(found) == sorted(numbered) else []
