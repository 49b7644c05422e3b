"""What is in a file or folder, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from volseg.errors import InputError
from volseg.inspection.entries import Entry, Inspection, Slices
from volseg.inspection.image_entries import image_kind
from volseg.io.names import has_suffix

__all__ = ["Entry", "Inspection", "Slices", "inspect"]

# The voxel files of header pairs, which are read through their headers.
_VOXEL_FILES = (".img", ".img.gz")


def inspect(
    path: str | Path, *, headers: bool = False, progress: Callable[[int, int], None] | None = None
) -> Inspection:
    """List the series, images, segmentations and damaged files of a file, zip archive or, at any depth, a folder.

    Parameters
    ----------
    path : path
        A DICOM, NIfTI, NRRD or MetaImage file, or a folder or archive that holds any of them. Hidden files are left
        out.
    headers : bool
        Look at headers alone. Otherwise every image is read once, to see that it can be; the voxels of segmentations
        are not.
    progress : callable, optional
        Gets how many of how many entries are done.

    Returns
    -------
    Inspection
        DICOM first. What cannot be read is an entry that says why.

    Raises
    ------
    InputError
        There is no such path, or no image file of any kind in it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    entries = tuple(_entries(path, headers=headers, report=progress or (lambda done, total: None)))
    if not entries:
        raise InputError(f"{path}: nothing to read; expected DICOM, NIfTI (.nii, .nii.gz), NRRD or MetaImage files")
    return Inspection(path, entries)


def _entries(path: Path, *, headers: bool, report: Callable[[int, int], None]) -> Iterator[Entry]:
    steps = [*_dicom_steps(path, headers=headers), *_image_steps(path, headers=headers)]
    for number, step in enumerate(steps):
        report(number, len(steps))
        yield from step()
    report(len(steps), len(steps))


def _dicom_steps(path: Path, *, headers: bool) -> Iterator[Callable[[], Iterator[Entry]]]:
    from volseg.inspection.dicom_entries import other_entries, series_entry
    from volseg.io.dicom import scan_dicom

    if path.is_file() and image_kind(path):
        return
    try:
        scan = scan_dicom(path)
    except InputError as error:  # a damaged archive or a folder without rights must not hide what else is there
        yield partial(iter, (Entry("DICOM file", path.name, problem=str(error)),))
        return
    if path.is_file() and not (scan.series or scan.others or scan.damaged):
        return
    for series in scan.series:
        yield partial(_alone, partial(series_entry, series, path, headers=headers))
    yield partial(other_entries, scan)


def _alone(make: Callable[[], Entry]) -> Iterator[Entry]:
    yield make()


def _image_steps(path: Path, *, headers: bool) -> Iterator[Callable[[], Iterator[Entry]]]:
    from volseg.inspection.image_entries import image_entries

    for file in _image_files(path):
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        yield partial(image_entries, file, name, headers=headers)


def _image_files(path: Path) -> Iterator[Path]:
    if path.is_file() and image_kind(path):
        yield path
    for root, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = (name for name in sorted(files) if not name.startswith(".") and not has_suffix(name, _VOXEL_FILES))
        yield from (Path(root, name) for name in names if image_kind(Path(name)))
