"""NIfTI-1 and NIfTI-2 headers, decoded by nibabel; their sizes are checked before any memory is taken.

The world is that of nibabel and NIfTI: mm, RAS+. Source: nifti1.h and nifti2.h, https://nifti.nimh.nih.gov.
"""

from __future__ import annotations

import gzip
import logging
import math
import struct
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from volseg.core.grid import Float, Grid
from volseg.core.voxels import make_grid
from volseg.errors import GeometryError, InputError
from volseg.files.door import door
from volseg.files.names import case_name, has_suffix
from volseg.files.streams import check_growth, check_promise, opened, read_exactly
from volseg.io.images.named_volumes import volume_names

_LOG = logging.getLogger(__name__)
_MAGICS = {348: (slice(344, 347), (b"n+1", b"ni1")), 540: (slice(4, 7), (b"n+2", b"ni2"))}
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
_MOST_VOLUMES = 100_000
_MOST_EXTENSIONS = 1000
_FLOAT32_BYTES = 4
_FORMS_AGREE_VOXELS = 0.1


@dataclass(frozen=True)
class NiftiHeader:
    """The checked contents of a header.

    Parameters
    ----------
    path, data_path : Path
        The file with the header and the one with the voxels; they differ only for a ``.hdr``/``.img`` pair.
    grid : Grid
        Of one volume, mm, RAS+.
    repeats : tuple of int
        Number of volumes along the fourth and fifth dimension; () for a single volume.
    dtype : dtype
        As stored, in the file's byte order.
    offset : int
        Byte at which the voxels begin.
    slope, intercept : float
        value = slope * stored + intercept.
    """

    path: Path
    data_path: Path
    grid: Grid
    repeats: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float

    @property
    def volumes(self) -> int:
        """Number of volumes in the file."""
        return math.prod(self.repeats)

    @property
    def volume_size(self) -> int:
        """Bytes of one volume."""
        return math.prod(self.grid.shape) * self.dtype.itemsize

    @property
    def is_scaled(self) -> bool:
        """Whether the values differ from the stored numbers."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def converted_size(self) -> int:
        """Bytes that one volume takes besides the stored numbers: float32, if the numbers are converted."""
        converted = self.is_scaled or (self.dtype.kind == "f" and self.dtype.itemsize != _FLOAT32_BYTES)
        return math.prod(self.grid.shape) * _FLOAT32_BYTES if converted else 0

    @property
    def names(self) -> list[str]:
        """Name of each volume in the file's order; see `volume_names`."""
        return volume_names(self.path, *self.repeats)


