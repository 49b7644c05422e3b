"""NRRD (.nrrd, .nhdr, Slicer's .seg.nrrd) and MetaImage (.mha, .mhd), by SimpleITK.

ITK's arrays are (k, j, i) and its world is LPS+; both are converted here, the world by `RAS_TO_LPS`. The text headers
are checked before SimpleITK reads them.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its documentation's name)
from numpy.typing import NDArray

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.core.voxels import clean_values, make_grid, smallest_integer, to_label_values
from volseg.errors import InputError, OutputError, UsageError, at
from volseg.files.atomic import atomic_path
from volseg.files.names import has_suffix
from volseg.files.native import quiet_stderr
from volseg.io.images.itk_header import ItkHeader, last_line
from volseg.io.images.named_volumes import volume_names
from volseg.io.images.seg_nrrd import extent_start, read_segments, segment_entries

_LOG = logging.getLogger(__name__)
_LARGEST_SEGMENT_VALUE = 65535
_EXACT_MM = 1e-6
_CHUNK = 1 << 24
_SPACE_AND_LAYERS = 4


class ItkFile:
    """A NRRD or MetaImage file whose header has been read: an `ImageFile`.

    Parameters
    ----------
    header : ItkHeader
        The file, as SimpleITK reads it.
    """

    # The header alone does not tell, as its type may have fractions that are integers.
    dtype = None

    def __init__(self, header: ItkHeader) -> None:
        self._header = header
        self.grid = header.grid(most_components=header.volumes)
        self.names = volume_names(header.path, header.volumes)

    def read(self, first: int, count: int) -> list[Volume]:
        """Read volumes: arrays (I, J, K), integers as stored, else float32.

        Raises
        ------
        InputError
            The file is cut off or damaged.
        """
        path = self._header.path
        arrays = self._header.read_array().reshape((-1, *self.grid.shape), order="F")
        volumes = []
        for number in range(first, first + count):
            values = clean_values(np.asfortranarray(arrays[number]), path)
            volumes.append(Volume(values, self.grid, self.names[number]))
        return volumes


def open_image(path: Path) -> ItkFile:
    """Read the header of a NRRD or MetaImage file.

    Parameters
    ----------
    path : Path
        ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; 2D is one slice.

    Raises
    ------
    InputError
        Missing, not such a file, damaged, several numbers a voxel, or more than three dimensions and no list of
        volumes; or a header that asks for more than the file holds.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    return ItkFile(ItkHeader(path))


def read_seg_layers(path: Path) -> tuple[LabelMap, ...]:
    """Read the layers of Slicer's ``.seg.nrrd``; the segments of a layer do not overlap.

    Parameters
    ----------
    path : Path
        ``.nrrd`` or ``.nhdr``.

    Returns
    -------
    tuple of LabelMap
        All on one grid, with names, colours and codes. Values are those of the file; two layers may use the same.
        Segments of Slicer 4 have no values and are numbered. Empty if the file has no segments.

    Raises
    ------
    InputError
        As for `open_image`, but the layers may be a fourth axis of space; also if values are not labels.
    """
    header = ItkHeader(path)
    segments = read_segments(header.entries, header.layers, path)
    if segments is None:
        return ()
    grid = header.grid(most_components=None, layered=True)
    start = extent_start(header.entries, grid.shape)
    grid = make_grid(grid.shape, grid.affine @ _shift(start), path)
    array = header.read_array()
    # Layers come first, unless they are a fourth axis of space.
    array = array.transpose(3, 0, 1, 2) if header.is_4d else array.reshape((header.layers, *grid.shape), order="F")
    layers = []
    with at(path):
        for n, layer in enumerate(array):
            values = segments.values_of(n, clean_values(np.asfortranarray(layer), path))
            layers.append(LabelMap.from_array(to_label_values(values, path), grid, labels=segments.layers[n]))
    return tuple(layers)


