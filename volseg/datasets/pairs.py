"""Find the images and the label map of each case: in two folders, by two patterns, or in a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from volseg.datasets.types import Case, Patient
from volseg.errors import DatasetError, UsageError
from volseg.files.names import IMAGE_SUFFIXES, VOXEL_SUFFIXES, case_name, has_suffix
from volseg.io.labels import read_table

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_IMAGE_COLUMN = re.compile(r"image(_\d+)?")
_GAP = re.compile(r"\*|\{\}")


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


def pair_patterns(root: Path, images: str, labels: str) -> list[Case]:
    """Pair images and label maps by two patterns.

    Parameters
    ----------
    root : Path
        The folder below which they are searched.
    images : str
        With one ``*``.
    labels : str
        With ``{}``, which stands for what the star matched.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; patterns are searched below a folder")
    if images.count("*") != 1 or "**" in images or "{}" not in labels or "*" in labels:
        raise UsageError(f"patterns are {images!r} and {labels!r}; expected one * in images and {{}} in labels")
    image_paths, label_paths = _matches(root, images), _matches(root, labels)
    cases = []
    for name in sorted(image_paths.keys() | label_paths.keys()):
        found = (image_paths[name],) if name in image_paths else ()
        cases.append(Case(name, found, label_paths.get(name)))
    return cases


def _matches(root: Path, pattern: str) -> dict[str, Path]:
    """Return the paths that a pattern with equal gaps (``*`` or ``{}``) matches, by what fills the gap."""
    try:
        candidates = sorted(root.glob(_GAP.sub("*", pattern)))
    except (ValueError, NotImplementedError) as error:
        raise UsageError(f"pattern {pattern!r} cannot be used ({error}); expected one below the folder") from error
    first, *others = map(re.escape, _GAP.split(PurePosixPath(pattern).as_posix()))
    matcher = re.compile(first + "(?P<gap>[^/]+)" + "(?P=gap)".join(others))
    paths = {}
    for path in candidates:
        match = matcher.fullmatch(path.relative_to(root).as_posix())
        if match and is_shown(match["gap"]):
            paths[match["gap"]] = path
    return paths


def pair_table(path: Path) -> tuple[list[Case], list[str]]:
    """Read the cases of a CSV table, and the names of its columns of images.

    Parameters
    ----------
    path : Path
        Relative paths in it start at its folder.
    """
    columns, rows = read_table(path, delimiter=",")
    channels = _channel_columns(columns)
    if not channels or "label" not in columns:
        raise DatasetError(
            f"{path}: has the columns {columns}; expected image (or image_0, image_1, ...), label, and case"
        )
    cases, problems = [], []
    for number, row in rows:
        empty = [column for column in channels if not row[column]]
        if empty:
            problems.append(f"line {number}: {', '.join(empty)} is empty")
        else:
            cases.append(_case_of(row, channels, path.parent))
    if problems:
        raise DatasetError(f"{path}: {'; '.join(problems)}; expected the path of a scan")
    return cases, channels


def _case_of(row: Mapping[str, str], channels: Sequence[str], folder: Path) -> Case:
    images = tuple(folder / row[column] for column in channels)
    label = folder / row["label"] if row["label"] else None
    patient = Patient(row["patient"], "column patient") if row.get("patient") else None
    return Case(row.get("case") or case_name(images[0]), images, label, patient=patient)


def _channel_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of images in the order of the channels; none if they are not numbered from 0."""
    found = list(filter(_IMAGE_COLUMN.fullmatch, columns))
    if found == ["image"]:
        return found
    numbered = [f"image_{number}" for number in range(len(found))]
    return numbered if sorted(found) == sorted(numbered) else []