@door
def read_header(path: Path) -> NiftiHeader:
    """Read and check the header of a NIfTI file, or of either file of a pair.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The file is not NIfTI, is damaged, has voxels that are not one real number each, more than five dimensions, or
        more voxels than it can hold.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    path = _sibling(path, ".hdr") if has_suffix(path, (".img", ".img.gz")) else path
    with opened(path) as stream:
        block = stream.read(540)
    raw, single = _decode(block, path)
    if 3000 <= int(raw["intent_code"]) < 3100:
        raise InputError(f"{path}: is CIFTI, not a volume; expected an image on a voxel grid")
    shape, repeats = _shape(raw, path)
    with np.errstate(all="ignore"):  # damaged floats may have any value; the results are checked
        header = NiftiHeader(
            path,
            path if single else _sibling(path, ".img"),
            _grid(raw, shape, path),
            repeats,
            _dtype(raw, path),
            _offset(raw, raw.single_vox_offset if single else 0, path),
            *_scaling(raw),
        )
    _check_size(header)
    if single:
        _extensions(raw, header.offset, path)
    return header


def find_extensions(path: Path) -> list[tuple[int, int]]:
    """Find the extensions in the header of a single NIfTI file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of (int, int)
        First byte and length of each content; empty for a ``.hdr``/``.img`` pair.

    Raises
    ------
    InputError
        The file is not NIfTI, or the extensions do not fit into it.
    """
    with opened(path) as stream:
        block = stream.read(540)
    raw, single = _decode(block, path)
    return _extensions(raw, _offset(raw, raw.single_vox_offset, path), path) if single else []


def _sibling(path: Path, suffix: str) -> Path:
    """Find the other file of a .hdr/.img pair; either may be gzipped."""
    name = (case_name(path) + suffix).casefold()
    for file in sorted(path.parent.iterdir()):
        if file.name.casefold() in (name, f"{name}.gz"):
            return file
    raise InputError(f"{path}: is half of a .hdr/.img pair; expected {case_name(path)}{suffix} beside it")


def _decode(block: bytes, path: Path) -> tuple[Any, bool]:
    """Return nibabel's view of the header bytes, and whether the voxels follow in the same file."""
    if not block:
        raise InputError(f"{path}: is empty; expected a NIfTI image")
    for endianness, order in (("<", "little"), (">", "big")):
        size = int.from_bytes(block[:4], order)  # type: ignore[arg-type]
        if size not in _MAGICS or len(block) < size:
            continue
        where, known = _MAGICS[size]
        if block[where] in known:
            kind: type[nibabel.Nifti1Header] = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
            return kind(block[:size], endianness=endianness, check=False), block[where][1:2] == b"+"
        if size == 348:
            raise InputError(
                f"{path}: is Analyze 7.5, which does not say left from right; convert it to NIfTI with the program "
                "that wrote it, or from the original DICOM"
            )
    raise InputError(f"{path}: is not NIfTI; expected a NIfTI-1 or NIfTI-2 header")


def _shape(raw: Any, path: Path) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Return the size of a volume, and the number of volumes along each further dimension."""
    count = int(raw["dim"][0])
    sizes = [int(n) for n in raw["dim"][1 : 1 + max(count, 0)]]
    while len(sizes) > 3 and sizes[-1] in (0, 1):  # some writers count empty dimensions
        sizes.pop()
    if not 2 <= count <= 7 or min(sizes) < 1:
        raise InputError(f"{path}: has dimensions {sizes if 1 <= count <= 7 else count}; expected 2 to 5 of at least 1")
    if len(sizes) > 5:
        raise InputError(f"{path}: has {len(sizes)} dimensions {sizes}; expected at most 5 (volumes on one grid)")
    if math.prod(sizes[3:]) > _MOST_VOLUMES:
        raise InputError(f"{path}: holds {math.prod(sizes[3:])} volumes; expected at most {_MOST_VOLUMES}")
    i, j, k = (*sizes[:3], 1)[:3]
    return (i, j, k), tuple(sizes[3:])


def _dtype(raw: Any, path: Path) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(raw.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise InputError(f"{path}: has the unknown voxel type {int(raw['datatype'])}; the header is damaged") from error
    if dtype.kind not in "iuf":
        name = nibabel.nifti1.data_type_codes.label[int(raw["datatype"])]
        what = "this machine's floats are at most float64" if name == "float128" else "expected one real number a voxel"
        raise InputError(f"{path}: has {name} voxels; {what}")
    if int(raw["bitpix"]) != 8 * dtype.itemsize:
        raise InputError(f"{path}: says {dtype} with {int(raw['bitpix'])} bits a voxel; the header is damaged")
    return dtype


def _offset(raw: Any, least: int, path: Path) -> int:
    offset = float(raw["vox_offset"])
    if not (offset >= least and offset.is_integer()):
        raise InputError(
            f"{path}: voxels start at byte {offset:g}; expected a whole number of at least {least}; the header is "
            "damaged"
        )
    return int(offset)


def _scaling(raw: Any) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0 or NaN means no scaling, and then the intercept is ignored too."""
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _grid(raw: Any, shape: tuple[int, int, int], path: Path) -> Grid:
    """Return the grid (mm, RAS+) by the sform, or the qform, or the voxel sizes (NIfTI-1, methods 3, 2, 1)."""
    if int(raw["dim"][0]) == 2 and not raw["pixdim"][3] > 0:
        raw["pixdim"][3] = 1  # a 2D image may leave out the thickness of its slice
    if int(raw["sform_code"]) > 0:
        grid = make_grid(shape, _in_mm(raw.get_sform(), raw), path)
        if int(raw["qform_code"]) > 0:
            _compare_qform(raw, grid, path)
        return grid
    if int(raw["qform_code"]) > 0:
        return make_grid(shape, _qform(raw, path), path)
    _LOG.warning("%s: has no orientation (qform and sform code 0); taken as RAS, left and right may be swapped", path)
    sizes = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64))
    return make_grid(shape, _in_mm(np.diag([*sizes, 1.0]), raw), path)