def write_seg_nrrd(labels: LabelMap | Sequence[LabelMap], path: Path) -> None:
    """Write label maps as 3D Slicer's ``.seg.nrrd``, with names and colours, and codes of the form ``scheme:value``.

    Parameters
    ----------
    labels : LabelMap or sequence of LabelMap
        One, or layers on one grid; segments of different layers may overlap. Values up to 65535; a sheared grid is
        kept.
    path : Path
        Ends in ``.seg.nrrd``.

    Raises
    ------
    OutputError
        The file cannot be written, a label value is too large, or the layers lie on different grids.
    """
    layers = (labels,) if isinstance(labels, LabelMap) else tuple(labels)
    if not layers:
        raise UsageError(f"{path}: no label map is given; expected at least one")
    dtype = smallest_integer(_largest_value(layers, path))
    arrays = [layer.array.astype(dtype, copy=False).T for layer in layers]
    # ITK reads layers as the numbers of a vector.
    array = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1)
    _write(array, layers[0].grid, path, entries=segment_entries(layers))


def _largest_value(layers: Sequence[LabelMap], path: Path) -> int:
    """Return the largest label value of layers, after a check that the file can hold them."""
    largest = 0
    for layer in layers:
        if not layer.grid.is_close(layers[0].grid):
            raise OutputError(
                f"{path}: its layers lie on different grids; resample them onto one, or write a file each"
            )
        for label in layer.labels:
            largest = max(largest, label.value)
    if largest > _LARGEST_SEGMENT_VALUE:
        raise OutputError(
            f"{path}: has the label {largest}; .seg.nrrd takes up to {_LARGEST_SEGMENT_VALUE}, write .nii.gz"
        )
    return largest


def write_image(volume: Volume, path: Path) -> None:
    """Write a scan as NRRD or MetaImage, compressed.

    Parameters
    ----------
    volume : Volume
        Written in its own type (bool as uint8, float16 as float32, longer floats as float64).
    path : Path
        Ends in ``.nrrd`` or ``.mha``.

    Raises
    ------
    OutputError
        The file cannot be written, or the grid is sheared, which most programs that read these formats drop silently.
    """
    if volume.grid.is_sheared:
        raise OutputError(
            f"{path}: the voxel axes are not perpendicular (a tilted gantry), which few programs read from this "
            "format; write .nii.gz, or resample onto a straight grid first"
        )
    stored_as: dict[str, Any] = {"b1": np.uint8, "f2": np.float32, "f16": np.float64}
    dtype = np.dtype(stored_as.get(volume.array.dtype.str[1:], volume.array.dtype)).newbyteorder("=")
    _write(volume.array.astype(dtype, copy=False).T, volume.grid, path, entries={})


def _write(array: NDArray[Any], grid: Grid, path: Path, *, entries: Mapping[str, str]) -> None:
    """Write (k, j, i[, layer]) numbers, and read the header again to see that ITK did not straighten the axes."""
    if path.suffix != path.suffix.lower():  # MetaIO would put the voxels of .MHA into a second file
        raise OutputError(f"{path}: write the suffix in lower case, {path.suffix.lower()}")
    lps = RAS_TO_LPS @ grid.affine
    with atomic_path(path) as temporary:
        try:
            image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
            image.SetSpacing(grid.spacing)
            image.SetOrigin(lps[:3, 3].tolist())
            image.SetDirection((lps[:3, :3] / grid.spacing).ravel().tolist())
            for key, text in entries.items():
                image.SetMetaData(key, text)
            with quiet_stderr():
                sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OutputError(f"{path}: cannot be written ({last_line(error)}); check the disk") from error
        try:
            written = ItkHeader(temporary).grid(most_components=None)
            if has_suffix(path, (".nrrd",)):
                _check_end(temporary)
        except (InputError, EOFError, zlib.error) as error:
            raise OutputError(f"{path}: cannot be written (its end is missing); check the disk") from error
        if not written.is_close(grid, tolerance_mm=_EXACT_MM):
            raise OutputError(f"{path}: this format does not hold the grid ({grid.describe()}) exactly; write .nii.gz")


def _check_end(written: Path) -> None:
    """Read a NRRD file to its end, as ITK does not notice if the disk was full at the last bytes."""
    with written.open("rb") as file:
        while file.readline().strip():
            pass
        with gzip.GzipFile(fileobj=file) as voxels:
            while voxels.read(_CHUNK):
                pass


def _shift(start: tuple[int, int, int]) -> NDArray[Any]:
    """Return the matrix that moves voxel coordinates by `start`."""
    shift = np.eye(4)
    shift[:3, 3] = start
    return shift
