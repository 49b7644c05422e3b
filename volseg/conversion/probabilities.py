"""Probabilities: along the fourth axis of a NIfTI file, or as a fractional DICOM segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volseg.conversion.labels import read_image
from volseg.conversion.settings import FRACTIONAL, ConversionSettings, is_object
from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, default_colour, keep_colours_apart
from volseg.errors import GeometryError, InputError, UsageError
from volseg.files.atomic import check_free
from volseg.files.names import NIFTI, has_suffix
from volseg.io import Catalogue
from volseg.io.labels import read_label_table, sidecar_path, write_label_table
from volseg.verification.placement import compare_grids


def convert_probabilities(found: Catalogue, target: Path, settings: ConversionSettings) -> list[Path]:
    """Write probabilities in the other of their two forms.

    Parameters
    ----------
    found : Catalogue
        The contents of the source.
    target : Path
        ``.dcm`` for a NIfTI source, ``.nii.gz`` for a DICOM one.
    settings : ConversionSettings
    """
    if is_object(target):
        return _to_dicom(found, target, settings)
    if has_suffix(target, NIFTI.written):
        return _to_nifti(found, target, settings)
    raise UsageError(f"{target}: probabilities are written as .dcm from NIfTI, and as .nii.gz from DICOM")


def _to_dicom(found: Catalogue, target: Path, settings: ConversionSettings) -> list[Path]:
    from volseg.io.dicom import write_dicom_probabilities

    source = found.path
    image = read_image(found, target, settings)
    volumes = list(found.read_all().values()) if found.image_format is not None else [found.scan().read()]
    if len(volumes) == 1 and volumes[0].array.dtype.kind in "iu":
        raise UsageError(
            f"--as {FRACTIONAL} needs probabilities, one volume for each label, and a table of their names (--labels); "
            f"{source} is a 3D label map; use --as seg"
        )
    labels = _labels(source, len(volumes), settings)
    grid = volumes[0].grid
    if image is None or compare_grids(image.grid, grid).relation == "apart":
        raise GeometryError(f"{source}: lies apart from the image; give the scan that the probabilities were made on")
    wanted = LabelChoice(settings.only).of(labels, source)
    arrays = [volume.array for volume, label in zip(volumes, labels, strict=True) if label in wanted]
    write_dicom_probabilities(arrays, target, grid=grid, labels=wanted, source=image.source)
    return [target]


def _labels(source: Path, count: int, settings: ConversionSettings) -> tuple[Label, ...]:
    """Find the names: as given, else beside the file, else beside the label map that `volseg predict` wrote there."""
    given = [] if settings.labels is None else [Path(settings.labels)]
    candidates = [*given, sidecar_path(source), source.with_name("labels.tsv")]
    table = next((path for path in candidates if path.is_file()), None)
    if table is None:
        raise UsageError(f"{source}: no table of label names lies beside it; give one as labels (--labels)")
    labels = read_label_table(table)
    if len(labels) != count:
        raise InputError(f"{source}: holds {count} volumes, but {table} names {len(labels)} labels; expected one each")
    return labels


def _to_nifti(found: Catalogue, target: Path, settings: ConversionSettings) -> list[Path]:
    from volseg.io.dicom import read_dicom_probabilities
    from volseg.io.images.nifti import write_nifti

    check_free([sidecar_path(target)], overwrite=settings.overwrite)
    source = found.path
    objects = found.dicom.labels if found.is_dicom else []
    if len(objects) != 1:
        raise UsageError(f"{source}: --as {FRACTIONAL} to NIfTI needs one DICOM segmentation; found {len(objects)}")
    volumes = read_dicom_probabilities(objects[0].file, image=read_image(found, target, settings))
    labels = [Label(value, name, default_colour(value, name)) for value, name in enumerate(volumes, start=1)]
    wanted = LabelChoice(settings.only).of(labels, source)
    stack = np.stack([volumes[label.name].array for label in wanted], axis=-1)
    write_nifti(stack, next(iter(volumes.values())).grid, target)
    write_label_table(keep_colours_apart(wanted), sidecar_path(target))
    return [target, sidecar_path(target)]