def _qform(raw: Any, path: Path) -> Float:
    # By the standard every qfac except -1 counts as 1. nibabel refuses 0.
    raw["pixdim"][0] = -1 if raw["pixdim"][0] < 0 else 1
    try:
        return _in_mm(raw.get_qform(), raw)
    except (HeaderDataError, ValueError) as error:
        raise InputError(f"{path}: has an impossible qform ({error}); the header is damaged") from error


def _in_mm(affine: Float, raw: Any) -> Float:
    """Apply the header's unit of length, which nibabel ignores; an unknown unit counts as mm."""
    affine = np.array(affine, dtype=np.float64)
    affine[:3] *= _MM_PER_UNIT.get(int(raw["xyzt_units"]) & 7, 1.0)
    return affine


def _compare_qform(raw: Any, grid: Grid, path: Path) -> None:
    """Warn if the unused qform puts the voxels in another place, as other programs may use it."""
    try:
        other = make_grid(grid.shape, _qform(raw, path), path)
    except (InputError, GeometryError) as error:
        _LOG.warning("%s (that is its qform; the sform is used)", error)
        return
    distance = grid.distance_mm(other)
    if distance > _FORMS_AGREE_VOXELS * min(grid.spacing):
        _LOG.warning(
            "%s: its sform (code %d) and qform (code %d) differ by up to %.3g mm; the sform is used",
            path,
            int(raw["sform_code"]),
            int(raw["qform_code"]),
            distance,
        )


def _check_size(header: NiftiHeader) -> None:
    """Refuse a header that promises more than its file can hold, before memory is taken."""
    with opened(header.data_path) as stream:
        zipped = isinstance(stream, gzip.GzipFile)
    needed = header.offset + header.volumes * header.volume_size
    there = header.data_path.stat().st_size
    check_promise(header.data_path, needed, there, zipped=zipped)
    if zipped:
        check_growth(header.data_path, needed + header.volumes * header.converted_size, there)


def _extensions(raw: Any, offset: int, path: Path) -> list[tuple[int, int]]:
    """Find the header extensions; refuse extensions that overlap the voxels."""
    first = raw.single_vox_offset
    with opened(path) as stream:
        stream.seek(first - 4)
        if read_exactly(stream, 4)[:1] == b"\0":
            return []
        found = _walk(stream, first, offset, raw.endianness)
    if found is None:
        raise InputError(
            f"{path}: announces header extensions that do not fit between byte {first} and its first voxel "
            f"at byte {offset}; the header is damaged"
        )
    return found


def _walk(stream: BufferedIOBase, start: int, stop: int, endianness: str) -> list[tuple[int, int]] | None:
    """Return first byte and length of each extension (int32 size, int32 code, content); None if they do not fit."""
    found: list[tuple[int, int]] = []
    while stop - start >= 16 and len(found) <= _MOST_EXTENSIONS:
        size, code = struct.unpack(endianness + "2i", read_exactly(stream, 8))
        if size == code == 0:
            return found  # padding up to the voxels
        if size < 16 or start + size > stop:
            return None
        found.append((start + 8, size - 8))
        start += size
        stream.seek(start)
    return found if 0 < len(found) <= _MOST_EXTENSIONS else None
