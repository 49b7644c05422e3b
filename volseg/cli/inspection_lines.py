"""An inspection as lines for people: a block for each image, the names in full, the numbers under each other."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from volseg.files.plain_text import plain
from volseg.inspection import Entry, Inspection, Slices

_HEADINGS = ("voxels", "spacing mm", "axes", "type", "values", "files")
_INDENT = 4
_SHORTEST_ENDING = 6
_SHOWN_NOTES = 5
_SHOWN_NAMES = 12
_SHOWN_VOLUMES = 4
# The gaps and angles that no longer are rounding.
_WIDER = 1.01
_TILTED = 0.05
_COLOURS = {"refused:": "red", "repaired:": "yellow", "note:": "yellow"}


class Line(NamedTuple):
    """A plain text, folded to lines, and how a terminal shows it."""

    text: str
    colour: str | None = None
    bold: bool = False


def inspection_lines(found: Inspection, width: int) -> Iterator[Line]:
    """Yield the lines of an inspection, folded at spaces to `width` columns; numbers start at 1."""
    groups = [list(group) for _, group in groupby(found.entries, key=_likeness)]
    cells = [_cells(group) for group in groups]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *cells, strict=True)]
    ending = _ending_length([entry.series for entry in found.entries if entry.series and _is_dicom(entry)])
    names = Counter(entry.series_name for entry in found.entries)
    numbers = _numbers(groups)
    yield Line(_row(_HEADINGS, widths))
    for number, (group, row) in enumerate(zip(groups, cells, strict=True), start=1):
        first = group[0]
        title = f"{_what(first)}  {_title(group, ending)}"
        yield Line(_folded(title, width, first=f"{number:>{_INDENT - 2}}  "), bold=True)
        if first.shape is not None:
            yield Line(_row(row, widths))
        for text in _details(first, numbers):
            yield Line(_folded(_relative(text, found.path, first.name), width), _colour(text))
        if first.volume and first.series:
            series = _range([_series(entry, names, ending) for entry in group])
            yield Line(_folded(f"for --series: {series}", width))
    yield Line(_summary(found))
    if blocking := [entry.name for entry in found.entries if entry.blocks]:
        text = f"damaged files keep series from being read until they are moved away: {', '.join(blocking)}"
        yield Line(_folded(text, width, first=""), "red")


def _numbers(groups: Sequence[Sequence[Entry]]) -> dict[str, int]:
    """Return the number of the block of each series, by its UID and by what `--series` takes."""
    numbers: dict[str, int] = {}
    for number, group in enumerate(groups, start=1):
        for entry in group:
            if entry.series:
                numbers[_uid(entry)] = number
                numbers[entry.series] = number
    return numbers


def _colour(text: str) -> str | None:
    return next((colour for start, colour in _COLOURS.items() if text.startswith(start)), None)


def _summary(found: Inspection) -> str:
    counts = {
        "refused": sum(entry.problem is not None and not _is_aside(entry) for entry in found.entries),
        "repaired when read": sum(entry.repair is not None for entry in found.entries),
        "with notes": sum(bool(entry.notes) for entry in found.entries),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    return ": ".join(filter(None, [f"{len(found.entries)} found", ", ".join(parts)]))


def _likeness(entry: Entry) -> tuple[object, ...]:
    """Volumes that agree in this, as time points do, are one block."""
    if not entry.volume or entry.problem:
        return (id(entry),)
    of = _uid(entry) if _is_dicom(entry) else entry.name
    return (entry.kind, of, entry.shape, entry.affine, entry.files, entry.repair, entry.notes)


def _uid(entry: Entry) -> str:
    return (entry.series or "").partition("#")[0]


def _is_dicom(entry: Entry) -> bool:
    return entry.kind.startswith("DICOM")


def _is_aside(entry: Entry) -> bool:
    """Whether it is a DICOM object that nobody takes for a scan, or what is left of an archive."""
    return entry.kind == "archive" or (_is_dicom(entry) and entry.kind not in ("DICOM series", "DICOM file"))


def _what(entry: Entry) -> str:
    if entry.kind == "DICOM series":
        return f"DICOM {entry.modality or ''}".rstrip()
    return f"{entry.kind} {entry.modality}" if entry.modality and not _is_dicom(entry) else entry.kind


def _title(group: Sequence[Entry], ending: int) -> str:
    first = group[0]
    if len(group) > 1:
        return plain(f"{first.name} - {len(group)} volumes")
    series = "" if first.volume or not first.series else f"({first.series[-ending:]})"
    return plain(" ".join(filter(None, [first.name, first.volume, series])))


def _series(entry: Entry, names: Mapping[str | None, int], ending: int) -> str:
    """Return a text that `--series` takes for a volume: its name, where it is the only one of that name."""
    if not _is_dicom(entry):
        return str(entry.series)
    return entry.series_name if entry.series_name and names[entry.series_name] == 1 else str(entry.series)[-ending:]


def _range(texts: Sequence[str]) -> str:
    return "; ".join(texts) if len(texts) <= _SHOWN_VOLUMES else f"{texts[0]} to {texts[-1]}"


def _cells(group: Sequence[Entry]) -> list[str]:
    first = group[0]
    ranges = [entry.value_range for entry in group if entry.value_range]
    values = (
        f"{_number(min(low for low, _ in ranges))} to {_number(max(high for _, high in ranges))}" if ranges else "-"
    )
    return [
        "x".join(map(str, first.shape)) if first.shape else "-",
        "x".join(f"{spacing:.3g}" for spacing in first.spacing_mm) if first.spacing_mm else "-",
        first.orientation or "-",
        "/".join(dict.fromkeys(entry.dtype for entry in group if entry.dtype)) or "-",
        plain(f"{values} {first.unit}") if first.unit and ranges else values,
        f"{first.files} a volume" if len(group) > 1 and _is_dicom(first) else str(first.files),
    ]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * _INDENT + "  ".join(map(str.ljust, cells, widths))).rstrip()


def _details(entry: Entry, numbers: Mapping[str, int]) -> Iterator[str]:
    facts = [_slices(entry.slices) if entry.slices else "", entry.compression or "", *_odd_axes(entry), _padding(entry)]
    if line := "; ".join(filter(None, facts)):
        yield line
    if entry.contents:
        more = len(entry.contents) - _SHOWN_NAMES
        names = ", ".join(entry.contents[:_SHOWN_NAMES])
        yield f"holds: {names}{f' and {more} more (--json lists all)' if more > 0 else ''}"
    if entry.refers_to:
        scans = [f"number {numbers[uid]}" if uid in numbers else f"{uid}, which is not here" for uid in entry.refers_to]
        yield f"made on: {', '.join(scans)}"
    if entry.repair:
        yield f"repaired: {entry.repair}"
    if entry.problem:
        yield f"{'left out' if _is_aside(entry) else 'refused'}: {entry.problem}"
    yield from (f"note: {text}" for text in entry.notes[:_SHOWN_NOTES])
    if (more := len(entry.notes) - _SHOWN_NOTES) > 0:
        yield f"note: ... and {more} more (--json lists all)"


def _slices(slices: Slices) -> str:
    if not slices.usual_gap_mm:
        return ""
    parts = [f"order from {slices.order}", f"slices {slices.usual_gap_mm:.4g} mm apart"]
    if slices.widest_gap_mm > _WIDER * slices.usual_gap_mm:
        parts.append(f"widest gap {slices.widest_gap_mm:.4g} mm")
    if slices.tilt_degrees > _TILTED:
        parts.append(f"tilted by {slices.tilt_degrees:.3g} degrees")
    return ", ".join(parts)


def _odd_axes(entry: Entry) -> list[str]:
    return ["left-handed axes" if entry.right_handed is False else "", "sheared axes" if entry.sheared else ""]


def _padding(entry: Entry) -> str:
    if entry.padding_value is None:
        return ""
    share = "" if entry.padding_fraction is None else f" ({100 * entry.padding_fraction:.3g} % of the voxels)"
    return f"padding {entry.padding_value:g}{share}"


def _relative(text: str, path: Path, name: str) -> str:
    """Leave out what the reader knows: the path that was given, and the file that stands above."""
    return text.replace(f"{path}{os.sep}", "").replace(f"{path}: ", "").replace(f": {name}: ", ": ", 1)


def _folded(text: str, width: int, first: str = " " * _INDENT) -> str:
    """Fold at spaces alone: a path or UID is in one piece, also where it is longer than the line."""
    return textwrap.fill(
        plain(text),
        width,
        initial_indent=first,
        subsequent_indent=" " * (_INDENT + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _ending_length(names: list[str]) -> int:
    """Smallest number of last characters that tells all series apart."""
    longest = max(map(len, names), default=0)
    lengths = range(_SHORTEST_ENDING, longest)
    return next((n for n in lengths if len({name[-n:] for name in names}) == len(names)), longest)
