"""Scans: one, or every volume of a folder, archive or 4D file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from volseg.conversion.settings import ConversionSettings, check_free
from volseg.errors import UsageError, VolsegError
from volseg.io import read, read_all, write
from volseg.io.dicom_objects import is_dicom_input
from volseg.io.names import case_name, portable_name
from volseg.volume import Volume

# What `convert_all` writes: the suffix of each file; none for a folder.
FORMATS = {"nii.gz": ".nii.gz", "nii": ".nii", "nrrd": ".nrrd", "mha": ".mha", "dicom": ""}


@dataclass(frozen=True)
class ConvertedVolume:
    """How one of several volumes ended: its files, or the reason why there are none."""

    name: str
    files: tuple[Path, ...] = ()
    error: VolsegError | None = None


def convert_scan(source: Path, target: Path, settings: ConversionSettings) -> list[Path]:
    """Write a scan in another form."""
    return write(read(source, series=settings.series, strict=settings.strict), target)


def convert_all(
    source: str | Path, folder: str | Path, settings: ConversionSettings | None = None, *, form: str = "nii.gz"
) -> Iterator[ConvertedVolume]:
    """Write every volume of a DICOM folder or archive, or of a 4D NIfTI file, as a file of its own.

    Parameters
    ----------
    source : path
        As `volseg.read_all` takes it; DICOM volumes are read one after the other.
    folder : path
        Where the files go, each named after its series or volume.
    settings : ConversionSettings, optional
        `strict` and `overwrite` count.
    form : {"nii.gz", "nii", "nrrd", "mha", "dicom"}
        What to write; ``dicom`` is a folder each.

    Yields
    ------
    ConvertedVolume
        One that fails does not stop the others.

    Raises
    ------
    UsageError
        An unknown form.
    InputError
        There is nothing to read.
    """
    if form not in FORMATS:
        raise UsageError(f"format is {form!r}; expected one of {', '.join(FORMATS)}")
    settings = settings or ConversionSettings()
    taken: set[str] = set()
    for name, read_volume in _volumes(Path(source), strict=settings.strict):
        stem = _unique(portable_name(name), taken)
        target = Path(folder) / f"{stem}{FORMATS[form]}"
        try:
            check_free([target], settings)
            yield ConvertedVolume(name, tuple(write(read_volume(), target)))
        except VolsegError as error:
            yield ConvertedVolume(name, error=error)


def _volumes(source: Path, *, strict: bool) -> Iterator[tuple[str, partial[Volume]]]:
    """Give the name of each volume and how to read it."""
    if not is_dicom_input(source):
        for name, volume in read_all(source, strict=strict).items():
            yield name, partial(replace, volume, name=name)
        return
    from volseg.io.dicom import list_series, read_stack

    for series in list_series(source):
        name = series.name or "_".join(filter(None, (case_name(source), series.label)))
        yield name, partial(read_stack, series, source, strict=strict)


def _unique(name: str, taken: set[str]) -> str:
    """Return a file name that is free also where upper and lower case are the same."""
    numbered = (f"{name}_{count}" for count in range(2, len(taken) + 3))
    free = next(candidate for candidate in (name, *numbered) if candidate.casefold() not in taken)
    taken.add(free.casefold())
    return free
