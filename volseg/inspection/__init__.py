"""The contents of a file or folder, and their faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from volseg.errors import InputError
from volseg.files.names import READABLE_FORMATS
from volseg.files.plain_text import first_few
from volseg.inspection.entries import Entry, Inspection, Slices
from volseg.io import Catalogue
from volseg.progress import Progress, ignore_progress

__all__ = ["Entry", "Inspection", "Slices", "inspect"]

# The error names at most this many of the files that volseg does not read.


def inspect(path: str | Path, *, headers: bool = False, progress: Progress | None = None) -> Inspection:
    """List the series, images, segmentations and damaged files of a file, zip archive or, at any depth, a folder.

    Parameters
    ----------
    path : path
        A DICOM or image file, or a folder or archive that holds any of them. Hidden files are left
        out.
    headers : bool
        Read only headers. Otherwise the voxels of every image are read once as a check; those of segmentations are not.
    progress : Progress, optional
        Called with ("reading", entries done, number of entries).

    Returns
    -------
    Inspection
        DICOM first. An entry of a file that cannot be read says why.

    Raises
    ------
    InputError
        The path does not exist, or holds no image file.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> files = volseg.write(make_ct_phantom(seed=1).volume, "scan.nii.gz")
    >>> [entry.kind for entry in volseg.inspect("scan.nii.gz").entries]
    ['NIfTI']
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    entries = tuple(_entries(Catalogue(path), headers=headers, progress=progress or ignore_progress))
    if not entries:
        files = sorted(file.name for file in path.rglob("*") if file.is_file()) if path.is_dir() else []
        what = f" among its {len(files)} files ({first_few(files)})"
        raise InputError(f"{path}: nothing to read{what if files else ''}; expected {READABLE_FORMATS}")
    return Inspection(path, entries)


def _entries(found: Catalogue, *, headers: bool, progress: Progress) -> Iterator[Entry]:
    steps = [*_dicom_steps(found, headers=headers), *_image_steps(found, headers=headers)]
    for number, step in enumerate(steps):
        progress("reading", number, len(steps))
        yield from step()
    progress("reading", len(steps), len(steps))


def _dicom_steps(found: Catalogue, *, headers: bool) -> Iterator[Callable[[], Iterator[Entry]]]:
    from volseg.files.zip_archive import is_zip
    from volseg.inspection.dicom_entries import archive_entries, other_entries, series_entry

    path = found.path
    if found.image_format is not None:
        return
    try:
        listing = found.dicom
    except InputError as error:  # one damaged archive or unreadable folder must not hide the other files
        yield partial(iter, (Entry("DICOM file", path.name, problem=str(error)),))
        return
    if path.is_file() and not (listing or is_zip(path)):
        return
    for series in listing.series:
        yield partial(_alone, partial(series_entry, series, path, headers=headers))
    yield partial(other_entries, listing)
    yield partial(archive_entries, listing)


def _alone(make: Callable[[], Entry]) -> Iterator[Entry]:
    yield make()


def _image_steps(found: Catalogue, *, headers: bool) -> Iterator[Callable[[], Iterator[Entry]]]:
    from volseg.inspection.image_entries import image_entries

    for file in found.image_files:
        name = str(file.relative_to(found.path)) if found.path.is_dir() else file.name
        yield partial(image_entries, file, name, headers=headers)
