"""Everything that a report shows of one case, gathered from its folder and its scan."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np

from volseg.cases.case_doubt import nothing_known, read_doubt, read_doubt_voxels
from volseg.cases.outputs import LABELS, PAGE
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, VolsegError
from volseg.files.names import CASE_SUFFIXES, case_name, has_suffix
from volseg.io import read_labels
from volseg.io.case_record import CaseRecord
from volseg.io.scan_files import ScanFiles, find_scan_files, find_scan_of
from volseg.prediction.doubt import Doubt, LabelDoubt
from volseg.reporting.fit import edge_contrast, tissues
from volseg.reporting.flags import (
    Flag,
    by_severity,
    flag_doubt,
    flag_fit,
    flag_intensities,
    flag_record,
    flag_sizes,
)
from volseg.reporting.pictures import Chosen, Picture, Pictures, css
from volseg.reporting.sizes import LabelSize, size_labels
from volseg.view.doubt_map import DoubtMap
from volseg.view.greyscale import is_in_hu
from volseg.view.sheet_slices import Display

_LOG = logging.getLogger(__name__)
_KEY_DIGITS = 12


@dataclass(frozen=True)
class Measured:
    """A row of the table of measurements."""

    size: LabelSize
    colour: str
    doubt: LabelDoubt


@dataclass(frozen=True)
class CaseView:
    """What a report shows of one case.

    Parameters
    ----------
    case : str
        Name of its folder.
    rated_labels : str
        Start of the SHA-256 of its label map, by which ratings know it.
    doubt : Doubt
    flags : tuple of Flag
    measured : tuple of Measured
        The labels, in order of value.
    checked, every : Chosen
        The slices to check first, and all slices.
    thumbnail : Picture
    facts : tuple of (str, str)
        How it was made.
    scene : str
        Address of its page of slices and surfaces, seen from the page of the case; empty if there is none.
    without_scan : str
        Why there is no scan in the pictures; empty if there is.
    doubt_texts : (str, str), optional
        What the ends of the colours of doubt mean; None if it is not known how unsure each voxel is.
    """

    case: str
    rated_labels: str
    doubt: Doubt
    flags: tuple[Flag, ...]
    measured: tuple[Measured, ...]
    checked: Chosen
    every: Chosen
    thumbnail: Picture
    facts: tuple[tuple[str, str], ...]
    scene: str
    without_scan: str
    doubt_texts: tuple[str, str] | None = None


def find_scan(folder: Path, record: CaseRecord, images: Path | Sequence[Path] | None) -> ScanFiles:
    """Find the scan of a case.

    Parameters
    ----------
    folder : Path
        Of the case.
    record : CaseRecord
    images : Path or sequence of Path, optional
        A folder with the scan under the name of the case, or the paths of its channels; by default it is looked for
        where ``run.json`` says.

    Raises
    ------
    InputError
        It is not there, or has changed.
    """
    if images is None:
        return find_scan_of(folder)
    paths = _named(images, folder.name, record) if isinstance(images, Path) else list(images)
    scan = find_scan_files(paths, record.series)
    if not scan.is_unchanged_since(record):
        raise InputError(f"{paths[0]}: is not the scan that the labels were predicted from, or has changed since")
    return scan


def _named(images: Path, case: str, record: CaseRecord) -> list[Path]:
    """Return the paths in a folder that `run.json` names, or the one with the name of the case."""
    named = [images / Path(name).name for name in record.input]
    if named and all(path.exists() for path in named):
        return named
    for path in sorted(images.iterdir()) if images.is_dir() else ():
        if path.name == case or (has_suffix(path, CASE_SUFFIXES) and case_name(path) == case):
            return [path]
    raise InputError(f"{images}: has no scan named {case}")


def labels_digest(record: CaseRecord) -> str:
    """Return the start of the SHA-256 of the predicted label map.

    Parameters
    ----------
    record : CaseRecord
    """
    written = record.written.get(LABELS)
    return written.sha256[:_KEY_DIGITS] if written else ""


def view_case(folder: Path, record: CaseRecord, images: Path | Sequence[Path] | None = None) -> CaseView:
    """Gather what a report shows of a case.

    Parameters
    ----------
    folder : Path
        Of the case.
    record : CaseRecord
        Its ``run.json``.
    images : Path or sequence of Path, optional
        As for `find_scan`.

    Raises
    ------
    VolsegError
        The label map cannot be read.
    """
    labels, content = read_labels(folder / LABELS), record.model_dump()
    flags: list[Flag] = []
    volume, without = _scan(folder, record, images)
    try:
        display = Display.of(volume, [labels])
    except GeometryError as error:
        flags.append(Flag("fit", f"The labels do not fit the scan: {error}.", serious=True))
        display, volume = Display.of(None, [labels]), None
        without = "the labels do not lie on its voxels"
    doubt = read_doubt(content.get("doubt"))
    whole = record.whole_files(folder)
    changed = LABELS in record.written and LABELS not in whole
    if changed:
        flags.append(Flag("changed", "The labels were changed after they were predicted."))
        doubt = nothing_known("the labels were changed after they were predicted")
    sizes = size_labels(labels)
    flags += [*flag_doubt(doubt), *flag_sizes(sizes, doubt), *flag_record(content, labels.grid)]
    if volume is not None:
        flags += _flag_scan(volume, display, labels, content)
    unsure = None if changed else _doubt_map(folder, whole, display)
    drawn = Pictures(display, labels, unsure)
    measured = []
    for size in sizes:
        of_label = doubt.labels.get(size.label.name, LabelDoubt(None, None))
        measured.append(Measured(size, css(size.label.colour), of_label))
    has_labels = any(size.pieces for size in sizes)
    return CaseView(
        case=folder.name,
        rated_labels=labels_digest(record),
        doubt=doubt,
        flags=by_severity(flags),
        measured=tuple(measured),
        checked=drawn.checked(doubt.slices if has_labels else ()),
        every=drawn.every(),
        thumbnail=drawn.thumbnail(),
        facts=tuple(_facts(folder, content, labels)),
        scene=f"../../{quote_from_bytes(_bytes(folder.name))}/{PAGE}" if (folder / PAGE).is_file() else "",
        without_scan=without,
        doubt_texts=None if unsure is None else unsure.texts,
    )


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _scan(folder: Path, record: CaseRecord, images: Path | Sequence[Path] | None) -> tuple[Volume | None, str]:
    """Return the first channel of the scan, or None and why."""
    try:
        scan = find_scan(folder, record, images)
        return scan.read(strict=bool(record.made_by.get("strict")))[0], ""
    except VolsegError as error:
        _LOG.info("%s: reported without its scan (%s)", folder.name, error)
        return None, "its scan is not where it was, or has changed; give the folder of the scans (--images FOLDER)"


def _doubt_map(folder: Path, whole: Set[str], display: Display) -> DoubtMap | None:
    """Return how unsure each voxel of a case is; None if that is not known, or lies on voxels of another scan."""
    voxels = read_doubt_voxels(folder, whole)
    try:
        return None if voxels is None else DoubtMap.on(display.grid, voxels)
    except GeometryError as error:
        _LOG.warning("%s: shown without its doubt (%s)", folder.name, error)
        return None


def _flag_scan(volume: Volume, display: Display, labels: LabelMap, content: dict[str, Any]) -> list[Flag]:
    """Return the flags that need the scan."""
    array, (values,) = display.array, display.values
    if array is None:
        return []
    placed = LabelMap(values, display.grid, labels.labels)
    densities = tissues(array, placed) if is_in_hu(volume) else ()
    contrast = edge_contrast(array, values, display.grid.spacing)
    return [*flag_fit(contrast, densities), *flag_intensities(content, array, np.asarray(values > 0))]


def _facts(folder: Path, content: dict[str, Any], labels: LabelMap) -> Iterator[tuple[str, str]]:
    """Say how a case was made. The path of the scan is left out: it may name the patient."""
    made_by, versions = content.get("made_by") or {}, content.get("versions") or {}
    written = (content.get("written") or {}).get(LABELS)
    digests = [str(entry) for entry in made_by.get("model") or ()][:2]
    model = PurePath(str(content.get("model") or "")).name
    yield "model", " ".join(filter(None, [model, f"({digests[1][:12]})" if len(digests) > 1 else ""]))
    yield "made by", ", ".join(f"{name} {version}" for name, version in versions.items())
    if written:
        yield "date", time.strftime("%Y-%m-%d %H:%M", time.localtime(written["modified_ns"] / 1e9))
    modalities = [str(channel["modality"]) for channel in content.get("channels") or () if channel.get("modality")]
    spacing = " × ".join(f"{mm:.3g}" for mm in labels.grid.spacing)
    size = " × ".join(map(str, labels.grid.shape))
    yield "scan", ", ".join([*modalities, f"{size} voxels of {spacing} mm, stored {labels.grid.orientation}"])
    if content.get("series"):
        yield "series", str(content["series"])
    only = made_by.get("only")
    yield "labels", ", ".join(only) if only else "all of the model"
    yield "clean-up", _cleanup(content.get("cleanup") or {})
    seconds = content.get("seconds") or {}
    yield "seconds", ", ".join(f"{stage} {taken:.3g}" for stage, taken in seconds.items())
    for stage, texts in (content.get("warnings") or {}).items():
        for text in texts:
            yield f"warning ({stage})", text
    yield (
        "files",
        ", ".join(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())),
    )


def _cleanup(steps: dict[str, Any]) -> str:
    """Say what was done to each label."""
    told = []
    for name, step in steps.items():
        done = ["largest piece alone"] if step.get("largest_component") else []
        done += [f"pieces from {step['minimum_mm3']:g} mm³ on"] if step.get("minimum_mm3") else []
        done += ["holes filled"] if step.get("fill_holes") else []
        if done:
            told.append(f"{name}: {', '.join(done)} ({step.get('decided_by', 'settings')})")
    return "; ".join(told) or "none"
