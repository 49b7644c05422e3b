"""NRRD (.nrrd, .nhdr, Slicer's .seg.nrrd) and MetaImage (.mha, .mhd), by SimpleITK.

ITK's arrays are (k, j, i) and its world LPS+; both are turned here, the latter by `geometry.RAS_TO_LPS` alone. The text
headers are checked before SimpleITK reads them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its documentation's name)
from numpy.typing import NDArray

from volseg.errors import InputError, OutputError, UsageError
from volseg.files import regular_file
from volseg.geometry import RAS_TO_LPS, Grid
from volseg.io.atomic import atomic_path
from volseg.io.meta_header import check_meta
from volseg.io.names import case_name
from volseg.io.native import quiet_stderr
from volseg.io.nrrd_header import check_nrrd
from volseg.io.seg_nrrd import extent_start, read_segments, segment_entries
from volseg.io.text_header import LONGEST_HEADER, damaged
from volseg.io.voxels import clean_values, make_grid, smallest_integer, to_label_values
from volseg.labelmap import LabelMap
from volseg.volume import Volume

_LOG = logging.getLogger(__name__)
_LARGEST_SEGMENT_VALUE = 65535
_EXACT_MM = 1e-6
_SPACE_AND_LAYERS = 4


def read_itk(path: Path) -> Volume:
    """Read a NRRD or MetaImage file.

    Parameters
    ----------
    path : Path
        ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; 2D is one slice.

    Returns
    -------
    Volume
        Array (I, J, K): integers as stored, else float32.

    Raises
    ------
    InputError
        Missing, not such a file, damaged, several numbers a voxel, or more than three dimensions; or a header that asks
        for more than the file holds.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    header = _Header(path)
    grid = header.grid(most_components=1)
    return Volume(clean_values(header.read_array().reshape(grid.shape, order="F"), path), grid, case_name(path))


def read_itk_grid(path: Path) -> Grid:
    """Read only the grid, from the header; raises as `read_itk`."""
    return _Header(path).grid(most_components=1)


def read_seg_layers(path: Path) -> tuple[LabelMap, ...]:
    """Read the layers of Slicer's ``.seg.nrrd``, of which each holds segments that do not overlap.

    Parameters
    ----------
    path : Path
        ``.nrrd`` or ``.nhdr``.

    Returns
    -------
    tuple of LabelMap
        All on one grid, with names, colours and codes. Values as in the file: two layers may use the same. Files of
        Slicer 4 have none; there the segments are numbered. Empty where the file says nothing of segments.

    Raises
    ------
    InputError
        As `read_itk`, but the layers may be a fourth axis of space; also values that are no labels.
    """
    header = _Header(path)
    segments = read_segments(header.entries, header.layers, path)
    if segments is None:
        return ()
    grid = header.grid(most_components=None, layered=True)
    start = extent_start(header.entries, grid.shape)
    grid = make_grid(grid.shape, grid.affine @ _shift(start), path)
    array = header.read_array()
    # Layers come first, but where they are a fourth axis of space.
    array = array.transpose(3, 0, 1, 2) if header.is_4d else array.reshape((header.layers, *grid.shape), order="F")
    try:
        return tuple(
            LabelMap.from_array(
                to_label_values(segments.values_of(n, clean_values(np.asfortranarray(layer), path)), path),
                grid,
                labels=segments.layers[n],
            )
            for n, layer in enumerate(array)
        )
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error


