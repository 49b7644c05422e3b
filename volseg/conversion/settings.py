"""How to convert, and what may be written over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import OutputError
from volseg.io.names import has_suffix

# The form of a file that holds probabilities.
FRACTIONAL = "fractional"


@dataclass(frozen=True)
class ConversionSettings:
    """How to convert.

    Parameters
    ----------
    series : str, optional
        Which series of the source; where the source is labels, of the image.
    labels : Path, optional
        Table of label names and colours; says that the source is labels.
    image : Path, optional
        The scan that labels were made on: they come out on its grid, and DICOM objects refer to it.
    form : {"seg", "labelmap", "rtstruct", "fractional"}, optional
        What a ``.dcm`` file is; ``fractional`` are probabilities, in NIfTI along a fourth axis.
    strict : bool
        Refuse DICOM stacks that would have to be repaired.
    overwrite : bool
        Replace files that are there.
    """

    series: str | None = None
    labels: Path | None = None
    image: Path | None = None
    form: str | None = None
    strict: bool = False
    overwrite: bool = False


def is_folder(target: Path) -> bool:
    """Whether a target is the folder of a DICOM series."""
    return target.is_dir() or not target.suffix


def is_object(target: Path) -> bool:
    """Whether a target is a DICOM object of labels."""
    return has_suffix(target, (".dcm",))


def check_free(targets: Sequence[Path], settings: ConversionSettings) -> None:
    """Refuse to replace what is there, unless that is wanted."""
    for target in targets if not settings.overwrite else ():
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise OutputError(f"{target}: is there already; add --overwrite, or choose another name")
