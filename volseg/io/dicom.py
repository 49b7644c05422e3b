"""Read DICOM image series as volumes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from filecmp import cmp
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import get_decoder, pixel_array

from volseg.errors import InputError, MissingPackageError
from volseg.io.dicom_grid import order_slices
from volseg.io.dicom_header import DAMAGE, SliceHeader, quiet_pydicom
from volseg.io.dicom_series import Scan, Series, choose_series, is_dicom, list_series, scan_dicom
from volseg.io.names import case_name
from volseg.volume import Volume

__all__ = [
    "DicomSource",
    "Scan",
    "Series",
    "is_dicom",
    "list_series",
    "read_all_series",
    "read_series",
    "read_stack",
    "scan_dicom",
]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DicomSource:
    """The files of a volume: one instance UID and path a slice, in the order of the third array axis."""

    series_uid: str
    frame_of_reference_uid: str
    sop_instance_uids: tuple[str, ...]
    paths: tuple[str, ...]


def read_series(path: Path, *, series: str | None = None) -> Volume:
    """Read one series of a DICOM file or folder.

    Parameters
    ----------
    path : Path
        A file (one slice) or a folder, searched at any depth.
    series : str, optional
        Which series, where there are several: full id, number, exact description, or an ending of the id.

    Returns
    -------
    Volume
        ``array[i, j, k]`` is the pixel in column i and row j of slice k, slices ascending along their normal; after
        RescaleSlope and RescaleIntercept. Integers where these are whole numbers, else float32.

    Raises
    ------
    AmbiguousError
        Several series, or several that fit; lists them.
    InputError
        No such file or series, a damaged file, an image that is no slice of a volume, missing geometry, a missing or
        repeated slice, uneven spacing.
    MissingPackageError
        The pixels are compressed and no installed package decodes them.
    """
    return read_stack(choose_series(list_series(path), path, series), path)


def read_all_series(path: Path) -> dict[str, Volume]:
    """Read every series of a DICOM file or folder that is a volume; one that is not is left out with a warning.

    Returns
    -------
    dict of name -> Volume
        Names are the series descriptions, with the number, then a count, behind them where they repeat.

    Raises
    ------
    InputError
        None can be read (the first reason), or as `list_series`.
    """
    volumes: dict[str, Volume] = {}
    refusals: list[InputError] = []
    for series in list_series(path):
        try:
            volume = read_stack(series, path)
        except InputError as error:
            refusals.append(error)
            continue
        name = _unique(str(volume.name), series.number, volumes)
        volumes[name] = replace(volume, name=name)
    if refusals and not volumes:
        raise refusals[0]
    for refusal in refusals:
        _LOG.warning("left out: %s", refusal)
    return volumes


def read_stack(series: Series, path: Path) -> Volume:
    """Read the volume that a series is; `path`, where it was found, names it if it has no description.

    Raises
    ------
    InputError, MissingPackageError
        As `read_series`.
    """
    for header in series.slices:
        if header.refusal is not None:
            raise InputError(f"{header.path}: {header.refusal}")
    slices, grid = order_slices(_without_copies(series.slices))
    if slices[0].inverted:
        _LOG.warning("%s: MONOCHROME1, dark pixels have high values; values are kept as stored", slices[0].path)
    source = DicomSource(
        series_uid=slices[0].series_uid,
        frame_of_reference_uid=slices[0].frame_of_reference_uid,
        sop_instance_uids=tuple(header.sop_instance_uid for header in slices),
        paths=tuple(str(header.path) for header in slices),
    )
    return Volume(
        _read_values(slices),
        grid,
        name=series.description or case_name(path),
        modality=series.modality or None,
        unit=slices[0].unit,
        source=source,
    )


def _unique(name: str, number: str, taken: dict[str, Volume]) -> str:
    candidates = [name, f"{name}_{number}", *(f"{name}_{number}_{count}" for count in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)


def _without_copies(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Drop files that are byte for byte another file of the series; other repetitions are left to be refused."""
    by_instance: dict[object, list[SliceHeader]] = {}
    for header in slices:
        by_instance.setdefault((header.sop_instance_uid, header.position), []).append(header)
    copies = {
        other.path
        for same in by_instance.values()
        for one, other in combinations(same, 2)
        if cmp(one.path, other.path, shallow=False)
    }
    for copy in sorted(copies):
        _LOG.warning("%s: a copy of another file of the series; left out", copy)
    return [header for header in slices if header.path not in copies]


def _read_values(slices: Sequence[SliceHeader]) -> NDArray[Any]:
    """(I, J, K) rescaled values, slice by slice into one array."""
    dtype = _value_type(slices)
    array = np.empty((slices[0].columns, slices[0].rows, len(slices)), dtype, order="F")
    for k, header in enumerate(slices):
        pixels = _read_pixels(header)
        if dtype.kind == "f":
            array[:, :, k] = (pixels * header.slope + header.intercept).T
            continue
        values = pixels.astype(np.int64) + int(header.intercept)
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise InputError(f"{header.path}: values go beyond the {header.bits} bits that its BitsStored promises")
        array[:, :, k] = values.T
    return array


def _value_type(slices: Sequence[SliceHeader]) -> np.dtype[Any]:
    """Return the smallest type that holds every value that the headers allow."""
    for header in slices:
        if header.slope == 0:
            raise InputError(f"{header.path}: RescaleSlope is 0, which makes all values equal; expected another number")
    if any(header.slope != 1 or header.intercept != round(header.intercept) for header in slices):
        return np.dtype(np.float32)
    lowest = min((-(2 ** (h.bits - 1)) if h.signed else 0) + h.intercept for h in slices)
    highest = max(2 ** (h.bits - 1 if h.signed else h.bits) - 1 + h.intercept for h in slices)
    for bits in (16, 32):
        if -(2 ** (bits - 1)) <= lowest and highest < 2 ** (bits - 1):
            return np.dtype(f"int{bits}")
    return np.dtype(np.int64)


def _read_pixels(header: SliceHeader) -> NDArray[Any]:
    """(rows, columns) stored values of one file."""
    try:
        with quiet_pydicom():
            dataset = pydicom.dcmread(header.path)
            _require_decoder(header.path, dataset)
            pixels: NDArray[Any] = pixel_array(dataset)
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{header.path}: the pixels cannot be decoded ({reason}); copy the file again") from error
    if pixels.shape != (header.rows, header.columns):
        raise InputError(
            f"{header.path}: the pixels decode to shape {pixels.shape}; expected {header.rows} rows, {header.columns} "
            "columns"
        )
    return pixels


def _require_decoder(path: Path, dataset: Any) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax)
    if not decoder.is_available:
        packages = "; or ".join(decoder.missing_dependencies)
        raise MissingPackageError(f"{path}: the pixels are compressed with {syntax.name}; install {packages}")
