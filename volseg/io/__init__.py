"""The doors: scans and label maps in and out of files, one module a format.

Array axes are (I, J, K) and the world is mm, RAS+ behind every door. The formats' libraries are imported when a file of
their kind is first met.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.errors import InputError, UsageError
from volseg.geometry import Grid
from volseg.io.names import ITK_SUFFIXES, NIFTI_SUFFIXES, READABLE_FORMATS, case_name, has_suffix
from volseg.labelmap import Label, LabelMap
from volseg.volume import Volume

__all__ = ["read", "read_all", "read_channels", "read_grid", "read_labels", "write"]


def read(path: str | Path, *, series: str | None = None) -> Volume:
    """Read one scan.

    Parameters
    ----------
    path : path
        A NIfTI, NRRD, MetaImage or DICOM file, or a folder of DICOM files.
    series : str, optional
        Which one, where there are several: what the error lists. For DICOM a series, for 4D NIfTI a name of `read_all`.

    Returns
    -------
    Volume
        Array (I, J, K) as stored, neither turned nor resampled: integers, or float32 where the file has fractions or a
        scaling. NaN and infinity are replaced by the smallest value, with a warning.

    Raises
    ------
    AmbiguousError
        Several volumes are there; lists them.
    InputError
        Missing, damaged, or nothing that volseg reads.
    GeometryError
        The position of the voxels is impossible.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "dicom":
        from volseg.io.dicom import read_series

        return read_series(path, series=series)
    if series is not None:
        volumes = read_all(path)
        if series not in volumes:
            raise InputError(f"{path}: has no volume {series!r}; expected one of {', '.join(volumes)}")
        return volumes[series]
    if kind == "nifti":
        from volseg.io.nifti import read_nifti

        return read_nifti(path)
    from volseg.io.itk import read_itk

    return read_itk(path)


def read_all(path: str | Path) -> dict[str, Volume]:
    """Read every volume of a file or DICOM folder, by name; otherwise as `read`.

    Returns
    -------
    dict of str to Volume
        One entry for each DICOM series and for each volume of a 4D NIfTI file (``<stem>_<n>``); else one, ``<stem>``.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "dicom":
        from volseg.io.dicom import read_all_series

        return read_all_series(path)
    if kind == "nifti":
        from volseg.io.nifti import read_nifti_all

        return read_nifti_all(path)
    from volseg.io.itk import read_itk

    return {case_name(path): read_itk(path)}


def read_channels(paths: Sequence[Path], *, series: str | None = None) -> list[Volume]:
    """Read the channels of one case: one a path, or all of them from a single 4D NIfTI file.

    `series` chooses among several, as in `read`; errors are those of `read`.
    """
    if len(paths) == 1 and series is None and has_suffix(paths[0], NIFTI_SUFFIXES):
        return list(read_all(paths[0]).values())
    return [read(path, series=series) for path in paths]


def read_grid(path: str | Path) -> Grid:
    """Read where the voxels of a scan or label map lie; of NIfTI, NRRD and MetaImage only the header is read.

    Raises as `read`, but the volumes of a 4D NIfTI file share one grid and are no error.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "dicom":
        return read(path).grid
    if kind == "nifti":
        from volseg.io.nifti import read_nifti_grid

        return read_nifti_grid(path)
    from volseg.io.itk import read_itk_grid

    return read_itk_grid(path)


def read_labels(path: str | Path, *, labels: str | Path | None = None) -> LabelMap:
    """Read a label map with the names and colours of its labels.

    Parameters
    ----------
    path : path
        NIfTI, NRRD (also Slicer's ``.seg.nrrd``) or MetaImage; integers, or floats within 1e-3 of integers.
    labels : path, optional
        A table of names and colours (see `volseg.io.labels`), or a ``dataset.json``. Without it they come from the
        ``.seg.nrrd`` itself, else from ``<stem>.tsv`` beside the file. Values without a name become ``label_<value>``.

    Returns
    -------
    LabelMap
        Values as in the file, in the smallest integer type that holds them.

    Raises
    ------
    InputError
        As `read`; also negative values, fractions, and a table with mistakes.
    """
    path = Path(path)
    if _kind(path) == "dicom":
        raise InputError(f"{path}: label maps are read from NIfTI, NRRD and MetaImage files, not from DICOM")
    from volseg.io.voxels import to_label_values

    volume = read(path)
    table = _label_table(path, None if labels is None else Path(labels))
    try:
        return LabelMap.from_array(to_label_values(volume.array, path), volume.grid, labels=table)
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error


def write(thing: Volume | LabelMap, path: str | Path) -> list[Path]:
    """Write a scan or label map on its own grid; the orientation stays as it is.

    Parameters
    ----------
    thing : Volume or LabelMap
        What to write.
    path : path
        ``.nii`` or ``.nii.gz``; a label map also ``.seg.nrrd``. Missing folders are made.

    Returns
    -------
    list of Path
        The files written. A label map as NIfTI has its names and colours in ``<stem>.tsv`` beside it.

    Raises
    ------
    UsageError
        Another suffix.
    OutputError
        A file cannot be written; nothing is left half-written.
    """
    path = Path(path)
    if isinstance(thing, LabelMap) and has_suffix(path, (".seg.nrrd",)):
        from volseg.io.itk import write_seg_nrrd

        write_seg_nrrd(thing, path)
        return [path]
    if not has_suffix(path, (".nii", ".nii.gz")):
        known = ".nii, .nii.gz" + (" or .seg.nrrd" if isinstance(thing, LabelMap) else "")
        raise UsageError(
            f"{path}: cannot be written as {''.join(path.suffixes) or 'a file without suffix'}; use {known}"
        )
    from volseg.io.nifti import write_nifti

    if isinstance(thing, Volume):
        write_nifti(thing.array, thing.grid, path)
        return [path]
    from volseg.io.labels import sidecar_path, write_label_table
    from volseg.io.voxels import smallest_integer

    dtype = smallest_integer(int(thing.array.max()))
    write_nifti(thing.array.astype(dtype, copy=False), thing.grid, path)
    write_label_table(thing.labels, sidecar_path(path))
    return [path, sidecar_path(path)]


def _kind(path: Path) -> str:
    """Return which door a path goes to: ``nifti``, ``itk`` or ``dicom``."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if path.is_file():
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty; expected {READABLE_FORMATS}")
        if has_suffix(path, NIFTI_SUFFIXES):
            return "nifti"
        if has_suffix(path, ITK_SUFFIXES):
            return "itk"
    from volseg.io.dicom import is_dicom

    if is_dicom(path):
        return "dicom"
    what = "no DICOM files in this folder" if path.is_dir() else "unknown type of file"
    raise InputError(f"{path}: {what}; readable are {READABLE_FORMATS}")


def _label_table(path: Path, table: Path | None) -> tuple[Label, ...]:
    from volseg.io.labels import read_label_table, sidecar_path

    if table is not None:
        return read_label_table(table)
    if has_suffix(path, (".nrrd",)):
        from volseg.io.itk import read_segments

        if segments := read_segments(path):
            return segments
    sidecar = sidecar_path(path)
    return read_label_table(sidecar) if sidecar.is_file() else ()
