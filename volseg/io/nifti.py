"""NIfTI-1 and NIfTI-2, single files and .hdr/.img pairs, plain or gzipped (told by content, not by name).

nibabel decodes the header; what it promises is checked here before anything is allocated, and the voxels are read to
the end of the stream, because gzip checks its sum only there. The world is nibabel's and NIfTI's: mm, RAS+.
"""

from __future__ import annotations

import gzip
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from volseg.errors import AmbiguousError, InputError
from volseg.geometry import Float, Grid
from volseg.io.atomic import atomic_path
from volseg.io.names import case_name, has_suffix
from volseg.io.streams import compressed, opened
from volseg.io.voxels import clean_values, make_grid
from volseg.volume import Volume

_LOG = logging.getLogger(__name__)
_CHUNK = 1 << 24
_MAGICS = {348: (slice(344, 347), (b"n+1", b"ni1")), 540: (slice(4, 7), (b"n+2", b"ni2"))}
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
_MAX_DEFLATE_RATIO = 1032


@dataclass(frozen=True)
class _Header:
    path: Path
    data_path: Path
    grid: Grid
    volumes: int
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.grid.shape) * self.volumes * self.dtype.itemsize


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file that holds one volume.

    Parameters
    ----------
    path : Path
        ``.nii``, ``.nii.gz``, or either file of a ``.hdr``/``.img`` pair.

    Returns
    -------
    Volume
        Array (I, J, K) as stored (F-order): integers where no scaling is set, else float32. The grid comes from the
        sform if its code is positive, else from the qform, else from the voxel sizes with a warning. A 2D image is
        one slice.

    Raises
    ------
    AmbiguousError
        The file holds several volumes.
    InputError
        Not NIfTI, damaged, cut off, complex or RGB, or more than four dimensions.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    header = _read_header(path)
    if header.volumes > 1:
        names = ", ".join(_volume_names(path, header.volumes)[:3])
        raise AmbiguousError(
            f"{path}: holds {header.volumes} volumes ({names}{', ...' if header.volumes > 3 else ''}); choose one of "
            "them by its name (--series NAME)"
        )
    return _volume(header, _read_voxels(header)[..., 0], name=case_name(path))


def read_nifti_all(path: Path) -> dict[str, Volume]:
    """Read every volume of a 3D or 4D NIfTI file: ``<stem>``, or ``<stem>_0``, ``<stem>_1``, ... ; see `read_nifti`."""
    header = _read_header(path)
    voxels = _read_voxels(header)
    names = _volume_names(path, header.volumes)
    return {name: _volume(header, voxels[..., n], name=name) for n, name in enumerate(names)}


def read_nifti_grid(path: Path) -> Grid:
    """Read only the grid, from the header; the volumes of a 4D file share it."""
    return _read_header(path).grid


def count_nifti_volumes(path: Path) -> int:
    """Read only how many volumes the file holds, from the header."""
    return _read_header(path).volumes


def write_nifti(array: NDArray[Any], grid: Grid, path: Path) -> None:
    """Write an array as ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    array : (I, J, K) or (I, J, K, N) real numbers
        Written in its own type (bool as uint8, float16 as float32).
    grid : Grid
        Goes into the sform, and into the qform too where its axes are perpendicular (a qform cannot hold shear).
    path : Path
        The suffix decides whether it is compressed.

    Raises
    ------
    OutputError
        The file cannot be written; nothing is left half-written.
    """
    stored_as: dict[str, np.dtype[Any]] = {"b1": np.dtype(np.uint8), "f2": np.dtype(np.float32)}
    dtype = stored_as.get(array.dtype.str[1:], array.dtype)
    header = nibabel.Nifti1Header() if max(array.shape) < 2**15 else nibabel.Nifti2Header()
    header.set_data_shape(array.shape)
    header.set_data_dtype(dtype.newbyteorder("="))
    header.set_xyzt_units("mm")
    header.set_qform(grid.affine, code=0 if grid.is_sheared else 1)
    header.set_sform(grid.affine, code=1)
    header["vox_offset"] = header.single_vox_offset
    slabs = array[..., None] if array.ndim == 3 else array
    with atomic_path(path) as temporary, temporary.open("wb") as file, compressed(file, path) as stream:
        stream.write(header.binaryblock + bytes(4))
        for index in np.ndindex(slabs.shape[:1:-1]):
            slab = slabs[(slice(None), slice(None), *index[::-1])]
            stream.write(slab.astype(header.get_data_dtype(), copy=False).tobytes(order="F"))


def _read_header(path: Path) -> _Header:
    path = _header_path(path)
    with opened(path) as stream:
        block = stream.read(540)
    raw, single = _decode(block, path)
    if 3000 <= int(raw["intent_code"]) < 3100:
        raise InputError(f"{path}: is CIFTI, not a volume; expected an image on a voxel grid")
    shape = _shape(raw, path)
    data_path = path if single else _sibling(path, ".img")
    header = _Header(
        path,
        data_path,
        make_grid((shape[0], shape[1], shape[2]), _affine(raw, path), path),
        shape[3],
        _dtype(raw, path),
        _offset(raw, 352 if single else 0, path),
        *_scaling(raw),
    )
    _check_size(header)
    return header


def _header_path(path: Path) -> Path:
    return _sibling(path, ".hdr") if has_suffix(path, (".img", ".img.gz")) else path


