"""What `volseg measure` prints and writes."""

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
_HEADINGS = ("pieces", "volume\nml", "area\nmm2", "longest\nmm", "axial\nmm", "centre R A S\nmm")
_WAYS = ("by_voxels", "by_surface")


def print_measurements(found: Found) -> None:
    """Print a table for each case; where two numbers share a cell, the first is of the voxels."""
    for case, entries in found.items():
        print_table((plain(case), *_HEADINGS), map(_cells, entries), width=_WIDTH_IN_FILES)
    say("Of the voxels / of the smoothed surface. Longest in space, and within one axial slice.")


def _cells(entry: Measurement) -> list[str]:
    whole = entry.piece is None
    return [entry.name if whole else f"  piece {entry.piece}", str(entry.pieces) if whole else "", *_sizes(entry)]


def _sizes(entry: Measurement) -> list[str]:
    voxels, surface = entry.by_voxels, entry.by_surface
    if voxels is None:
        return ["absent", "", "", "", ""]
    pairs = [
        " / ".join(format(getattr(extent, name), form) for extent in (voxels, surface) if extent)
        for name, form in (
            ("volume_ml", ".4g"),
            ("area_mm2", ".0f"),
            ("longest_mm", ".1f"),
            ("longest_axial_mm", ".1f"),
        )
    ]
    return [*pairs, " ".join(f"{x:.1f}" for x in voxels.centre_mm)]


def write_csv(found: Found, path: Path) -> Path:
    """Write a row for each case, label and piece; what is not there is an empty cell."""
    rows = [dict(_flat(case, entry)) for case, entries in found.items() for entry in entries]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return write_table(path, columns, [[row.get(name) for name in columns] for row in rows])


def _flat(case: str, entry: Measurement) -> Iterator[tuple[str, Any]]:
    yield "case", case
    for name, value in asdict(entry).items():
        if name not in _WAYS:
            yield name, value
            continue
        for key, number in (value or {}).items():
            yield from _numbers(f"{name}_{key}", number)


def _numbers(name: str, number: Any) -> Iterator[tuple[str, str]]:
    """Give a number, or those of a point or of two as columns of their own: ``centre_mm_r``, ``bounds_mm_low_r``."""
    if not isinstance(number, tuple):
        yield name, f"{number:.6g}"
    elif isinstance(number[0], tuple):
        for end, point in zip(("low", "high"), number, strict=True):
            yield from _numbers(f"{name}_{end}", point)
    else:
        yield from ((f"{name}_{axis}", f"{value:.6g}") for axis, value in zip("ras", number, strict=True))


def write_json(found: Found, path: Path) -> Path:
    """Write everything, in full precision; world coordinates are RAS+."""
    content = {"format": 1, "cases": {case: [asdict(entry) for entry in entries] for case, entries in found.items()}}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path
