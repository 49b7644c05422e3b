"""Label maps: put on the grid of an image if one is given, and written in layers if labels overlap."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from volseg.conversion.settings import ConversionSettings, is_folder, is_object
from volseg.core.grid import Grid
from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import LabelMap, label_extent, present_values
from volseg.core.merging import merge_layers, number_layers
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, UsageError
from volseg.files.atomic import check_free
from volseg.files.names import LABEL_SUFFIXES, SEG_NRRD_SUFFIXES, case_name, has_suffix
from volseg.io import Catalogue, look, read_layers, read_scan_of, write
from volseg.io.dicom import DicomSource
from volseg.io.labels import (
    check_labels,
    is_dseg,
    name_labels,
    names_volume,
    read_label_table,
    read_mask_files,
    sidecar_path,
    structure_names,
)
from volseg.verification.placement import compare_grids

_LOG = logging.getLogger(__name__)
_MOST_OUTSIDE = 0.5


def convert_labels(found: Catalogue, target: Path, settings: ConversionSettings) -> list[Path]:
    """Write a label map in another form.

    Parameters
    ----------
    found : Catalogue
        The contents of the source.
    target : Path
        The file to write; its suffix gives the format.
    settings : ConversionSettings
    """
    _check_target(target, settings)
    source, volume = found.path, None
    if not found.is_dicom and (settings.image is None or names_volume(source, settings.series)):
        settings, volume = replace(settings, series=None), settings.series
    image = read_image(found, target, settings)
    scan = image if found.is_dicom else None
    layers = read_layers(found, labels=settings.labels, image=scan, only=settings.only, series=volume)
    check_labels(layers, source)
    if image is not None:
        _check_place(_unplaced(found, image, settings) or layers, image.grid, source, target)
    return _write_layers(_merged(layers, source, settings), source, target, image, settings)


def convert_masks(files: Sequence[Path], target: Path, settings: ConversionSettings) -> list[Path]:
    """Write masks, each of the structure that its file is named after, as one label map.

    Parameters
    ----------
    files : sequence of Path
        Labels have the values 1, 2, 3 ... in this order, or those of the table of the settings.
    target : Path
        As for `convert_labels`.
    settings : ConversionSettings

    Raises
    ------
    UsageError
        Two files are masks of one structure, or a series is given.
    """
    _check_target(target, settings)
    table = () if settings.labels is None else read_label_table(Path(settings.labels))
    structures = structure_names([file.name for file in files], [label.name for label in table])
    names: dict[str, Path] = {}
    for name, file in zip(structures, files, strict=True):
        other = names.setdefault(name, file)
        if other is not file:
            raise UsageError(f"{other} and {file}: masks are told apart by their names; expected one of each name")
    labels = name_labels(names, table)
    wanted = LabelChoice(settings.only).of(list(labels.values()), "masks")
    masks = [(label, names[name]) for name, label in labels.items() if label in wanted]
    source = masks[0][1]
    image = read_image(Catalogue(source), target, settings)
    layers = read_mask_files(masks)
    if image is not None:
        _check_place(layers, image.grid, source, target)
    return _write_layers(_merged(layers, source.parent, settings), source, target, image, settings)


def _merged(layers: Sequence[LabelMap], source: Path, settings: ConversionSettings) -> Sequence[LabelMap]:
    """Return one layer if the settings say so; say what each label gives to smaller ones."""
    if not settings.merge:
        return layers
    merged, losses = merge_layers(number_layers(layers))
    for loss in losses:
        _LOG.warning("%s: %s", source, loss)
    return (merged,)


def _write_layers(
    layers: Sequence[LabelMap], source: Path, target: Path, image: Volume | None, settings: ConversionSettings
) -> list[Path]:
    """Write layers into one ``.seg.nrrd``, or each into a file of its own; on the grid of the image if there is one."""
    if image is not None and not is_object(target):  # the writers of DICOM objects use the slices as they are stored
        layers = [_moved(layer, image.grid, source) for layer in layers]
    if len(layers) > 1 and has_suffix(target, SEG_NRRD_SUFFIXES):
        from volseg.io.images.itk import write_seg_nrrd

        write_seg_nrrd(layers, target)
        return [target]
    targets = [target] if len(layers) == 1 else _numbered(target, len(layers))
    check_free([file for path in targets for file in _files_of(path)], overwrite=settings.overwrite)
    written: list[Path] = []
    for layer, path in zip(layers, targets, strict=True):
        written += write(layer, path, image=image if is_object(path) else None, form=settings.form)
    return written


def _unplaced(found: Catalogue, image: Volume, settings: ConversionSettings) -> tuple[LabelMap, ...]:
    """Read a DICOM segmentation of another series than the image on its own grid; return None for other sources."""
    labels = found.label_object
    own = image.source.series_uid if isinstance(image.source, DicomSource) else ""
    if labels is None or labels.is_contours or own in labels.reference.series_uids:
        return ()
    try:
        return read_layers(found, labels=settings.labels, only=settings.only)
    except InputError:  # its frames do not form an even grid
        return ()


def _check_target(target: Path, settings: ConversionSettings) -> None:
    if is_folder(target):
        raise UsageError(f"{target}: labels cannot be a DICOM series; use .nii.gz, .seg.nrrd or, with an image, .dcm")
    if settings.form is not None and not is_object(target):
        raise UsageError(f"form (--as) {settings.form} is only for a .dcm file of labels; got {target}")
    check_free(_files_of(target), overwrite=settings.overwrite)


def read_image(found: Catalogue, target: Path, settings: ConversionSettings) -> Volume | None:
    """Read the scan that labels or probabilities were made on.

    Parameters
    ----------
    found : Catalogue
        The contents of the source.
    target : Path
        The file to write; a DICOM object needs the scan.
    settings : ConversionSettings
        Its image and series identify the scan.

    Returns
    -------
    Volume or None
        None if no image is given.

    Raises
    ------
    UsageError
        The target is a DICOM object, which refers to the files of the scan, and the scan is missing or not DICOM.
    """
    if settings.image is None:
        if is_object(target):
            raise UsageError(
                f"{target}: a DICOM object of labels refers to the files of its scan; give the scan as "
                "image (--image; a scan itself becomes a folder of DICOM files)"
            )
        if settings.series is not None:
            raise UsageError(
                "series (--series) chooses a scan; for labels that is the image (--image), which is missing"
            )
        return None
    there = look(settings.image, known=found)
    image = read_scan_of(found, there, series=settings.series, strict=settings.strict)
    if is_object(target) and image.source is None:
        raise UsageError(
            f"image (--image) {settings.image}: is not DICOM; a DICOM object of labels refers to the files of its scan"
        )
    return image


def put_on_grid(labelmap: LabelMap, grid: Grid) -> LabelMap:
    """Bring a label map onto another grid of the same patient space: each voxel takes the nearest one's label.

    Voxels outside the label map get 0.
    """
    from scipy import ndimage

    to_voxel = np.linalg.solve(labelmap.grid.affine, grid.affine)
    # SciPy's "constant" would count points up to half a voxel beyond the outer centres as outside.
    array = ndimage.affine_transform(
        labelmap.array, to_voxel[:3, :3], to_voxel[:3, 3], grid.shape, order=0, mode="grid-constant"
    )
    return LabelMap(array, grid, labelmap.labels)


def _check_place(layers: Sequence[LabelMap], image: Grid, source: Path, target: Path) -> None:
    """Refuse labels that lie mostly outside the image; warn if they lie on another grid or some are lost."""
    placement = compare_grids(image, layers[0].grid)
    _, outside = label_extent(layers, image)
    lies = f"lies on another grid than the image{f': it {placement.cause}' if placement.cause else ''}"
    corners = f"corners up to {placement.worst_corner_mm:.4g} mm apart"
    lost = f"{100 * (outside or 0):.3g} % of the labelled voxels lie outside the image"
    if outside and outside > _MOST_OUTSIDE:
        raise GeometryError(f"{source}: {lies} ({corners}), {lost}; give the scan that the labels were made on")
    if placement.relation in ("other grid", "apart"):
        grid = layers[0].grid.describe()
        _LOG.warning("%s: %s (%s; %s); each voxel of the image takes the nearest label", source, lies, grid, corners)
    if outside and not is_object(target):  # its writer warns of it
        _LOG.warning("%s: %s and are lost", source, lost)


def _moved(labelmap: LabelMap, grid: Grid, source: Path) -> LabelMap:
    moved = put_on_grid(labelmap, grid)
    gone = present_values(labelmap.array) - present_values(moved.array)
    if gone:
        names = ", ".join(label.name for label in labelmap.labels if label.value in gone)
        _LOG.warning("%s: no voxel of the image has the label %s", source, names)
    return moved


def _files_of(target: Path) -> list[Path]:
    """Return the files of a label map: itself, and beside it the table of names that it cannot hold."""
    if has_suffix(target, LABEL_SUFFIXES):
        return [target]
    table = sidecar_path(target)
    return [target, table, table.with_suffix(".json")] if is_dseg(target) else [target, table]


def _numbered(target: Path, count: int) -> list[Path]:
    suffix = target.name[len(case_name(target)) :]
    return [target.with_name(f"{case_name(target)}_{number}{suffix}") for number in range(1, count + 1)]
