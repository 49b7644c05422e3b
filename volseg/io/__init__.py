"""The doors: scans and label maps in and out of files, one module a format.

Array axes are (I, J, K) and the world is mm, RAS+ behind every door. The formats' libraries are imported when a file of
their kind is first met.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from volseg.errors import AmbiguousError, InputError
from volseg.files import regular_file
from volseg.geometry import Grid
from volseg.io.label_choice import LabelChoice
from volseg.io.label_layers import join_layers
from volseg.io.names import ITK_SUFFIXES, NIFTI_SUFFIXES, READABLE_FORMATS, has_suffix
from volseg.io.writing import write
from volseg.labelmap import Label, LabelMap
from volseg.volume import Volume

__all__ = ["read", "read_all", "read_channels", "read_grid", "read_label_layers", "read_labels", "write"]


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
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "dicom":
        from volseg.io.dicom import read_series

        return read_series(path, series=series, strict=strict)
    if kind == "nifti":
        from volseg.io.nifti import read_nifti

        return read_nifti(path, series=series)
    from volseg.io.itk import read_itk

    return read_itk(path, series=series)


def read_all(path: str | Path, *, strict: bool = False) -> dict[str, Volume]:
    """Read every volume of a file, DICOM folder or archive, by name; otherwise as `read`.

    Returns
    -------
    dict of str to Volume
        One entry for each volume of a DICOM series (time points, echoes and b-values apart) and for each volume of a 4D
        or 5D NIfTI or 4D NRRD file (``<stem>_<n>``); else one, ``<stem>``.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "dicom":
        from volseg.io.dicom import read_all_series

        return read_all_series(path, strict=strict)
    if kind == "nifti":
        from volseg.io.nifti import read_nifti_all

        return read_nifti_all(path)
    from volseg.io.itk import read_itk_all

    return read_itk_all(path)


def read_channels(paths: Sequence[Path], *, series: str | None = None, strict: bool = False) -> list[Volume]:
    """Read the channels of one case: one a path, or all of them from a single 4D file.

    `series` and `strict` are those of `read`, and so are the errors.
    """
    if len(paths) == 1 and series is None and has_suffix(paths[0], (*NIFTI_SUFFIXES, *ITK_SUFFIXES)):
        return list(read_all(paths[0]).values())
    return [read(path, series=series, strict=strict) for path in paths]


def read_grid(path: str | Path) -> Grid:
    """Read where the voxels of a scan or label map lie; of NIfTI, NRRD and MetaImage only the header is read.

    Raises as `read`, but the volumes of a 4D file share one grid and are no error.
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


def read_labels(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    image: str | Path | Volume | None = None,
    only: Sequence[str] | None = None,
) -> LabelMap:
    """Read a label map with the names and colours of its labels.

    Parameters
    ----------
    path : path
        NIfTI, NRRD (also Slicer's ``.seg.nrrd``) or MetaImage: integers, or floats within 1e-3 of integers. DICOM SEG
        (fractions count from one half) or RTSTRUCT.
    labels : path, optional
        A table of names and colours (see `volseg.io.labels`), or a ``dataset.json``. Without it they come from the
        ``.seg.nrrd`` or DICOM object itself, else from ``<stem>.tsv`` beside the file. Values without a name become
        ``label_<value>``.
    image : path or Volume, optional
        The scan that was segmented. An RTSTRUCT needs it, unless its series lies in the same folder; a DICOM SEG is put
        on its grid.
    only : sequence of str, optional
        Which structures are wanted, by name (upper and lower case alike; that of the table, if one is given), value or
        pattern of names such as ``rib_*``; all else is background, and of DICOM objects not even drawn. None or nothing
        means all.

    Returns
    -------
    LabelMap
        Values as in the file, in the smallest integer type that holds them.

    Raises
    ------
    AmbiguousError
        Its labels overlap; see `read_label_layers`.
    InputError
        As `read`; also negative values, fractions, a table with mistakes, and an entry of `only` that nothing there
        answers to.
    """
    layers = read_label_layers(path, labels=labels, image=image, only=only)
    if len(layers) == 1:
        return layers[0]
    names = "; ".join(", ".join(label.name for label in layer.labels) for layer in layers)
    raise AmbiguousError(
        f"{path}: its labels overlap, so they do not fit into one label map but into {len(layers)}: {names}; choose "
        "among them by name (--only NAME,...), write them to a file each by `volseg convert`, or read them by "
        "volseg.io.read_label_layers"
    )


def read_label_layers(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    image: str | Path | Volume | None = None,
    only: Sequence[str] | None = None,
) -> tuple[LabelMap, ...]:
    """Read label maps of which each holds labels that do not overlap; one, where none of them do.

    Parameters and errors are those of `read_labels`.
    """
    from volseg.io.labels import read_label_table

    path, kind = Path(path), _kind(Path(path))
    choice = LabelChoice(only, None if labels is None else read_label_table(Path(labels)))
    if kind == "dicom":
        from volseg.io.dicom_labels import read_dicom_labels
        from volseg.io.dicom_objects import read_scan_of

        scan = read_scan_of(path, Path(image)) if isinstance(image, str | Path) else image
        layers = read_dicom_labels(path, image=scan, choice=choice)
    else:
        layers = join_layers(choice.apply(_read_segment_layers(path) or (_read_label_image(path),), path))
    return layers if labels is None else tuple(_renamed(layer, choice, Path(labels)) for layer in layers)


def _read_label_image(path: Path) -> LabelMap:
    from volseg.io.labels import read_label_table, sidecar_path
    from volseg.io.voxels import to_label_values

    volume, sidecar = read(path), sidecar_path(path)
    table = read_label_table(sidecar) if sidecar.is_file() else ()
    return _named(to_label_values(volume.array, path), volume.grid, table, path)


def _read_segment_layers(path: Path) -> tuple[LabelMap, ...]:
    """Read what 3D Slicer wrote into a NRRD file; none where there are no segments."""
    if not has_suffix(path, (".nrrd", ".nhdr")):
        return ()
    from volseg.io.itk import read_seg_layers

    return read_seg_layers(path)


def _renamed(layer: LabelMap, choice: LabelChoice, table: Path) -> LabelMap:
    """Give a layer the names of the table; of labels that it lacks only where all are wanted."""
    there = {label.value for label in layer.labels}
    known = tuple(label for label in choice.table or () if not choice.only or label.value in there)
    return _named(layer.array, layer.grid, known, table)


def _named(array: NDArray[Any], grid: Grid, labels: tuple[Label, ...], path: Path) -> LabelMap:
    try:
        return LabelMap.from_array(array, grid, labels=labels)
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error


def _kind(path: Path) -> str:
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
        what = f"no DICOM files in this {'folder' if path.is_dir() else 'archive'}"
    raise InputError(f"{path}: {what}; readable are {READABLE_FORMATS}")
