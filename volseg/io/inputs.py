"""What the command line's inputs mean: which paths are the channels of which case, and what the case is called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import InputError, UsageError
from volseg.io.names import ITK_SUFFIXES, case_name, has_suffix, portable_name

_CHANNEL = re.compile(r"_(\d{4})$")
_IMAGE_SUFFIXES = (".nii.gz", ".nii", ".hdr", *ITK_SUFFIXES)


@dataclass(frozen=True)
class CaseInput:
    """One scan to segment: its name and the path of each channel, in the model's order."""

    name: str
    paths: tuple[Path, ...]


def collect_cases(inputs: Sequence[str], *, channels: int) -> list[CaseInput]:
    """Turn command-line inputs into cases.

    Parameters
    ----------
    inputs : sequence of str
        Each one case: an image file, a DICOM file or folder, or ``A,B`` for several channels. A folder of image files
        stands for all of them; nnU-Net's ``_0000``, ``_0001`` of one folder are the channels of one case.
    channels : int
        How many the model wants.

    Raises
    ------
    InputError
        A path does not exist or a folder holds no images.
    UsageError
        The number of channels is not the model's, or a case is given twice.
    """
    groups: list[tuple[Path, ...]] = []
    for text in inputs:
        if Path(text).exists() or "," not in text:
            groups.extend((path,) for path in _expand(Path(text)))
        else:
            groups.append(tuple(Path(part) for part in text.split(",")))
    cases = _name_cases(_group_channels(groups, channels))
    for case in cases:
        if missing := [str(path) for path in case.paths if not path.exists()]:
            raise InputError(f"{', '.join(missing)}: no such file or folder")
        if len(case.paths) != channels:
            raise UsageError(
                f"{', '.join(map(str, case.paths))}: {len(case.paths)} channels, the model takes {channels}; "
                "join the channels of a case by commas, in the model's order"
            )
    return cases


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    images = sorted(p for p in path.iterdir() if has_suffix(p, _IMAGE_SUFFIXES) and p.name[0] not in "._")
    return images or [path]  # a folder without image files is a DICOM folder, or the reader says what it is


def _group_channels(groups: list[tuple[Path, ...]], channels: int) -> list[tuple[Path, ...]]:
    """Join single files whose names differ only in nnU-Net's channel number."""
    joined: dict[tuple[Path, str] | tuple[Path, ...], tuple[Path, ...]] = {}
    for paths in groups:
        numbered = len(paths) == 1 and channels > 1 and _CHANNEL.search(case_name(paths[0]))
        key = (paths[0].parent, case_name(paths[0])[:-5]) if numbered else paths
        if key in joined and not numbered:
            raise UsageError(f"{paths[0]}: given twice")
        joined[key] = tuple(sorted((*joined.get(key, ()), *paths))) if numbered else paths
    return list(joined.values())


def _name_cases(groups: list[tuple[Path, ...]]) -> list[CaseInput]:
    names = [_CHANNEL.sub("", _stem(paths[0])) for paths in groups]
    return [
        CaseInput(f"{name}-{path_hash(paths)}" if names.count(name) > 1 else name, paths)
        for name, paths in zip(names, groups, strict=True)
    ]


def _stem(path: Path) -> str:
    """File stem, or for a DICOM folder with one series its description."""
    from volseg.io.dicom import list_series

    if path.is_dir():
        try:
            found = list_series(path)
        except InputError:
            found = []
        if len(found) == 1 and found[0].description:
            return portable_name(found[0].description)
    return case_name(path)


def path_hash(paths: Iterable[Path]) -> str:
    """Return 8 hex digits that tell cases of the same name apart."""
    text = "\n".join(str(path.resolve()) for path in paths)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
