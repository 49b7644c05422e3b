"""Inputs of the command line: the channels of each case, and its name.

Two rules name a case, and both look only at the scan itself:

* The name of an image file, without suffix and without nnU-Net's ``_0000``. `evaluate` finds the reference by it.
* For DICOM files, folders and archives, the series' description and 8 hex digits that stand for patient, study and
  series. The place of the files and the other cases do not matter.

If an output folder or a call already has another image file of the same name, the later one gets 8 hex digits of its
content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from volseg.cases.scan_places import expand_folder
from volseg.errors import InputError, UsageError
from volseg.files.names import IMAGE_SUFFIXES, case_name, has_suffix, portable_name, with_digits
from volseg.io.scan_files import ScanFiles, find_scan_files

_CHANNEL = re.compile(r"_\d{4}$")
_FIRST_CHANNEL = re.compile(r"_0000$")


@dataclass(frozen=True)
class CaseInput:
    """One scan to segment.

    Parameters
    ----------
    name : str
        Name of its output folder.
    paths : tuple of Path
        One for each channel in the model's order, or one 4D image that holds them all.
    series : str, optional
        The series, if a DICOM folder has several.
    by_content : bool
        Whether the folder gets its name from the headers of DICOM files, not from `name`; they are read when needed.
    """

    name: str
    paths: tuple[Path, ...]
    series: str | None = None
    by_content: bool = False


def collect_cases(inputs: Sequence[str], *, channels: int, series: str | None = None) -> list[CaseInput]:
    """Turn command-line inputs into cases.

    Parameters
    ----------
    inputs : sequence of str
        Each is one case: an image file, a DICOM file, folder or zip archive, or ``A,B`` for several channels. A folder
        of image files stands for all of them, and a folder with the DICOM folders or archives of several patients for
        one case each. Files of one folder with nnU-Net's ``_0000``, ``_0001`` are the channels of one case.
    channels : int
        Number of channels of the model.
    series : str, optional
        The series, if DICOM folders have several.

    Raises
    ------
    InputError
        A path does not exist.
    UsageError
        The number of channels differs from the model's, or a file is given twice.
    """
    groups: list[_Group] = []
    for text in inputs:
        groups += _groups_of(text, series)
    groups = _group_channels(groups, channels)
    for paths, _ in groups:
        # A single image may be 4D and hold all channels; only its reader knows.
        if len(paths) not in (1, channels):
            raise UsageError(
                f"{', '.join(map(str, paths))}: {len(paths)} channels, the model takes {channels}; "
                "join the channels of a case by commas, in the model's order"
            )
    return list(_distinct(map(_case, groups)))


class _Group(NamedTuple):
    """The channels of a case, and their series."""

    paths: tuple[Path, ...]
    series: str | None


def _groups_of(text: str, series: str | None) -> list[_Group]:
    """Return the cases of one input."""
    if Path(text).exists() or "," not in text:
        places = expand_folder(Path(text), series)
        groups = [_Group((place.path,), place.series or series) for place in places]
    else:
        groups = [_Group(tuple(Path(part) for part in text.split(",")), series)]
    missing = [str(path) for group in groups for path in group.paths if not path.exists()]
    if missing:
        raise InputError(f"{', '.join(missing)}: no such file or folder")
    return groups


def _group_channels(groups: list[_Group], channels: int) -> list[_Group]:
    """Join single files whose names differ only in nnU-Net's channel number."""
    joined: dict[tuple[Path | tuple[Path, ...], str, str | None], list[Path]] = {}
    for paths, series in groups:
        first, number = paths[0], None
        if channels > 1 and len(paths) == 1:
            number = _CHANNEL.search(case_name(first))
        key = (first.parent, case_name(first)[: number.start()], series) if number else (paths, "", series)
        files = joined.setdefault(key, [])
        if first in files:
            raise UsageError(f"{first}: given twice")
        files.extend(paths)
    for (where, name, _), files in joined.items():
        if isinstance(where, Path):
            files.sort()
            _check_numbers(files, where / name)
    return [_Group(tuple(files), key[2]) for key, files in joined.items()]


def _check_numbers(files: list[Path], name: Path) -> None:
    """Refuse channels that are not numbered 0000, 0001, ..."""
    numbers = [case_name(path)[-4:] for path in files]
    expected = [f"{number:04d}" for number in range(len(files))]
    if numbers != expected:
        raise UsageError(f"{name}: has channels {', '.join(numbers)}; expected 0000, 0001 ...")


def _case(group: _Group) -> CaseInput:
    paths, series = group
    if not has_suffix(paths[0], IMAGE_SUFFIXES) or paths[0].is_dir():
        return CaseInput(case_name(paths[0]), paths, series, by_content=True)
    stem = _FIRST_CHANNEL.sub("", case_name(paths[0]))
    return CaseInput(stem if series is None else portable_name(series), paths, series)


def _distinct(cases: Iterable[CaseInput]) -> Iterator[CaseInput]:
    """Add digits of its content to the name of a file, if another file has that name with other content."""
    first: dict[str, CaseInput] = {}
    for case in cases:
        other = case if case.by_content else first.setdefault(case.name, case)
        if other is not case and (digits := _content(case)) != _content(other):
            yield replace(case, name=with_digits(case.name, digits))
        else:
            yield case


def _content(case: CaseInput) -> str:
    try:
        return find_scan_files(case.paths, case.series).content[:8]
    except InputError:  # reading it raises the same error
        return ""


def former_names(case: CaseInput, scan: ScanFiles) -> Iterator[str]:
    """Yield the names of a case in versions before 0.1.0: with digits of its path, and without digits for DICOM."""
    text = "\n".join([*(str(path.resolve()) for path in case.paths), case.series or ""])
    digits = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    described = portable_name(scan.chosen[0].name) if scan.chosen else case.name
    for name in dict.fromkeys([described, case.name]):
        yield from (name, with_digits(name, digits))
