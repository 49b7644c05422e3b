"""MGH and MGZ, the format of FreeSurfer, by nibabel's `MGHImage`; gzip is recognised by content, not by name.

MGH differs from NIfTI only in the header, so the voxels are read by `NiftiFile`. The world is mm, RAS+, in both. The
header is checked before memory is taken. Source: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat.
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.core.voxels import make_grid
from volseg.errors import InputError, OutputError
from volseg.files.atomic import atomic_path
from volseg.files.door import door
from volseg.files.streams import check_promise, compressed, opened
from volseg.io.images.nifti import NiftiFile
from volseg.io.images.nifti_header import NiftiHeader

_LOG = logging.getLogger(__name__)
_FIRST_VOXEL = 284
_VERSION = 1
# The types that FreeSurfer and nibabel both read; uint16 is known only to their newer versions.
_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_WRITTEN_AS = {"b1": "u1", "u1": "u1", "i1": "i2", "i2": "i2", "f2": "f4", "f4": "f4", "f8": "f4", "f16": "f4"}
_MOST_VOLUMES = 100_000
_LONGEST_LINE = 500  # the smallest FreeSurfer surface, of fsaverage3, has 642 vertices
_SIZES_AGREE = 1e-3
# FreeSurfer's default: the axes run to the left, down and forward. That of nibabel (5.4) runs up and backward.
_CORONAL = ((-1, 0, 0), (0, 0, -1), (0, 1, 0))


@door
def open_image(path: Path) -> NiftiFile:
    """Read the header of an MGH file.

    Parameters
    ----------
    path : Path
        ``.mgz``, ``.mgh`` or ``.mgh.gz``.

    Returns
    -------
    NiftiFile
        One volume for each frame. A file without an orientation gets FreeSurfer's default, coronal with voxels of 1 mm,
        and a warning.

    Raises
    ------
    InputError
        The file is not MGH, is damaged, holds a warp or values on a surface, or is too short for its voxels.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    with opened(path) as stream:
        block = stream.read(_FIRST_VOXEL)
        zipped = isinstance(stream, gzip.GzipFile)
    raw = _decode(block, path)
    shape, frames = _shape(raw, path)
    dtype = _dtype(raw, path)
    with np.errstate(all="ignore"):  # damaged floats may have any value; the result is checked
        grid = _grid(raw, shape, path)
    header = NiftiHeader(path, path, grid, (frames,), dtype, offset=_FIRST_VOXEL, slope=1.0, intercept=0.0)
    check_promise(path, _FIRST_VOXEL + frames * header.volume_size, path.stat().st_size, zipped=zipped)
    return NiftiFile(header)


def write_image(volume: Volume, path: Path) -> None:
    """Write a scan as MGZ.

    Parameters
    ----------
    volume : Volume
        Written as uint8, int16 or float32, or as int32 if its integers do not fit these. uint16 becomes int32 too, as
        FreeSurfer before 7.3.2 does not read it. float64 becomes float32. A sheared grid is kept.
    path : Path
        Ends in ``.mgz``.

    Raises
    ------
    OutputError
        The file cannot be written, or the format cannot hold the values or the grid; nothing is left half-written.
    """
    image = nibabel.MGHImage(_storable(volume.array, path), volume.grid.affine)
    if not Grid(volume.grid.shape, image.header.get_affine()).is_close(volume.grid):
        raise OutputError(f"{path}: MGZ does not hold the grid ({volume.grid.describe()}) exactly; write .nii.gz")
    # By the second name, `compressed` gzips the file.
    zipped = path.with_suffix(".mgh.gz")
    with atomic_path(path) as temporary, temporary.open("wb") as file, compressed(file, zipped) as stream:
        image.to_stream(stream)


def _decode(block: bytes, path: Path) -> Any:
    """Return nibabel's view of the header bytes."""
    if not block:
        raise InputError(f"{path}: is empty; expected an MGH image")
    version = int.from_bytes(block[:4], "big")
    if len(block) < _FIRST_VOXEL or version & 0xFF != _VERSION or version >> 24:
        raise InputError(f"{path}: is not MGH; expected a header of {_FIRST_VOXEL} bytes that begins with version 1")
    if intent := version >> 8:  # FreeSurfer 7.4 and later store the kind of the numbers there
        raise InputError(
            f"{path}: holds numbers of kind {intent}, such as a warp or values on a surface; expected a scan (kind 0)"
        )
    oriented = int.from_bytes(block[28:30], "big", signed=True)
    if oriented not in (0, 1):
        raise InputError(f"{path}: has goodRASFlag {oriented}; expected 0 or 1; the header is damaged")
    if not oriented:
        _LOG.warning(
            "%s: has no orientation (goodRASFlag 0); taken as coronal with voxels of 1 mm, as FreeSurfer does; sizes "
            "may be wrong, and left and right swapped",
            path,
        )
    raw = nibabel.freesurfer.mghformat.MGHHeader(block, check=False)
    if not oriented:
        raw["Mdc"] = _CORONAL
    return raw


def _shape(raw: Any, path: Path) -> tuple[tuple[int, int, int], int]:
    """Size of a volume, and number of volumes."""
    i, j, k, frames = sizes = [int(size) for size in raw["dims"]]
    if min(sizes) < 1:
        raise InputError(f"{path}: has dimensions {sizes}; expected 4 of at least 1; the header is damaged")
    if frames > _MOST_VOLUMES:
        raise InputError(f"{path}: holds {frames} volumes; expected at most {_MOST_VOLUMES}")
    if j == k == 1 and i > _LONGEST_LINE:
        raise InputError(f"{path}: has dimensions {sizes}: values at the vertices of a surface; expected a volume")
    return (i, j, k), frames


def _dtype(raw: Any, path: Path) -> np.dtype[Any]:
    code = int(raw["type"])
    if code not in _TYPES:
        raise InputError(
            f"{path}: has voxels of type {code}; expected 0 (uint8), 1 (int32), 3 (float32), 4 (int16) or 10 (uint16); "
            "convert it to one of them (mri_convert -odt float)"
        )
    return np.dtype(_TYPES[code])


def _grid(raw: Any, shape: tuple[int, int, int], path: Path) -> Grid:
    """Voxel index -> mm, RAS+, from sizes and direction cosines together, as FreeSurfer and nibabel place voxels."""
    grid = make_grid(shape, raw.get_affine(), path)
    sizes = [float(size) for size in raw["delta"]]
    if not np.allclose(grid.spacing, sizes, rtol=_SIZES_AGREE, atol=0):
        spacing = " x ".join(f"{size:.4g}" for size in grid.spacing)
        _LOG.warning(
            "%s: says voxels of %s mm, but its direction cosines are not of length 1; with both, as other programs "
            "place the voxels, they are %s mm",
            path,
            " x ".join(f"{size:.4g}" for size in sizes),
            spacing,
        )
    return grid


def _storable(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Convert numbers to a type of MGH; refuse numbers that it cannot hold."""
    stored_as = np.dtype(_WRITTEN_AS.get(array.dtype.str[1:], "i4"))
    lowest, highest = array.min(), array.max()
    if stored_as == np.int32 and not -(2**31) <= int(lowest) <= int(highest) < 2**31:
        raise OutputError(
            f"{path}: has values from {lowest} to {highest}; MGZ holds integers of 32 bits, write .nii.gz"
        )
    try:
        with np.errstate(over="raise"):
            return array.astype(stored_as, copy=False)
    except FloatingPointError as error:
        raise OutputError(
            f"{path}: has values from {lowest:g} to {highest:g}; MGZ holds float32, write .nii.gz"
        ) from error
