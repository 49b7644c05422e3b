"""Reading of scans in any format: one volume, all volumes of a file or folder, or the grid alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.files.door import door
from volseg.io.catalogue import Catalogue, Source, look


@door
def read(path: Source, *, series: str | None = None, strict: bool = False) -> Volume:
    """Read one scan.

    Parameters
    ----------
    path : path, or dict of str to bytes
        A NIfTI, NRRD, MetaImage or DICOM file, a folder or zip archive of DICOM files, or a DICOMDIR; or DICOM objects
        in memory by name, for example from a network.
    series : str, optional
        The wanted volume if there are several; the error lists the choices. For DICOM it is a series, for 4D NIfTI and
        NRRD a name of `read_all`.
    strict : bool
        Refuse a DICOM stack that is tilted, uneven or incomplete. Otherwise it is resampled onto a straight grid, with
        every slice at its true position and a warning; it is still refused if too much is missing.

    Returns
    -------
    Volume
        Array (I, J, K) as stored, neither turned nor resampled (except as above): integers, or float32 if the file
        has fractions or a scaling. NaN and infinity are replaced by the smallest value, with a warning.

    Raises
    ------
    AmbiguousError
        There are several volumes; the message lists them.
    InputError
        The path does not exist, is damaged, or holds nothing that volseg reads.
    GeometryError
        The positions of the voxels are impossible.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> files = volseg.write(make_ct_phantom(seed=1).volume, "scan.nii.gz")
    >>> scan = volseg.read("scan.nii.gz")
    >>> scan.array.shape, scan.grid.spacing
    ((96, 96, 24), (3.0, 3.0, 6.0))
    """
    return look(path).scan(series).read(strict=strict)


@door
def read_all(path: Source, *, strict: bool = False) -> dict[str, Volume]:
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
    return look(path).read_all(strict=strict)


def read_channels(paths: Sequence[Path], *, series: str | None = None, strict: bool = False) -> list[Volume]:
    """Read the channels of one case: one from each path, or all from a single 4D file.

    `series` and `strict` are those of `read`, and so are the errors.
    """
    if len(paths) == 1 and series is None:
        found = look(paths[0])
        if found.image_format is not None:
            return list(found.read_all().values())
    return [read(path, series=series, strict=strict) for path in paths]


@door
def read_grid(path: Source) -> Grid:
    """Read the grid of a scan or label map from headers alone.

    Errors are those of `read`, except that several volumes of a 4D file are allowed, as they share one grid.
    """
    return look(path).grid()


@door
def count_volumes(path: Path) -> int:
    """Return how many volumes an image file holds, by its header; 1 for any other path."""
    found = Catalogue(path)
    return len(found.image.names) if found.image_format is not None else 1


def read_scan_of(labels: Catalogue, image: Catalogue, *, series: str | None = None, strict: bool = False) -> Volume:
    """Read an image as `read` does; among several series, the one that the labels refer to.

    Parameters
    ----------
    labels, image : Catalogue
        The contents of the path of each.
    series, strict
        As for `read`.
    """
    of = labels.label_object if series is None and image.is_dicom else None
    return image.scan(series, of=of).read(strict=strict)
