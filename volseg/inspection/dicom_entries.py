"""DICOM series and objects as entries of an inspection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from volseg.core.volume import Volume
from volseg.errors import InputError, VolsegError
from volseg.files.names import IMAGE_NAMES, IMAGE_SUFFIXES, has_suffix
from volseg.files.plain_text import first_few
from volseg.inspection.entries import Entry, Slices, grid_facts
from volseg.inspection.reader_notes import collected_notes
from volseg.io.dicom import (
    Arrangement,
    DamagedFile,
    DicomFile,
    FrameHeader,
    LabelObject,
    Listing,
    OtherObject,
    Series,
    Stack,
    arrange,
    make_stack,
    open_dataset,
    read_stack,
    series_of,
    value_type,
)

# How many further files with the same problem a message names.
_ALSO_NAMED = 4
# A UID that cannot be chosen here is shown by this many of its last characters.
_ENDING = 12
# Transfer syntaxes (PS3.6, table A-1) by their usual names; others are shown as UIDs.
_COMPRESSIONS = {
    "1.2.840.10008.1.2": "uncompressed",
    "1.2.840.10008.1.2.1": "uncompressed",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "uncompressed, big endian",
    "1.2.840.10008.1.2.4.50": "JPEG, lossy",
    "1.2.840.10008.1.2.4.51": "JPEG 12 bit, lossy",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS, near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.110": "JPEG XL lossless",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K lossless",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
    "1.2.840.10008.1.2.5": "RLE lossless",
}


def series_entry(series: Series, path: Path, *, headers: bool) -> Entry:
    """Describe a volume: read it, or say from its headers how it will be read."""
    facts = _of_headers(series)
    with collected_notes() as texts:
        try:
            plan = arrange(series)
            volume = None if headers else read_stack(series, path)
            facts |= _of_plan(plan) | _of_values(plan, volume)
            texts += _unread_notes(series, plan) if headers else []
        except VolsegError as error:
            facts |= {"problem": str(error), "shape": series.size}
    repair = str(facts.get("repair"))
    # The repair has a field of its own.
    return Entry("DICOM series", notes=tuple(text for text in texts if repair not in text), **facts)


def other_entries(listing: Listing) -> Iterator[Entry]:
    """Describe everything else: segmentations, other objects, damaged files, files that are not DICOM.

    Parameters
    ----------
    listing : Listing
        The DICOM files at a path.
    """
    for labels in listing.labels:
        yield _label_entry(labels, listing)
    by_kind: dict[str, list[OtherObject]] = defaultdict(list)
    for other in listing.others:
        if not isinstance(other, LabelObject):
            by_kind[other.kind].append(other)
    for kind, alike in sorted(by_kind.items()):
        first = alike[0]
        yield Entry(
            f"DICOM {kind}",
            _name(first.file, listing),
            modality=first.modality or None,
            files=len(alike),
            problem=f"{first.file}: {kind} is not an image; not read here",
        )
    yield from _damaged_entries(listing)
    misnamed = [file for file in listing.misnamed if not file.member]
    if misnamed:
        problem = f"{misnamed[0]}: has a DICOM file name but is not DICOM; skipped{_also(misnamed, listing)}"
        yield Entry("DICOM file", _name(misnamed[0], listing), files=len(misnamed), problem=problem)


def _damaged_entries(listing: Listing) -> Iterator[Entry]:
    """Describe the damaged files: one entry for those of one series with the same damage."""
    by_damage: dict[tuple[str, str], list[DamagedFile]] = defaultdict(list)
    for entry in listing.damaged:
        by_damage[entry.reason, entry.series_uid].append(entry)
    for (reason, uid), alike in sorted(by_damage.items()):
        files = [entry.file for entry in alike]
        blocked = f"series [...{uid[-_ENDING:]}]" if uid else "the series of its folder"
        problem = f"{files[0]}: damaged DICOM file: {reason}; move it away to read {blocked}{_also(files, listing)}"
        blocks = any(_blocks(entry, listing) for entry in alike)
        yield Entry("DICOM file", _name(files[0], listing), files=len(files), blocks=blocks, problem=problem)


def _blocks(damaged: DamagedFile, listing: Listing) -> bool:
    return any(damaged.may_belong_to(series.frames) for series in listing.series)


def archive_entries(listing: Listing) -> Iterator[Entry]:
    """List the members of each zip archive that are not DICOM.

    Parameters
    ----------
    listing : Listing
        The DICOM files at a path.
    """
    names_in: dict[Path, list[str]] = defaultdict(list)
    damaged = {entry.file for entry in listing.damaged}
    for file, content in listing.contents.items():
        if file.member and content is None and file not in damaged:
            names_in[file.path].append(file.name)
    for path, names in sorted(names_in.items()):
        yield Entry("archive", path.name, files=len(names), problem=_not_read(path, names))


def _not_read(path: Path, names: list[str]) -> str:
    # Images first: they are the likeliest to be missed.
    images = [name for name in names if has_suffix(name, IMAGE_SUFFIXES)]
    others = [name for name in names if name not in images]
    shown = first_few([*images, *others])
    advice = f"; {IMAGE_NAMES} files are read only outside of archives; unpack it" if images else ""
    return f"{path}: skipped {len(names)} member(s) that are not DICOM: {shown}{advice}"


def _also(files: Sequence[DicomFile], listing: Listing) -> str:
    """Name the others of several files that have the same problem."""
    others = [_name(file, listing) for file in files[1:]]
    return f"; also {first_few(others, _ALSO_NAMED)}" if others else ""


def _label_entry(labels: LabelObject, listing: Listing) -> Entry:
    own = series_of(labels, listing.series)
    return Entry(
        f"DICOM {labels.kind}",
        _name(labels.file, listing),
        modality=labels.modality or None,
        frame_of_reference=labels.reference.frame_of_reference_uid or None,
        contents=labels.names,
        refers_to=(own[0].id,) if len(own) == 1 else labels.reference.series_uids,
        problem=f"{labels.file}: {labels.problem}" if labels.problem else None,
    )


def _name(file: DicomFile, listing: Listing) -> str:
    """Return the path relative to the inspected folder."""
    root, whole = str(listing.path), str(file)
    return whole.removeprefix(root).lstrip("/\\") or file.name


def _of_headers(series: Series) -> dict[str, Any]:
    first = series.frames[0]
    syntaxes = dict.fromkeys(frame.transfer_syntax for frame in series.frames)
    return {
        "name": series.description or first.file.name,
        "volume": series.label,
        "series": series.id,
        "series_name": series.name or None,
        "modality": series.modality or None,
        "files": len({frame.file for frame in series.frames}) + len(series.copies),
        "copies": len(series.copies),
        "unit": series.unit,
        "inverted": first.inverted,
        "compression": " and ".join(dict.fromkeys(_COMPRESSIONS.get(uid, uid) for uid in syntaxes)) or None,
        "frame_of_reference": first.frame_of_reference_uid or None,
        "slices": _slices(series),
    }


def _slices(series: Series) -> Slices | None:
    if len(series.frames) < 2 or any(frame.refusal for frame in series.frames):
        return None
    try:
        stack = make_stack(series.frames)
    except InputError:  # reading it will say what is wrong
        return None
    gaps = np.diff(stack.heights)
    return Slices(_order(series.frames[0]), stack.usual_gap_mm, float(gaps.max()), _tilt(stack))


def _order(first: FrameHeader) -> str:
    if first.layout.kind == "mosaic":
        return "tiles of a mosaic"
    if first.layout.kind == "single":
        return "positions along the normal"
    groups = "PerFrameFunctionalGroupsSequence"
    has_groups = groups in open_dataset(first.file, stop_before_pixels=True, specific_tags=["SOPClassUID", groups])
    return "functional groups" if has_groups else "first position and spacing of a multi-frame file"


def _tilt(stack: Stack) -> float:
    step = stack.planes[-1, :3, 3] - stack.planes[0, :3, 3]
    along = float(step @ stack.normal)
    return float(np.degrees(np.arctan2(np.linalg.norm(step - along * stack.normal), along)))


def _of_plan(plan: Arrangement) -> dict[str, Any]:
    repair = plan.repair
    return {
        **grid_facts(plan.grid),
        "repair": repair.describe() if repair else None,
        "displacement_mm": repair.displacement_mm if repair else None,
        "dtype": str(value_type(plan.stack.frames)),
    }


def _unread_notes(series: Series, plan: Arrangement) -> list[str]:
    """Return the warnings that the reader would give."""
    inverted = plan.stack.frames[0].inverted
    notes = [f"{copy}: a copy of another file of the series; left out" for copy in series.copies]
    told = filter(None, (*series.notes, plan.stack.rounding_note))
    notes += [f"{plan.stack.frames[0]}: {note}" for note in told]
    return notes + (["MONOCHROME1, dark pixels have high values; values are kept as stored"] if inverted else [])


def _of_values(plan: Arrangement, volume: Volume | None) -> dict[str, Any]:
    first = plan.stack.frames[0]
    padding = None if first.padding is None else first.padding * first.slope + first.intercept
    facts: dict[str, Any] = {"padding_value": padding}
    if volume is None:
        return facts
    array = volume.array
    facts |= {"dtype": str(array.dtype), "value_range": (array.min().item(), array.max().item())}
    if padding is not None:
        # float32, as the values are float32: in float64, 0.1 * 3 would be another number.
        wanted = np.float32(padding) if array.dtype.kind == "f" else padding
        facts["padding_fraction"] = float(np.count_nonzero(array == wanted) / array.size)
    return facts
