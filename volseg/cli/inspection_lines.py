"""An inspection as lines of text: a block for each image, names in full, numbers in columns."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
# Larger ratios of gaps, and larger angles in degrees, are more than rounding.
_WIDER = 1.01
_TILTED = 0.05
# Styles of lines that begin with one of these words and a colon.
_COLOURS = {"refused": "red", "repaired": "yellow", "note": "yellow"}


class Line(NamedTuple):
    """A plain text, folded to lines, and its style on a terminal."""

    text: str
    colour: str | None = None
    bold: bool = False


def inspection_lines(found: Inspection, width: int) -> Iterator[Line]:
    """Describe an inspection: a heading, a block of lines for each image, and a summary.

    Parameters
    ----------
    found : Inspection
    width : int
        Number of columns; lines are folded at spaces.

    Yields
    ------
    Line
        Blocks are numbered from 1.
    """
    groups = [list(group) for _, group in groupby(found.entries, key=_likeness)]
    rows = list(map(_cells, groups))
    page = _Page(
        path=found.path,
        width=width,
        columns=[max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)],
        ending=_ending_length(found.entries),
        names=Counter(entry.series_name for entry in found.entries),
        numbers=_numbers(groups),
    )
    yield Line(_row(_HEADINGS, page.columns))
    for number, (group, row) in enumerate(zip(groups, rows, strict=True), start=1):
        yield from page.block(number, group, row)
    yield Line(_summary(found))
    blocking = [entry.name for entry in found.entries if entry.blocks]
    if blocking:
        text = f"damaged files block the reading of series; move them away: {', '.join(blocking)}"
        yield Line(_folded(text, width, first=""), "red")


@dataclass(frozen=True)
class _Page:
    """Data that the blocks of an inspection share.

    Parameters
    ----------
    path : Path
        The inspected file or folder.
    width : int
        Columns of the whole page.
    columns : list of int
        Widths of the columns of the table.
    ending : int
        Number of last characters that distinguish the ids of all series.
    names : mapping of str to int
        Number of entries with each series name.
    numbers : mapping of str to int
        The number of the block of each series, by its UID and by its text for `--series`.
    """

    path: Path
    width: int
    columns: list[int]
    ending: int
    names: Mapping[str | None, int]
    numbers: Mapping[str, int]

    def block(self, number: int, group: Sequence[Entry], row: Sequence[str]) -> Iterator[Line]:
        """Describe volumes that are alike: a title, a row of the table, and remarks."""
        first = group[0]
        title = f"{_what(first)}  {_title(group, self.ending)}"
        yield Line(_folded(title, self.width, first=f"{number:>{_INDENT - 2}}  "), bold=True)
        if first.shape is not None:
            yield Line(_row(row, self.columns))
        for text in _details(first, self.numbers):
            yield Line(_folded(_relative(text, self.path, first.name), self.width), _colour(text))
        if first.volume and first.series:
            series = _range([_series(entry, self.names, self.ending) for entry in group])
            yield Line(_folded(f"for --series: {series}", self.width))


def _numbers(groups: Sequence[Sequence[Entry]]) -> dict[str, int]:
    """Return the number of the block of each series, by its UID and by its text for `--series`."""
    numbers: dict[str, int] = {}
    for number, group in enumerate(groups, start=1):
        for entry in group:
            if entry.series:
                numbers[_uid(entry)] = number
                numbers[entry.series] = number
    return numbers


def _colour(text: str) -> str | None:
    return _COLOURS.get(text.partition(":")[0])


def _summary(found: Inspection) -> str:
    counts = Counter[str]()
    for entry in found.entries:
        counts["refused"] += entry.problem is not None and not _is_aside(entry)
        counts["repaired when read"] += entry.repair is not None
        counts["with notes"] += bool(entry.notes)
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    total = f"{len(found.entries)} found"
    return f"{total}: {', '.join(parts)}" if parts else total


def _likeness(entry: Entry) -> tuple[object, ...]:
    """Return a key for an entry; volumes with equal keys, such as time points, are one block."""
    if not entry.volume or entry.problem:
        return (id(entry),)
    of = _uid(entry) if _is_dicom(entry) else entry.name
    return (entry.kind, of, entry.shape, entry.affine, entry.files, entry.repair, entry.notes)


def _uid(entry: Entry) -> str:
    return (entry.series or "").partition("#")[0]


def _is_dicom(entry: Entry) -> bool:
    return entry.kind.startswith("DICOM")


def _is_aside(entry: Entry) -> bool:
    """Whether it is a DICOM object other than a scan, or skipped members of an archive."""
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
    """Return a text for `--series` that selects a volume: its name if it is unique, else the end of its id."""
    if not _is_dicom(entry):
        return str(entry.series)
    return entry.series_name if entry.series_name and names[entry.series_name] == 1 else str(entry.series)[-ending:]


def _range(texts: Sequence[str]) -> str:
    return "; ".join(texts) if len(texts) <= _SHOWN_VOLUMES else f"{texts[0]} to {texts[-1]}"


def _cells(group: Sequence[Entry]) -> list[str]:
    """Return the row of a table for volumes that are alike."""
    first = group[0]
    types = dict.fromkeys(filter(None, [entry.dtype for entry in group]))
    return [
        "x".join(map(str, first.shape or ())) or "-",
        "x".join(map("{:.3g}".format, first.spacing_mm or ())) or "-",
        first.orientation or "-",
        "/".join(types) or "-",
        _values(group),
        _files(group),
    ]


def _values(group: Sequence[Entry]) -> str:
    """Return the range of the values of all volumes, with their unit."""
    ranges = [entry.value_range for entry in group if entry.value_range]
    if not ranges:
        return "-"
    lows, highs = zip(*ranges, strict=True)
    text = f"{_number(min(lows))} to {_number(max(highs))}"
    unit = group[0].unit
    return plain(f"{text} {unit}") if unit else text


def _files(group: Sequence[Entry]) -> str:
    count = group[0].files
    return f"{count} a volume" if len(group) > 1 and _is_dicom(group[0]) else str(count)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * _INDENT + "  ".join(map(str.ljust, cells, widths))).rstrip()


def _details(entry: Entry, numbers: Mapping[str, int]) -> Iterator[str]:
    """Yield remarks on an image, one text for each line."""
    facts = list(filter(None, _facts(entry)))
    if facts:
        yield "; ".join(facts)
    if entry.contents:
        yield f"holds: {_names(entry.contents)}"
    if entry.refers_to:
        yield f"made on: {', '.join(_scan_of(uid, numbers) for uid in entry.refers_to)}"
    if entry.repair:
        yield f"repaired: {entry.repair}"
    if entry.problem:
        yield f"{'left out' if _is_aside(entry) else 'refused'}: {entry.problem}"
    for text in entry.notes[:_SHOWN_NOTES]:
        yield f"note: {text}"
    more = len(entry.notes) - _SHOWN_NOTES
    if more > 0:
        yield f"note: ... and {more} more (--json lists all)"


def _names(contents: Sequence[str]) -> str:
    names = ", ".join(contents[:_SHOWN_NAMES])
    more = len(contents) - _SHOWN_NAMES
    return f"{names} and {more} more (--json lists all)" if more > 0 else names


def _scan_of(uid: str, numbers: Mapping[str, int]) -> str:
    return f"number {numbers[uid]}" if uid in numbers else f"{uid} (not here)"


def _facts(entry: Entry) -> list[str]:
    """Return facts about slices, compression, axes and padding; empty texts are left out."""
    return [
        _slices(entry.slices) if entry.slices else "",
        entry.compression or "",
        "left-handed axes" if entry.right_handed is False else "",
        "sheared axes" if entry.sheared else "",
        _padding(entry),
    ]


def _slices(slices: Slices) -> str:
    if not slices.usual_gap_mm:
        return ""
    parts = [f"order from {slices.order}", f"slices {slices.usual_gap_mm:.4g} mm apart"]
    if slices.widest_gap_mm > _WIDER * slices.usual_gap_mm:
        parts.append(f"widest gap {slices.widest_gap_mm:.4g} mm")
    if slices.tilt_degrees > _TILTED:
        parts.append(f"tilted by {slices.tilt_degrees:.3g} degrees")
    return ", ".join(parts)


def _padding(entry: Entry) -> str:
    if entry.padding_value is None:
        return ""
    share = "" if entry.padding_fraction is None else f" ({100 * entry.padding_fraction:.3g} % of the voxels)"
    return f"padding {entry.padding_value:g}{share}"


def _relative(text: str, path: Path, name: str) -> str:
    """Remove the path of the user, and the name of the file in the title of the block."""
    return text.replace(f"{path}{os.sep}", "").replace(f"{path}: ", "").replace(f": {name}: ", ": ", 1)


def _folded(text: str, width: int, first: str = " " * _INDENT) -> str:
    """Fold at spaces only: a path or UID stays in one piece, even if it is longer than the line."""
    return textwrap.fill(
        plain(text),
        width,
        initial_indent=first,
        subsequent_indent=" " * (_INDENT + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _ending_length(entries: Sequence[Entry]) -> int:
    """Return the smallest number of last characters that distinguishes the ids of all DICOM series."""
    names = [entry.series for entry in entries if entry.series and _is_dicom(entry)]
    longest = max(map(len, names), default=0)
    for length in range(_SHORTEST_ENDING, longest):
        endings = {name[-length:] for name in names}
        if len(endings) == len(names):
            return length
    return longest
