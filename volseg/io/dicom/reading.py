"""Read DICOM image series as volumes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.volume import Volume
from volseg.core.voxels import clean_values
from volseg.errors import GeometryError, InputError
from volseg.files.door import door
from volseg.files.names import case_name
from volseg.io.dicom.pixels import read_values
from volseg.io.dicom.repair import Repair, plan_repair, resample
from volseg.io.dicom.series import Series
from volseg.io.dicom.source import DicomSource, SourceFrame
from volseg.io.dicom.stack import Stack, check_stack, make_stack

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How a series will be read.

    Parameters
    ----------
    stack : Stack
        The slices in order.
    grid : Grid
        Grid of the volume.
    repair : Repair, optional
        How the slices are resampled onto the grid; None if they form it already.
    """

    stack: Stack
    grid: Grid
    repair: Repair | None


@door
def read_stack(series: Series, path: Path, *, strict: bool = False) -> Volume:
    """Read a series as a volume.

    Parameters
    ----------
    series : Series
        The headers of the series.
    path : Path
        The path of the series; it gives the volume its name if the series has no description.
    strict : bool
        Refuse a stack that is tilted, uneven or incomplete instead of resampling it.

    Returns
    -------
    Volume
        ``array[i, j, k]`` is the pixel in column i and row j of slice k, slices ascending along their normal; after
        RescaleSlope and RescaleIntercept. Integers if these are whole numbers, else float32. `source` is a
        `DicomSource`.

    Raises
    ------
    InputError
        A damaged file, an image that is not a slice of a volume, missing geometry, a repeated slice, slices that are
        rotated or too far apart, a failure of the decoders.
    MissingPackageError
        The pixels are compressed and no installed package decodes them.
    """
    plan = arrange(series)
    first = plan.stack.frames[0]
    for copy in series.copies:
        _LOG.warning("%s: a copy of another file of the series; left out", copy)
    for note in filter(None, (*series.notes, plan.stack.rounding_note)):
        _LOG.warning("%s: %s", first, note)
    if plan.repair is not None:
        if strict:
            raise InputError(
                f"{first.file.folder}: {plan.repair.what}; refused, as repairs are switched off (--strict)"
            )
        _LOG.warning("%s: %s", first.file.folder, plan.repair.describe())
    if first.inverted:
        _LOG.warning("%s: MONOCHROME1, dark pixels have high values; values are kept as stored", first)
    values = read_values(plan.stack.frames)
    if values.dtype.kind == "f":
        values = clean_values(values, first.file.path)
    return Volume(
        values if plan.repair is None else _resampled(values, plan.repair),
        plan.grid,
        name=series.name or "_".join(filter(None, (case_name(path), series.label))),
        modality=series.modality or None,
        unit=series.unit,
        source=_source(plan.stack),
    )


def arrange(series: Series) -> Arrangement:
    """Plan the reading of a series from its headers alone.

    Raises
    ------
    InputError
        The series would be refused.
    """
    if series.problem:
        raise InputError(series.problem)
    for header in series.frames:
        if header.refusal is not None:
            raise InputError(f"{header}: {header.refusal}")
    stack = make_stack(series.frames)
    check_stack(stack)
    repair = plan_repair(stack)
    try:
        return Arrangement(stack, stack.grid if repair is None else repair.grid, repair)
    except GeometryError as error:
        raise InputError(f"{series.frames[0]}: {error}") from error


def _resampled(values: NDArray[Any], repair: Repair) -> NDArray[Any]:
    padding = [
        frame.padding * frame.slope + frame.intercept for frame in repair.stack.frames if frame.padding is not None
    ]
    lowest = float(values.min())
    # No slice reaches the background, so it gets the padding value if that occurs, else the lowest value.
    background = padding[0] if padding and lowest <= padding[0] <= float(values.max()) else lowest
    return resample(repair, lambda k: values[:, :, k], background)


def _source(stack: Stack) -> DicomSource:
    first = stack.frames[0]
    frames = []
    for header, plane in zip(stack.frames, stack.planes, strict=True):
        upright = plane.copy()
        upright[:3, 2] = stack.normal
        frames.append(
            SourceFrame(
                file=header.file,
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.sop_instance_uid,
                frame=header.frame_number,
                columns=header.columns,
                rows=header.rows,
                plane=RAS_TO_LPS @ upright,
            )
        )
    return DicomSource(first.study_uid, first.series_uid, first.frame_of_reference_uid, tuple(frames))
