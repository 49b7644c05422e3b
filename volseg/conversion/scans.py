"""Every scan of a folder, archive or 4D file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from volseg.conversion.modality import check_modality, of_modality
from volseg.core.volume import Volume
from volseg.errors import UsageError, VolsegError
from volseg.files.atomic import check_free
from volseg.files.names import (
    IMAGE_SUFFIXES,
    SCAN_SUFFIXES,
    SEG_NRRD_SUFFIXES,
    case_name,
    free_name,
    has_suffix,
    portable_name,
)
from volseg.io import look, read, write
from volseg.io.labels import has_label_table

_LOG = logging.getLogger(__name__)

# The formats of `convert_all`: suffix of the files; empty for a folder.
FORMATS = {suffix.removeprefix("."): suffix for suffix in SCAN_SUFFIXES} | {"dicom": ""}


@dataclass(frozen=True)
class ConvertedVolume:
    """Result for one of several volumes of a series or file: its files, or the reason why it failed."""

    name: str
    origin: str
    files: tuple[Path, ...] = ()
    error: VolsegError | None = None


def convert_all(
    source: str | Path,
    folder: str | Path,
    *,
    form: str = "nii.gz",
    modality: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Iterator[ConvertedVolume]:
    """Write every scan of a folder, archive or file as a file of its own: DICOM volumes, then other images.

    Parameters
    ----------
    source : path
        DICOM as `volseg.read_all` takes it, an image file, or a folder with any of them; label maps
        with a table of names beside them are left out, with a warning. Volumes are read one after the other.
    folder : path
        Where the files go. `volseg.read_all` gives each file its name.
    form : {"nii", "nii.gz", "nrrd", "mha", "mgz", "dicom"}
        Format of the files; ``dicom`` writes a folder for each volume.
    modality, strict, overwrite
        As of `convert`.

    Yields
    ------
    ConvertedVolume
        A failure of one does not stop the others.

    Raises
    ------
    UsageError
        Unknown form, or the name of the folder is that of a file.
    InputError
        The source holds nothing to read.
    """
    source, folder = Path(source), Path(folder)
    if form not in FORMATS:
        raise UsageError(f"format is {form!r}; expected one of {', '.join(FORMATS)}")
    if has_suffix(folder, (*IMAGE_SUFFIXES, ".dcm")) and not folder.is_dir():
        raise UsageError(f"{folder}: is the name of a file; all volumes (--all) go into a folder, give one")
    modality = check_modality(modality, to_dicom=form == "dicom")
    taken: set[str] = set()
    for found in _found(source, folder):
        # Named as `read_all` names volumes; unique even if upper and lower case are the same.
        stem = free_name(portable_name(found.name), lambda name: name.casefold() in taken, number=found.number)
        taken.add(stem.casefold())
        target = folder / f"{stem}{FORMATS[form]}"
        try:
            check_free([target], overwrite=overwrite)
            volume = of_modality(found.read(strict=strict), found.path, modality)
            yield ConvertedVolume(found.name, found.origin, tuple(write(volume, target)))
        except VolsegError as error:
            yield ConvertedVolume(found.name, found.origin, error=error)


class _Found(NamedTuple):
    """A volume before it is written."""

    name: str
    number: str
    path: Path
    origin: str
    read: Callable[..., Volume]


def _found(source: Path, folder: Path) -> Iterator[_Found]:
    found = look(source)
    files = _without_outputs(found.image_files, source, folder)
    if found.is_dicom:
        for scan in found.scans():
            yield _Found(scan.name, scan.number, source, scan.origin, scan.read)
    elif not files:
        raise found.nothing()
    for file in files:
        if has_suffix(file, SEG_NRRD_SUFFIXES) or has_label_table(file):
            _LOG.warning("%s: is a label map, not a scan; left out, convert it on its own", file)
        else:
            yield from _found_image(file)


def _without_outputs(files: list[Path], source: Path, folder: Path) -> list[Path]:
    """Leave out the output of an earlier call in a folder inside the source."""
    if not source.is_dir() or folder.resolve() == source.resolve():
        return files
    return [file for file in files if folder.resolve() not in file.resolve().parents]


def _found_image(file: Path) -> Iterator[_Found]:
    try:
        image = look(file)
        volumes = image.read_all()  # all at once, so that the file is decompressed only once
    except VolsegError:
        yield _Found(case_name(file), "", file, str(file), partial(read, file))  # it fails in the same way
        return
    for scan in image.scans():
        yield _Found(scan.name, "", file, scan.origin, partial(_renamed, volumes[scan.name], scan.name))


def _renamed(volume: Volume, name: str, *, strict: bool) -> Volume:
    return replace(volume, name=name)
