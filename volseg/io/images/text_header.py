"""Common checks of the text headers of NRRD and MetaImage, done before native code sees the file.

SimpleITK's parsers allocate as much as a header asks for, and MetaImage's parser writes past its buffers for some
headers (``NDims = 100``, ``ElementDataFile = %s%n``). So the parsers are only given sizes that the file holds, few
dimensions, lines of bounded length and data files beside the header. Both ignore the header's unit of length; it is
read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import InputError
from volseg.files.regular import file_beside
from volseg.files.streams import check_growth, check_promise

LONGEST_HEADER = 1 << 22
FLOAT32_BYTES = 4
_WITH_COPIES = 1_260_000_000  # bytes of a sparse segmentation in four layers of 512x512x600
_MOST_DIMENSIONS = 5
_MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1000.0}
_MM_PER_UNIT |= dict.fromkeys(("um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", "micron", "microns"), 0.001)


@dataclass(frozen=True)
class Deflated:
    """A zlib stream of voxels: see `volseg.files.streams.check_deflated`."""

    file: Path
    start: int
    stored: int | None
    size: int


@dataclass(frozen=True)
class TextHeader:
    """Facts about a file before native code reads it.

    Parameters
    ----------
    parser : str
        ITK's name of the parser, chosen by content and not by suffix.
    numbers : int
        Number of numbers in all voxels.
    mm_per_unit : float
        Length of the header's unit.
    of_the_patient : bool
        Whether the header says how the axes lie in the patient.
    lists_volumes : bool
        Whether the numbers of a voxel belong to several volumes.
    for_itk : str, optional
        Second header, by which ITK reads a file that it would otherwise refuse.
    deflated : tuple of Deflated
        Compressed voxels whose damage the parser does not notice.
    """

    parser: str
    numbers: int
    mm_per_unit: float
    of_the_patient: bool
    lists_volumes: bool = False
    for_itk: str | None = None
    deflated: tuple[Deflated, ...] = ()


def damaged(path: Path, reason: str) -> InputError:
    """Return the error for a damaged header.

    Parameters
    ----------
    path : Path
    reason : str
        The end of the message.
    """
    return InputError(f"{path}: is not a NRRD or MetaImage file, damaged or cut off ({reason})")


def gather(found: Iterable[tuple[str, str]], path: Path) -> dict[str, str]:
    """Collect the fields of a header; a repeated field is an error, as parsers disagree on which one counts.

    Parameters
    ----------
    found : iterable of (name, value)
    path : Path
        The file.
    """
    fields: dict[str, str] = {}
    for name, value in found:
        if name in fields:
            raise damaged(path, f"{name} is given twice")
        fields[name] = value
    return fields


def parse_sizes(text: str, dimension: str, path: Path) -> list[int]:
    """Read the numbers of voxels along each axis.

    Parameters
    ----------
    text : str
        The sizes.
    dimension : str
        Number of sizes by the header.
    path : Path
        The file.
    """
    words = text.split()
    if not re.fullmatch("[0-9]{1,3}", dimension) or len(words) != int(dimension):
        raise damaged(path, f"it has {len(words)} sizes, but dimension {dimension[:20]!r}")
    if not 1 <= len(words) <= _MOST_DIMENSIONS:
        raise InputError(f"{path}: has {len(words)} dimensions; expected 2 or 3")
    if not all(re.fullmatch(r"0*[1-9][0-9]{0,9}", word) for word in words):
        raise damaged(path, f"its sizes are {' '.join(words)[:80]!r}; expected whole numbers of at least 1")
    return [int(word) for word in words]


def parse_unit(units: Iterable[str], path: Path) -> float:
    """Return the mm in a unit of length.

    Parameters
    ----------
    units : iterable of str
        Of each axis; without a unit, lengths are in mm.
    path : Path
        The file.
    """
    given = {unit for text in units if (unit := text.strip().lower()) not in ("", "?")}
    if not given:
        return 1.0
    if len(given) > 1 or not given <= _MM_PER_UNIT.keys():
        raise InputError(f"{path}: has the unit {', '.join(sorted(given))[:80]!r}; expected one of mm, cm, m or um")
    return _MM_PER_UNIT[given.pop()]


def data_size(names: Sequence[str], path: Path) -> int:
    """Return the number of bytes in the files that hold the voxels of a detached header.

    Parameters
    ----------
    names : sequence of str
        Of the files, relative to the header.
    path : Path
        The header.

    Raises
    ------
    InputError
        A file is missing, is not a regular file, or does not lie beside or below the header.
    """
    total = 0
    for name in names:
        if not 0 < len(name) < 200 or "%" in name:
            raise InputError(
                f"{path}: names the data file {name[:80]!r}; expected one file, or a LIST, in the folder of the header"
            )
        total += file_beside(path, name).stat().st_size
    return total


def check_data(path: Path, *, numbers: int, item_size: int, encoding: str, there: int, copied: int = 0) -> None:
    """Refuse voxels that the stored bytes cannot hold, or that expand out of proportion.

    Parameters
    ----------
    path : Path
        The file.
    numbers, item_size : int
        Number of numbers, and bytes of each.
    encoding : {"raw", "hex", "text", "deflate"}
    there : int
        Stored bytes.
    copied : int
        Bytes that are copied for each number when it is converted or sorted by volume.
    """
    needed = numbers * item_size
    if encoding == "text":
        needed = 2 * numbers - 1  # a digit each, and a separator between them
    elif encoding == "hex":
        needed *= 2
    check_promise(path, needed, there, zipped=encoding == "deflate")
    if encoding == "deflate":
        check_growth(path, needed + numbers * copied, there, always=_WITH_COPIES)