def write_seg_nrrd(labels: LabelMap | Sequence[LabelMap], path: Path) -> None:
    """Write label maps as 3D Slicer's ``.seg.nrrd``, with names and colours, and codes of the form ``scheme:value``.

    Parameters
    ----------
    labels : LabelMap or sequence of LabelMap
        One, or layers on one grid whose segments may overlap. Values up to 65535; a sheared grid is kept.
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
    grid = layers[0].grid
    if not all(layer.grid.is_close(grid) for layer in layers):
        raise OutputError(f"{path}: its layers lie on different grids; resample them onto one, or write a file each")
    highest = max((label.value for layer in layers for label in layer.labels), default=0)
    if highest > _LARGEST_SEGMENT_VALUE:
        raise OutputError(
            f"{path}: has the label {highest}; .seg.nrrd takes up to {_LARGEST_SEGMENT_VALUE}, write .nii.gz"
        )
    arrays = [layer.array.astype(smallest_integer(highest), copy=False) for layer in layers]
    # ITK's name for numbers that lie in layers is vector.
    array = arrays[0].T if len(arrays) == 1 else np.stack([array.T for array in arrays], axis=-1)
    _write(array, grid, path, entries=segment_entries(layers))


def write_itk(volume: Volume, path: Path) -> None:
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
    """Write (k, j, i[, layer]) numbers; the header is read again, in case that ITK straightened the axes."""
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
            raise OutputError(f"{path}: cannot be written ({_last_line(error)}); check the disk") from error
        if not _Header(temporary).grid(most_components=None).is_close(grid, tolerance_mm=_EXACT_MM):
            raise OutputError(f"{path}: this format does not hold the grid ({grid.describe()}) exactly; write .nii.gz")


class _Header:
    """The header of a file, read by SimpleITK after its text was checked."""

    def __init__(self, path: Path) -> None:
        if regular_file(path).stat().st_size == 0:
            raise InputError(f"{path}: is empty; expected a NRRD or MetaImage file")
        self.path = path
        try:
            with path.open("rb") as file:
                block = file.read(LONGEST_HEADER)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
        self.text = (check_nrrd if block.startswith(b"NRRD00") else check_meta)(block, path)
        self.reader = sitk.ImageFileReader()
        self.reader.SetFileName(str(path))
        self.reader.SetImageIO(self.text.parser)
        with _wrapped(path):
            self.reader.ReadImageInformation()
        if math.prod(self.reader.GetSize()) * self.components != self.text.numbers:
            raise damaged(path, f"its sizes are read as {self.reader.GetSize()} and otherwise")

    @property
    def components(self) -> int:
        """How many numbers a voxel has."""
        return int(self.reader.GetNumberOfComponents())

    @property
    def is_4d(self) -> bool:
        """Whether it has four axes of space, as Slicer before 4.7 wrote layers."""
        return int(self.reader.GetDimension()) == _SPACE_AND_LAYERS and self.components == 1

    @property
    def layers(self) -> int:
        """How many layers it has, if it is a segmentation."""
        return int(self.reader.GetSize()[-1]) if self.is_4d else self.components

    @property
    def entries(self) -> dict[str, str]:
        """Keys and values of Slicer's segments; what is not UTF-8 in the values is replaced."""
        keys = [key for key in self.reader.GetMetaDataKeys() if key.startswith("Segment") and key.isascii()]
        texts = {key: str(self.reader.GetMetaData(key)) for key in keys}
        return {key: text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for key, text in texts.items()}

    def grid(self, *, most_components: int | None, layered: bool = False) -> Grid:
        """Return the grid of an image of two or three dimensions with at most so many real numbers a voxel.

        `layered` allows for layers as a fourth axis of space; without a word on their space, as Slicer 4 wrote them,
        they lie in RAS.
        """
        dimension, path = int(self.reader.GetDimension()), self.path
        if most_components is not None and self.components > most_components:
            raise InputError(
                f"{path}: has {self.components} numbers a voxel (colours, a vector field, or overlapping segments in "
                "layers); expected one"
            )
        if dimension not in (2, 3) and not (layered and self.is_4d):
            raise InputError(f"{path}: has {dimension} dimensions; expected 2 or 3")
        if "complex" in sitk.GetPixelIDValueAsString(self.reader.GetPixelID()):
            raise InputError(f"{path}: has complex voxels; expected one real number a voxel")
        world = "LPS" if self.text.of_the_patient or not self.is_4d else "RAS"
        if not self.text.of_the_patient:
            _LOG.warning("%s: does not say how its axes lie in the patient (space); taken as %s", path, world)
        affine, axes = np.eye(4), min(dimension, 3)
        direction = np.reshape(self.reader.GetDirection(), (dimension, dimension))
        with np.errstate(all="ignore"):  # what is beyond numbers is refused with the grid
            affine[:axes, :axes] = (direction * self.reader.GetSpacing())[:axes, :axes]
        affine[:axes, 3] = self.reader.GetOrigin()[:axes]
        affine[:3] *= self.text.mm_per_unit
        size = [*self.reader.GetSize(), 1]
        return make_grid((size[0], size[1], size[2]), RAS_TO_LPS @ affine if world == "LPS" else affine, path)

    def read_array(self) -> NDArray[Any]:
        """Return the numbers as ([layer], i, j[, k])."""
        with _wrapped(self.path):
            array: NDArray[Any] = sitk.GetArrayFromImage(self.reader.Execute()).T
        return array


def _shift(start: tuple[int, int, int]) -> NDArray[Any]:
    """Return the matrix that moves voxel coordinates by `start`."""
    shift = np.eye(4)
    shift[:3, 3] = start
    return shift


@contextmanager
def _wrapped(path: Path) -> Iterator[None]:
    """Turn ITK's failures, and what MetaIO only prints (it goes on with wrong voxels), into an InputError."""
    failure: RuntimeError | None = None
    with quiet_stderr() as printed:
        try:
            yield
        except RuntimeError as error:
            failure = error
    text = " ".join(printed.text.split())
    if failure or "MetaImage:" in text or "Uncompress failed" in text:
        raise damaged(path, text or _last_line(failure)) from failure


def _last_line(error: Exception | None) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[-1]
