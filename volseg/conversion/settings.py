"""Settings of a conversion, and which existing files may be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from volseg.files.names import has_suffix

# The form of a file that holds probabilities.
FRACTIONAL = "fractional"


class ConversionOptions(TypedDict, total=False):
    """The keyword arguments of `volseg.convert`, which describes them."""

    series: str | None
    labels: str | Path | None
    only: Sequence[str] | None
    image: str | Path | None
    form: str | None
    modality: str | None
    merge: bool
    strict: bool
    overwrite: bool


@dataclass(frozen=True)
class ConversionSettings:
    """The complete `ConversionOptions`."""

    series: str | None = None
    labels: str | Path | None = None
    only: Sequence[str] | None = None
    image: str | Path | None = None
    form: str | None = None
    modality: str | None = None
    merge: bool = False
    strict: bool = False
    overwrite: bool = False


def is_folder(target: Path) -> bool:
    """Whether a target is the folder of a DICOM series."""
    return target.is_dir() or not target.suffix


def is_object(target: Path) -> bool:
    """Whether a target is a DICOM object of labels."""
    return has_suffix(target, (".dcm",))
