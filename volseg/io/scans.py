"""Scans in: one volume, all volumes of a file or folder, or the grid alone, whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.files.door import door
from volseg.files.names import IMAGE_SUFFIXES, ITK_SUFFIXES, NIFTI_SUFFIXES, READABLE_FORMATS, has_suffix
from volseg.files.regular import regular_file


@door
def read(path: str | Path, *, series: str | None = None, strict: bool = False) -> Volume:
    """Read one scan.

    Parameters
    ----------
    path : path
        A NIfTI, NRRD, MetaImage or DICOM file, a folder or zip archive of DICOM files, or a DICOMDIR.
    series : str, optional
        Which one, where there are several: what the error lists. For DICOM a series, for 4D NIfTI and NRRD a name of
        `read_all`.
    strict : bool
        Refuse a DICOM stack that is tilted, uneven or incomplete. Otherwise it is resampled onto a straight grid, every
        slice at its true position, with a warning that says so; or refused where too much is missing.

    Returns
    -------
    Volume
        Array (I, J, K) as stored, neither turned nor (but for the above) resampled: integers, or float32 where the file
        has fractions or a scaling. NaN and infinity are replaced by the smallest value, with a warning.

    Raises
    ------
    AmbiguousError
        Several volumes are there; lists them.
    InputError
        Missing, damaged, or nothing that volseg reads.
    GeometryError
        The position of the voxels is impossible.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> files = volseg.write(make_ct_phantom(seed=1).volume, "scan.nii.gz")
    >>> scan = volseg.read("scan.nii.gz")
    >>> scan.array.shape, scan.grid.spacing
    ((96, 96, 24), (3.0, 3.0, 6.0))
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "dicom":
        from volseg.io.dicom import read_series

        return read_series(path, series=series, strict=strict)
    if kind == "nifti":
        from volseg.io.images.nifti import read_nifti

        return read_nifti(path, series=series)
    from volseg.io.images.itk import read_itk

    return read_itk(path, series=series)


@door
def read_all(path: str | Path, *, strict: bool = False) -> dict[str, Volume]:
    """Read every volume of a file, DICOM folder or archive, by name; otherwise as `read`.

    Returns
    -------
    dict of str to Volume
        One entry for each volume of a DICOM series (time points, echoes and b-values apart) and for each volume of a 4D
        or 5D NIfTI or 4D NRRD file (``<stem>_<n>``); else one, ``<stem>``.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> files = volseg.write(make_ct_phantom(seed=1).volume, "scan.nrrd")
    >>> [volume.array.shape for volume in volseg.read_all("scan.nrrd").values()]
    [(96, 96, 24)]
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "dicom":
        from volseg.io.dicom import read_all_series

        return read_all_series(path, strict=strict)
    if kind == "nifti":
        from volseg.io.images.nifti import read_nifti_all

        return read_nifti_all(path)
    from volseg.io.images.itk import read_itk_all

    return read_itk_all(path)


def read_channels(paths: Sequence[Path], *, series: str | None = None, strict: bool = False) -> list[Volume]:
    """Read the channels of one case: one a path, or all of them from a single 4D file.

    `series` and `strict` are those of `read`, and so are the errors.
    """
    if len(paths) == 1 and series is None and has_suffix(paths[0], IMAGE_SUFFIXES):
        return list(read_all(paths[0]).values())
    return [read(path, series=series, strict=strict) for path in paths]


@door
def read_grid(path: str | Path) -> Grid:
    """Read where the voxels of a scan or label map lie; of NIfTI, NRRD and MetaImage only the header is read.

    Raises as `read`, but the volumes of a 4D file share one grid and are no error.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "dicom":
        return read(path).grid
    if kind == "nifti":
        from volseg.io.images.nifti import read_nifti_grid

        return read_nifti_grid(path)
    from volseg.io.images.itk import read_itk_grid

    return read_itk_grid(path)


@door
def count_volumes(path: Path) -> int:
    """Return how many volumes a path holds: of NIfTI, NRRD and MetaImage by their header; else 1."""
    if path.is_file() and has_suffix(path, NIFTI_SUFFIXES):
        from volseg.io.images.nifti import count_nifti_volumes

        return count_nifti_volumes(path)
    if path.is_file() and has_suffix(path, ITK_SUFFIXES):
        from volseg.io.images.itk import count_itk_volumes

        return count_itk_volumes(path)
    return 1


def read_scan_of(labels: Path, image: Path, *, series: str | None = None, strict: bool = False) -> Volume:
    """Read an image as `volseg.read` does; of several series the one that the labels were made on, if they say so."""
    from volseg.io.dicom import choose_series_of, find_label_object, is_dicom_input, list_series, read_stack

    if series is not None or not is_dicom_input(image):
        return read(image, series=series, strict=strict)
    chosen = choose_series_of(find_label_object(labels), list_series(image), image)
    return read_stack(chosen, image, strict=strict)


def kind_of(path: Path) -> str:
    """Return which door a path goes to: ``nifti``, ``itk`` or ``dicom``."""
    if not path.is_dir():
        if regular_file(path).stat().st_size == 0:
            raise InputError(f"{path}: is empty; expected {READABLE_FORMATS}")
        if has_suffix(path, NIFTI_SUFFIXES):
            return "nifti"
        if has_suffix(path, ITK_SUFFIXES):
            return "itk"
    from volseg.io.dicom import is_dicom

    if is_dicom(path):
        return "dicom"
    what = "unknown type of file"
    if path.is_dir() or has_suffix(path, (".zip",)):
        what = f"no DICOM files in this {'folder, nor masks of one case' if path.is_dir() else 'archive'}"
    raise InputError(f"{path}: {what}; readable are {READABLE_FORMATS}")