def _sibling(path: Path, suffix: str) -> Path:
    """Find the other file of a .hdr/.img pair; either may be gzipped."""
    candidates = [path.with_name(case_name(path) + suffix + zipped) for zipped in ("", ".gz")]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise InputError(f"{path}: is half of a .hdr/.img pair; expected {candidates[0].name} beside it")
    return found


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
            kind = nibabel.Nifti1Header if size == 348 else nibabel.Nifti2Header
            return kind(block[:size], endianness=endianness, check=False), block[where][1:2] == b"+"
        if size == 348:
            raise InputError(f"{path}: is Analyze 7.5, which does not say left from right; convert it to NIfTI")
    raise InputError(f"{path}: is not NIfTI; expected a NIfTI-1 or NIfTI-2 header")


def _shape(raw: Any, path: Path) -> tuple[int, int, int, int]:
    count = int(raw["dim"][0])
    sizes = [int(n) for n in raw["dim"][1 : 1 + max(count, 0)]]
    if not 2 <= count <= 7 or min(sizes) < 1:
        raise InputError(f"{path}: has dimensions {sizes if 1 <= count <= 7 else count}; expected 2 to 4 of at least 1")
    while len(sizes) > 4 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 4:
        raise InputError(f"{path}: has {len(sizes)} dimensions {sizes}; expected at most 4 (volumes on one grid)")
    sizes += [1] * (4 - len(sizes))
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _dtype(raw: Any, path: Path) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(raw.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise InputError(f"{path}: has the unknown voxel type {int(raw['datatype'])}; the header is damaged") from error
    if dtype.kind not in "iuf":
        name = nibabel.nifti1.data_type_codes.label[int(raw["datatype"])]
        raise InputError(f"{path}: has {name} voxels; expected one real number a voxel")
    if int(raw["bitpix"]) != 8 * dtype.itemsize:
        raise InputError(f"{path}: says {dtype} with {int(raw['bitpix'])} bits a voxel; the header is damaged")
    return dtype


def _offset(raw: Any, least: int, path: Path) -> int:
    offset = float(raw["vox_offset"])
    if not (np.isfinite(offset) and offset >= least):
        raise InputError(f"{path}: voxels start at byte {offset:g}; expected at least {least}; the header is damaged")
    return int(offset)


def _scaling(raw: Any) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN means none, and then the intercept is void too."""
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _affine(raw: Any, path: Path) -> Float:
    """Voxel index -> mm, RAS+: sform, else qform, else voxel sizes (NIfTI-1 standard, methods 3, 2, 1)."""
    if int(raw["dim"][0]) == 2 and not raw["pixdim"][3] > 0:
        raw["pixdim"][3] = 1  # a 2D image need not say how thick its slice is
    if int(raw["sform_code"]) > 0:
        affine = raw.get_sform()
    elif int(raw["qform_code"]) > 0:
        # The standard: any qfac but -1 counts as 1. nibabel refuses 0.
        raw["pixdim"][0] = -1 if raw["pixdim"][0] < 0 else 1
        try:
            affine = raw.get_qform()
        except (HeaderDataError, ValueError) as error:
            raise InputError(f"{path}: has an impossible qform ({error}); the header is damaged") from error
    else:
        _LOG.warning(
            "%s: has no orientation (qform and sform code 0); taken as RAS, left and right may be swapped", path
        )
        affine = np.diag([*np.asarray(raw["pixdim"][1:4], dtype=np.float64), 1.0])
    affine = np.array(affine, dtype=np.float64)
    affine[:3] *= _MM_PER_UNIT.get(int(raw["xyzt_units"]) & 7, 1.0)
    return affine


def _check_size(header: _Header) -> None:
    """Refuse a header that promises more than its file can hold, before memory is taken."""
    with opened(header.data_path) as stream:
        ratio = _MAX_DEFLATE_RATIO if isinstance(stream, gzip.GzipFile) else 1
    needed, there = header.offset + header.size, header.data_path.stat().st_size
    if needed > ratio * there:
        raise InputError(
            f"{header.data_path}: its header asks for {needed} bytes, the file has {there}"
            f"{' compressed' if ratio > 1 else ''}; it is cut off or damaged"
        )


def _read_voxels(header: _Header) -> NDArray[Any]:
    """Read (I, J, K, N) as stored."""
    flat = np.empty(header.size // header.dtype.itemsize, dtype=header.dtype)
    view = memoryview(flat.view(np.uint8).data)
    with opened(header.data_path) as stream:
        stream.seek(header.offset)
        filled = 0
        while filled < len(view):
            got = stream.readinto(view[filled : filled + _CHUNK])
            if not got:
                raise EOFError(f"{len(view) - filled} bytes are missing")
            filled += got
        while stream.read(_CHUNK):
            pass
    return flat.reshape((*header.grid.shape, header.volumes), order="F")


def _volume(header: _Header, stored: NDArray[Any], *, name: str) -> Volume:
    values = stored
    if (header.slope, header.intercept) != (1.0, 0.0):
        values = np.empty_like(stored, dtype=np.float32)
        with np.errstate(over="ignore"):
            for k in range(stored.shape[2]):
                values[:, :, k] = stored[:, :, k].astype(np.float64) * header.slope + header.intercept
    return Volume(clean_values(values, header.path), header.grid, name)


def _volume_names(path: Path, count: int) -> list[str]:
    stem = case_name(path)
    return [stem] if count == 1 else [f"{stem}_{n}" for n in range(count)]
