"""Label maps in: through which door, in how many layers, and with which names."""

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
        (`volseg.io.labels.nifti_names`). Values without a name become ``label_<value>``. Of a folder of masks it gives
        the values; without it they are 1, 2, 3 ... in the order of the names.
    image : path, dict of str to bytes, or Volume, optional
        The scan that was segmented. An RTSTRUCT needs it, unless its series lies in the same folder; a DICOM SEG is put
        on its grid.
    only : sequence of str, optional
        Which structures are wanted, by name (upper and lower case alike; that of the table, if one is given), value or
        pattern of names such as ``rib_*``; all else is background, and of DICOM objects not even drawn. None or nothing
        means all.
    series : str, optional
        Which volume of a file with several, by name or number. Without it each of them has to be a mask, and they are
        the labels 1, 2, 3 ... in their order, or keep their values where those differ.

    Returns
    -------
    LabelMap
        Values as in the file, in the smallest integer type that holds them.

    Raises
    ------
    AmbiguousError
        Its labels overlap, see `read_label_layers`; or several volumes, and not all masks.
    InputError
        As `read`; also negative values, fractions, a table with mistakes, and an entry of `only` that nothing there
        answers to.

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
    names = "; ".join(", ".join(label.name for label in layer.labels) for layer in layers)
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
    """Read label maps of which each holds labels that do not overlap; one, where none of them do.

    Parameters and errors are those of `read_labels`.
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
    """Read label maps as `read_label_layers`, from a path that was looked at.

    Parameters
    ----------
    found : Catalogue
        What lies at the path.
    labels, image, only, series
        As of `read_labels`.
    """
    path = found.path
    table = read_label_table(Path(labels)) if isinstance(labels, str | Path) else labels
    choice = LabelChoice(only, table)
    if masks := mask_files(found, known=[label.name for label in table or ()]):
        return read_masks(masks, path, choice)
    if found.image_format is None:
        layers = _read_dicom(found, image, choice, series)
    else:
        segments = _read_segment_layers(path) if series is None else ()
        layers = join_layers(choice.apply(segments, path)) if segments else _read_volumes(found, choice, series)
    if table is None:
        return layers
    said_by = path if not isinstance(labels, str | Path) else Path(labels)
    return tuple(_renamed(layer, choice, said_by) for layer in layers)


def _read_dicom(
    found: Catalogue, image: Volume | None, choice: LabelChoice, series: str | None
) -> tuple[LabelMap, ...]:
    if not found.is_dicom:
        raise found.nothing()
    from volseg.io.dicom import read_dicom_labels

    if series is not None:
        raise UsageError(f"{found.path}: a DICOM object of labels has no volumes, of which {series!r} could be one")
    return read_dicom_labels(found.dicom, image=image, choice=choice, structures=found.structures)


def _read_segment_layers(path: Path) -> tuple[LabelMap, ...]:
    """Read what 3D Slicer wrote into a NRRD file; none where there are no segments."""
    if not has_suffix(path, NRRD.suffixes):
        return ()
    from volseg.io.images.itk import read_seg_layers

    return read_seg_layers(path)


def _read_volumes(found: Catalogue, choice: LabelChoice, series: str | None) -> tuple[LabelMap, ...]:
    """Read the one volume of an image file, the one that is chosen, or all if each is a mask."""
    path = found.path
    volumes = list(found.read_all().values()) if series is None else [found.scan(series).read()]
    names = _names_of(path)
    if len(volumes) == 1:
        array = to_label_values(volumes[0].array, path)
        if names and not sidecar_path(path).is_file():
            # A header lists every class of a model; a table beside the file, what was looked for.
            there = set(np.unique(array).tolist())
            names = tuple(label for label in names if label.value in there)
        return choice.apply((_named(array, volumes[0].grid, names, path),), path)
    return layers_of_volumes(volumes, names, choice, path)


def _names_of(path: Path) -> tuple[Label, ...]:
    """Return what names the labels of an image file: the table beside it, else its own header."""
    sidecar = sidecar_path(path)
    return read_label_table(sidecar) if sidecar.is_file() else read_header_labels(path)


def _renamed(layer: LabelMap, choice: LabelChoice, what: Path) -> LabelMap:
    """Give a layer the names of the table; of labels that it lacks only where all are wanted."""
    there = {label.value for label in layer.labels}
    known = tuple(label for label in choice.table or () if not choice.only or label.value in there)
    return _named(layer.array, layer.grid, known, what)


def _named(array: NDArray[Any], grid: Grid, labels: tuple[Label, ...], path: Path) -> LabelMap:
    with at(path):
        return LabelMap.from_array(array, grid, labels=labels)
