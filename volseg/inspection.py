"""What is in a file or folder, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from volseg.errors import InputError, VolsegError
from volseg.io import read_all
from volseg.io.names import ITK_SUFFIXES, NIFTI_SUFFIXES, has_suffix
from volseg.volume import Volume

# The voxel files of header pairs, which are read through their headers.
_VOXEL_FILES = (".img", ".img.gz")


@dataclass(frozen=True)
class Entry:
    """One image or series that was found.

    Parameters
    ----------
    kind : str
        ``DICOM series``, ``NIfTI``, ``NRRD``, ``MetaImage``; ``DICOM`` and what it is for objects that are no image.
    name : str
        Series description, or the file's path inside the folder.
    series : str, optional
        What ``--series`` takes; DICOM only.
    modality : str, optional
        ``CT``, ``MR``, ``PT``; DICOM only.
    shape : (I, J, K), optional
        Voxels along each array axis.
    spacing_mm : (I, J, K), optional
        Distance of voxel centres along each array axis.
    orientation : str, optional
        Patient direction towards which each array axis grows, such as ``LPS``.
    dtype : str, optional
        Type of the values as `volseg.read` returns them.
    value_range : (lowest, highest), optional
        Over all voxels.
    files : int
        How many files it is made of.
    problem : str, optional
        Why it cannot be read; None if it can.
    """

    kind: str
    name: str
    series: str | None = None
    modality: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    orientation: str | None = None
    dtype: str | None = None
    value_range: tuple[float, float] | None = None
    files: int = 1
    problem: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found at a path."""

    path: Path
    entries: tuple[Entry, ...]

    @property
    def readable(self) -> tuple[Entry, ...]:
        """The entries without a problem."""
        return tuple(entry for entry in self.entries if entry.problem is None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, texts and numbers, as JSON takes them."""
        return {"path": str(self.path), "entries": [asdict(entry) for entry in self.entries]}


def inspect(path: str | Path) -> Inspection:
    """List the series and images of a file or, at any depth, a folder; each is read once, to see that it can be.

    Parameters
    ----------
    path : path
        A DICOM, NIfTI, NRRD or MetaImage file, or a folder that holds any of them. Hidden files are left out.

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
    entries = tuple(_entries(path))
    if not entries:
        raise InputError(f"{path}: nothing to read; expected DICOM, NIfTI (.nii, .nii.gz), NRRD or MetaImage files")
    return Inspection(path, entries)


def _entries(path: Path) -> Iterator[Entry]:
    from volseg.io.dicom import is_dicom

    if is_dicom(path):
        yield from _dicom_entries(path)
        if path.is_file():
            return
    for file in _image_files(path):
        kind = str(_kind(file))
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            volumes = read_all(file)
        except VolsegError as error:
            yield Entry(kind, name, problem=str(error))
            continue
        for key, volume in volumes.items():
            yield _entry(volume, kind=kind, name=name if len(volumes) == 1 else f"{name} {key}")


def _dicom_entries(path: Path) -> Iterator[Entry]:
    from volseg.io.dicom import read_stack, scan_dicom

    scan = scan_dicom(path)
    for series in scan.series:
        name = series.description or series.slices[0].path.name
        files = len(series.slices)
        try:
            volume = read_stack(series, path)
        except VolsegError as error:
            size, modality = series.size, series.modality or None
            yield Entry("DICOM series", name, series.id, modality, size, files=files, problem=str(error))
        else:
            yield _entry(volume, kind="DICOM series", name=name, series=series.id, files=files)
    for kind in sorted({other.kind for other in scan.others}):
        alike = [other for other in scan.others if other.kind == kind]
        problem = f"{alike[0].path}: {kind} is not an image; not read here"
        modality = alike[0].modality or None
        yield Entry(f"DICOM {kind}", alike[0].path.name, modality=modality, files=len(alike), problem=problem)
    for reason in sorted({reason for _, reason in scan.damaged}):
        damaged = [file for file, why in scan.damaged if why == reason]
        problem = f"{damaged[0]}: damaged DICOM file: {reason}; no series beside it is read until it is moved away"
        yield Entry("DICOM file", damaged[0].name, files=len(damaged), problem=problem)


def _entry(volume: Volume, *, kind: str, name: str, series: str | None = None, files: int = 1) -> Entry:
    return Entry(
        kind=kind,
        name=name,
        series=series,
        modality=volume.modality,
        shape=volume.grid.shape,
        spacing_mm=volume.grid.spacing,
        orientation=volume.grid.orientation,
        dtype=str(volume.array.dtype),
        value_range=(volume.array.min().item(), volume.array.max().item()),
        files=files,
    )


def _image_files(path: Path) -> Iterator[Path]:
    if path.is_file() and _kind(path):
        yield path
    for root, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = (name for name in sorted(files) if not name.startswith(".") and not has_suffix(name, _VOXEL_FILES))
        yield from (Path(root, name) for name in names if _kind(Path(name)))


def _kind(file: Path) -> str | None:
    if has_suffix(file, NIFTI_SUFFIXES):
        return "NIfTI"
    if has_suffix(file, ITK_SUFFIXES):
        return "NRRD" if has_suffix(file, (".nrrd", ".nhdr")) else "MetaImage"
    return None
