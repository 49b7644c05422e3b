"""NIfTI-1 and NIfTI-2, single files and .hdr/.img pairs, plain or gzipped (recognised by content, not by name).

The header is checked in `volseg.io.images.nifti_header` before memory is taken here. The voxels of a gzip are read to
the end of the stream, because its checksum is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.core.voxels import clean_values
from volseg.errors import InputError
from volseg.files.atomic import atomic_path
from volseg.files.streams import compressed, opened, read_tail
from volseg.io.images.nifti_header import NiftiHeader, read_header

_CHUNK = 1 << 24


class NiftiFile:
    """A NIfTI file whose header has been read: an `ImageFile`.

    Parameters
    ----------
    header : NiftiHeader
        Says where the voxels are and how they are stored.
    """

    def __init__(self, header: NiftiHeader) -> None:
        self._header = header
        self.grid, self.names = header.grid, header.names

    @property
    def dtype(self) -> str:
        """Type of the values as they are read: as stored where no scaling is set, else float32."""
        return "float32" if self._header.dtype.kind == "f" or self._header.is_scaled else self._header.dtype.name

    def read(self, first: int, count: int) -> list[Volume]:
        """Read volumes: arrays (I, J, K) in F-order, views of one array where no value has to be converted.

        Raises
        ------
        InputError
            The file is cut off or damaged, or does not fit into memory.
        """
        voxels = _read_voxels(self._header, first, count)
        return [_volume(self._header, voxels[..., n], name=self.names[first + n]) for n in range(count)]


def open_image(path: Path) -> NiftiFile:
    """Read the header of a NIfTI file.

    Parameters
    ----------
    path : Path
        ``.nii``, ``.nii.gz``, or either file of a ``.hdr``/``.img`` pair.

    Returns
    -------
    NiftiFile
        The grid comes from the sform if its code is positive, else from the qform, else from the voxel sizes with a
        warning; a qform that contradicts the sform is a warning. A 2D image is one slice.

    Raises
    ------
    InputError
        Not NIfTI, damaged, complex or RGB, or more than five dimensions.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    return NiftiFile(read_header(path))


def write_image(volume: Volume, path: Path) -> None:
    """Write a scan; see `write_nifti`.

    Parameters
    ----------
    volume : Volume
    path : Path
        The suffix decides whether the file is compressed.
    """
    write_nifti(volume.array, volume.grid, path)


def write_nifti(array: NDArray[Any], grid: Grid, path: Path) -> None:
    """Write an array as ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    array : (I, J, K) or (I, J, K, N) real numbers
        Written in its own type (bool as uint8, float16 as float32).
    grid : Grid
        Written into the sform, and also into the qform if its axes are perpendicular (a qform cannot hold shear).
    path : Path
        The suffix decides whether the file is compressed.

    Raises
    ------
    OutputError
        The file cannot be written; no incomplete file is left.
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


def _read_voxels(header: NiftiHeader, first: int, count: int) -> NDArray[Any]:
    """Read `count` volumes from number `first` on: (I, J, K, count) as stored, in the byte order of this machine."""
    path = header.data_path
    try:
        flat = np.empty(count * header.volume_size // header.dtype.itemsize, dtype=header.dtype)
    except MemoryError as error:
        raise InputError(
            f"{path}: needs {count * header.volume_size / 2**30:.1f} GiB of memory, more than is available"
        ) from error
    view = memoryview(flat.view(np.uint8).data)
    with opened(path) as stream:
        stream.seek(header.offset + first * header.volume_size)
        filled = 0
        while filled < len(view):
            got = stream.readinto(view[filled : filled + _CHUNK])
            if not got:
                raise EOFError(f"{len(view) - filled} bytes are missing")
            filled += got
        read_tail(stream, path, after=(header.volumes - first - count) * header.volume_size)
    if not flat.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(flat.dtype.newbyteorder())
    return flat.reshape((*header.grid.shape, count), order="F")


def _volume(header: NiftiHeader, stored: NDArray[Any], *, name: str) -> Volume:
    values = stored
    if header.is_scaled:
        values = np.empty_like(stored, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(stored.shape[2]):
                values[:, :, k] = stored[:, :, k].astype(np.float64) * header.slope + header.intercept
    return Volume(clean_values(values, header.path), header.grid, name)
