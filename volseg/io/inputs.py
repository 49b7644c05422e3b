"""What the command line's inputs mean: which paths are the channels of which case, and what the case is called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import InputError, UsageError
from volseg.io.names import ITK_SUFFIXES, case_name, has_suffix, portable_name

_CHANNEL = re.compile(r"_\d{4}$")
_FIRST_CHANNEL = re.compile(r"_0000$")
_IMAGE_SUFFIXES = (".nii.gz", ".nii", ".hdr", *ITK_SUFFIXES)


@dataclass(frozen=True)
class CaseInput:
    """One scan to segment.

    Parameters
    ----------
    name : str
        What its output folder is called.
    paths : tuple of Path
        One for each channel in the model's order, or one 4D image that holds them all.
    series : str, optional
        Which series of a DICOM folder with several.
    """

    name: str
    paths: tuple[Path, ...]
    series: str | None = None


def collect_cases(inputs: Sequence[str], *, channels: int, series: str | None = None) -> list[CaseInput]:
    """Turn command-line inputs into cases.

    Parameters
    ----------
    inputs : sequence of str
        Each one case: an image file, a DICOM file, folder or zip archive, or ``A,B`` for several channels. A folder of
        image files stands for all of them; nnU-Net's ``_0000``, ``_0001`` of one folder are the channels of one case.
    channels : int
        How many the model wants.
    series : str, optional
        Which series of DICOM folders with several.

    Raises
    ------
    InputError
        A path does not exist.
    UsageError
        The number of channels is not the model's, or a file is given twice.
    """
    groups: list[tuple[Path, ...]] = []
    for text in inputs:
        if Path(text).exists() or "," not in text:
            groups.extend((path,) for path in _expand(Path(text)))
        else:
            groups.append(tuple(Path(part) for part in text.split(",")))
    if missing := [str(path) for paths in groups for path in paths if not path.exists()]:
        raise InputError(f"{', '.join(missing)}: no such file or folder")
    groups = _group_channels(groups, channels)
    for paths in groups:
        # A single image may be 4D and hold all channels; only its reader knows.
        if len(paths) not in (1, channels):
            raise UsageError(
                f"{', '.join(map(str, paths))}: {len(paths)} channels, the model takes {channels}; "
                "join the channels of a case by commas, in the model's order"
            )
    return _name_cases(groups, series)


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    images = sorted(p for p in path.iterdir() if has_suffix(p, _IMAGE_SUFFIXES) and p.name[0] not in "._")
    return images or [path]  # a folder without image files is a DICOM folder, or the reader says what it is


def _group_channels(groups: list[tuple[Path, ...]], channels: int) -> list[tuple[Path, ...]]:
    """Join single files whose names differ only in nnU-Net's channel number."""
    joined: dict[tuple[Path, ...] | tuple[Path, str], list[Path]] = {}
    for paths in groups:
        number = _CHANNEL.search(case_name(paths[0])) if channels > 1 and len(paths) == 1 else None
        key = (paths[0].parent, case_name(paths[0])[: number.start()]) if number else paths
        if paths[0] in joined.get(key, []):
            raise UsageError(f"{paths[0]}: given twice")
        joined.setdefault(key, []).extend(paths)
    for key, paths_found in joined.items():
        if len(key) == 2 and isinstance(key[1], str):
            paths_found.sort()
            numbers = [case_name(path)[-4:] for path in paths_found]
            if numbers != [f"{n:04d}" for n in range(len(numbers))]:
                raise UsageError(f"{key[0] / key[1]}: has channels {', '.join(numbers)}; expected 0000, 0001 ...")
    return [tuple(paths) for paths in joined.values()]


def _name_cases(groups: list[tuple[Path, ...]], series: str | None) -> list[CaseInput]:
    names = [_FIRST_CHANNEL.sub("", _stem(paths[0], series)) for paths in groups]
    return [
        CaseInput(f"{name}-{path_hash(paths, series)}" if names.count(name) > 1 else name, paths, series)
        for name, paths in zip(names, groups, strict=True)
    ]


def _stem(path: Path, series: str | None) -> str:
    """File stem, or for a DICOM folder the description of the series that is read."""
    from volseg.io.dicom_choice import choose_series
    from volseg.io.dicom_series import list_series

    if path.is_dir() or has_suffix(path, (".zip",)):
        try:
            description = choose_series(list_series(path), path, series).name
        except InputError:  # reading it will say what is wrong
            description = ""
        if description:
            return portable_name(description)
    return case_name(path)


def path_hash(paths: Iterable[Path], series: str | None) -> str:
    """Return 8 hex digits that tell cases of the same name apart."""
    text = "\n".join([*(str(path.resolve()) for path in paths), series or ""])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def file_state(paths: Iterable[Path]) -> str:
    """Return 16 hex digits that change when a file, or one in a folder, is replaced: by names, sizes and times."""
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    text = repr([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
