"""Output of `volseg measure`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volseg.cli.console import print_table, say
from volseg.files.atomic import write_text
from volseg.files.plain_text import plain
from volseg.files.tables import write_table

if TYPE_CHECKING:
    from volseg.surface import Measurement

Found = Mapping[str, Sequence["Measurement"]]

_WIDTH_IN_FILES = 140
# The printed sizes: field of `Extent`, heading, and format of the number.
_SIZES = (
    ("volume_ml", "volume\nml", ".4g"),
    ("area_mm2", "area\nmm2", ".0f"),
    ("longest_mm", "longest\nmm", ".1f"),
    ("longest_axial_mm", "axial\nmm", ".1f"),
)
_WAYS = ("by_voxels", "by_surface")


def print_measurements(found: Found) -> None:
    """Print a table for each case; if a cell has two numbers, the first is of the voxels.

    Parameters
    ----------
    found : mapping of str to sequence of Measurement
        The measurements by case.
    """
    headings = ["pieces", *(heading for _, heading, _ in _SIZES), "centre R A S\nmm"]
    for case, entries in found.items():
        print_table((plain(case), *headings), map(_cells, entries), width=_WIDTH_IN_FILES)
    say("Sizes of the voxels / of the smoothed surface. Longest in space, and within one axial slice.")


def _cells(entry: Measurement) -> list[str]:
    whole = entry.piece is None
    return [entry.name if whole else f"  piece {entry.piece}", str(entry.pieces) if whole else "", *_sizes(entry)]


def _sizes(entry: Measurement) -> list[str]:
    voxels, surface = entry.by_voxels, entry.by_surface
    if voxels is None:
        return ["absent", *([""] * len(_SIZES))]
    cells = []
    for field, _, form in _SIZES:
        cell = format(getattr(voxels, field), form)
        if surface:
            cell += f" / {getattr(surface, field):{form}}"
        cells.append(cell)
    r, a, s = voxels.centre_mm
    return [*cells, f"{r:.1f} {a:.1f} {s:.1f}"]


def write_csv(found: Found, path: Path) -> Path:
    """Write a row for each case, label and piece; missing numbers are empty cells.

    Parameters
    ----------
    found : mapping of str to sequence of Measurement
        The measurements by case.
    path : Path
        Replaced if it exists.
    """
    rows = []
    columns: dict[str, None] = {}
    for case, entries in found.items():
        for entry in entries:
            row = dict(_flat(case, entry))
            rows.append(row)
            columns.update(dict.fromkeys(row))
    return write_table(path, list(columns), [list(map(row.get, columns)) for row in rows])


def _flat(case: str, entry: Measurement) -> Iterator[tuple[str, Any]]:
    yield "case", case
    for name, value in asdict(entry).items():
        if name not in _WAYS:
            yield name, value
            continue
        for key, number in (value or {}).items():
            yield from _numbers(f"{name}_{key}", number)


def _numbers(name: str, number: Any) -> Iterator[tuple[str, str]]:
    """Yield a number, or the numbers of one or two points, each as a column: ``centre_mm_r``, ``bounds_mm_low_r``."""
    if not isinstance(number, tuple):
        yield name, f"{number:.6g}"
    elif isinstance(number[0], tuple):
        for end, point in zip(("low", "high"), number, strict=True):
            yield from _numbers(f"{name}_{end}", point)
    else:
        for axis, value in zip("ras", number, strict=True):
            yield f"{name}_{axis}", f"{value:.6g}"


def write_json(found: Found, path: Path) -> Path:
    """Write everything, in full precision; world coordinates are RAS+.

    Parameters
    ----------
    found : mapping of str to sequence of Measurement
        The measurements by case.
    path : Path
        Replaced if it exists.
    """
    cases = {}
    for case, entries in found.items():
        cases[case] = list(map(asdict, entries))
    write_text(path, json.dumps({"format": 1, "cases": cases}, indent=2, ensure_ascii=False) + "\n")
    return path
