"""Reading label maps of any format, with their layers and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.core.voxels import to_label_values
from volseg.errors import AmbiguousError, UsageError, at
from volseg.files.door import door
from volseg.files.names import NRRD, has_suffix
from volseg.io.catalogue import Catalogue, Source, look
from volseg.io.labels.layers import join_layers
from volseg.io.labels.mask_folder import mask_files, read_masks
from volseg.io.labels.nifti_names import read_header_labels
from volseg.io.labels.table import read_label_table, sidecar_path
from volseg.io.labels.volumes import layers_of_volumes
from volseg.io.scans import read_scan_of

Names = str | Path | Sequence[Label]


@door
def read_labels(
    path: Source,
    *,
    labels: Names | None = None,
    image: Source | Volume | None = None,
    only: Sequence[str] | None = None,
    series: str | None = None,
) -> LabelMap:
    """Read a label map with the names and colours of its labels.

    Parameters
    ----------
    path : path, or dict of str to bytes
        NIfTI, NRRD (also Slicer's ``.seg.nrrd``) or MetaImage: integers, or floats within 1e-3 of integers. DICOM SEG
        (fractions count from one half) or RTSTRUCT, also as bytes in memory by name. A folder of masks, one a structure
        and called like it, as TotalSegmentator writes it (`volseg.io.labels.mask_folder`).
    labels : path or sequence of Label, optional
        A table of names and colours (see `volseg.io.labels.table`), or a ``dataset.json``. Without it they come from
        the ``.seg.nrrd`` or DICOM object itself, else from ``<stem>.tsv`` beside the file, else from a NIfTI header
        (`volseg.io.labels.nifti_names`). Values without a name become ``label_<value>``. For a folder of masks the
        table gives the values; without it they are 1, 2, 3 ... in the order of the names.
    image : path, dict of str to bytes, or Volume, optional
        The scan that was segmented. An RTSTRUCT needs it, unless its series lies in the same folder; a DICOM SEG is put
        on its grid.
    only : sequence of str, optional
        The wanted structures, by name (in upper or lower case; that of the table, if one is given), value, or pattern
        of names such as ``rib_*``. The rest is background; other structures of DICOM objects are not even drawn. By
        default, or if empty, all are read.
    series : str, optional
        The volume of a file with several, by name or number. Without it each volume must be a mask. They become the
        labels 1, 2, 3 ... in their order, or keep their values if each has another one.

    Returns
    -------
    LabelMap
        Values as in the file, in the smallest integer type that holds them.

    Raises
    ------
    AmbiguousError
        The labels overlap (see `read_label_layers`), or there are several volumes and not all are masks.
    InputError
        As for `read`; also negative values, fractions, a table with mistakes, or an entry of `only` without a match.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> files = volseg.write(make_ct_phantom(seed=1).labels, "labels.nii.gz")
    >>> labels = volseg.read_labels("labels.nii.gz", only=["*kidney"])
    >>> [label.name for label in labels.labels]
    ['right_kidney', 'left_kidney']
    """
    layers = read_label_layers(path, labels=labels, image=image, only=only, series=series)
    if len(layers) == 1:
        return layers[0]
    names = "; ".join(map(_listed_names, layers))
    where = look(path).path
    raise AmbiguousError(
        f"{where}: its labels overlap, so they do not fit into one label map but into {len(layers)}: {names}; "
        "choose among them by name (--only NAME,...), write them to a file each by `volseg convert`, or read them by "
        "volseg.io.read_label_layers"
    )


@door
def read_label_layers(
    path: Source,
    *,
    labels: Names | None = None,
    image: Source | Volume | None = None,
    only: Sequence[str] | None = None,
    series: str | None = None,
) -> tuple[LabelMap, ...]:
    """Read label maps in layers: the labels of a layer do not overlap. Without overlaps there is one layer.

    Parameters
    ----------
    path, labels, image, only, series
        As for `read_labels`, and so are the errors.
    """
    found = look(path)
    there = None if image is None or isinstance(image, Volume) else look(image, known=found)
    scan = image if isinstance(image, Volume) else None
    if there is not None and found.is_dicom:
        scan = read_scan_of(found, there)
    return read_layers(found, labels=labels, image=scan, only=only, series=series)


def read_layers(
    found: Catalogue,
    *,
    labels: Names | None = None,
    image: Volume | None = None,
    only: Sequence[str] | None = None,
    series: str | None = None,
) -> tuple[LabelMap, ...]:
    """Read label maps as `read_label_layers` does, from the catalogue of a path.

    Parameters
    ----------
    found : Catalogue
        Of the path.
    labels, image, only, series
        As for `read_labels`.
    """
    path = found.path
    table = read_label_table(Path(labels)) if isinstance(labels, str | Path) else labels
    choice = LabelChoice(only, table)
    if masks := mask_files(found, known=[label.name for label in table or ()]):
        return read_masks(masks, path, choice)
    if found.image_format is None:
        layers = _read_dicom(found, image, choice, series)
    else:
        layers = _read_image(found, choice, series)
    if table is None:
        return layers
    source = Path(labels) if isinstance(labels, str | Path) else path
    return tuple(_renamed(layer, choice, source) for layer in layers)


def _read_dicom(
    found: Catalogue, image: Volume | None, choice: LabelChoice, series: str | None
) -> tuple[LabelMap, ...]:
    if not found.is_dicom:
        raise found.nothing()
    from volseg.io.dicom import read_dicom_labels

    if series is not None:
        raise UsageError(f"{found.path}: is a DICOM object of labels, which has no volumes to choose {series!r} from")
    return read_dicom_labels(found.dicom, image=image, choice=choice, structures=found.structures)


def _read_image(found: Catalogue, choice: LabelChoice, series: str | None) -> tuple[LabelMap, ...]:
    """Read the segments that 3D Slicer wrote into a NRRD file, or the volumes of an image file."""
    if series is None and has_suffix(found.path, NRRD.suffixes):
        from volseg.io.images.itk import read_seg_layers

        if segments := read_seg_layers(found.path):
            return join_layers(choice.apply(segments, found.path))
    return _read_volumes(found, choice, series)


def _read_volumes(found: Catalogue, choice: LabelChoice, series: str | None) -> tuple[LabelMap, ...]:
    """Read the one volume of an image file, the one that is chosen, or all if each is a mask."""
    path = found.path
    volumes = list(found.read_all().values()) if series is None else [found.scan(series).read()]
    names = _names_of(path)
    if len(volumes) == 1:
        array = to_label_values(volumes[0].array, path)
        if names and not sidecar_path(path).is_file():
            # A header lists every class of a model. A table beside the file lists only the labels that were asked for.
            names = _of_values(names, set(np.unique(array).tolist()))
        return choice.apply((_named(array, volumes[0].grid, names, path),), path)
    return layers_of_volumes(volumes, names, choice, path)


def _names_of(path: Path) -> tuple[Label, ...]:
    """Return the labels that are named for an image file: in the table beside it, or else in its header."""
    sidecar = sidecar_path(path)
    return read_label_table(sidecar) if sidecar.is_file() else read_header_labels(path)


def _renamed(layer: LabelMap, choice: LabelChoice, what: Path) -> LabelMap:
    """Give a layer the names of the table; labels that it lacks are added if all are wanted."""
    known = tuple(choice.table or ())
    if choice.only:
        known = _of_values(known, {label.value for label in layer.labels})
    return _named(layer.array, layer.grid, known, what)


def _of_values(labels: Sequence[Label], values: set[int]) -> tuple[Label, ...]:
    return tuple(label for label in labels if label.value in values)


def _listed_names(layer: LabelMap) -> str:
    return ", ".join(label.name for label in layer.labels)


def _named(array: NDArray[Any], grid: Grid, labels: tuple[Label, ...], path: Path) -> LabelMap:
    with at(path):
        return LabelMap.from_array(array, grid, labels=labels)
