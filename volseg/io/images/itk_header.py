"""The contents, the grid and the numbers of a NRRD or MetaImage file, by SimpleITK after its header was checked."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its documentation's name)
from numpy.typing import NDArray

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.voxels import make_grid
from volseg.errors import DAMAGE, InputError
from volseg.files.native import quiet_stderr
from volseg.files.regular import regular_file
from volseg.files.streams import check_deflated
from volseg.io.images.meta_header import check_meta
from volseg.io.images.nrrd_header import check_nrrd
from volseg.io.images.text_header import LONGEST_HEADER, damaged

_LOG = logging.getLogger(__name__)
_SPACE_AND_LAYERS = 4


class ItkHeader:
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
        self.reader.SetImageIO(self.text.parser)
        with self._opened():
            self.reader.ReadImageInformation()
        if math.prod(self.reader.GetSize()) * self.components != self.text.numbers:
            raise damaged(path, f"SimpleITK reads other sizes, {self.reader.GetSize()}")

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Point the reader to the file, or to a header for it that ITK understands."""
        with TemporaryDirectory() as folder, _wrapped(self.path):
            name = self.path
            if self.text.for_itk is not None:
                name = Path(folder, "header.nhdr")
                name.write_text(self.text.for_itk, encoding="utf-8")
            self.reader.SetFileName(str(name))
            yield

    @property
    def components(self) -> int:
        """Number of numbers a voxel."""
        return int(self.reader.GetNumberOfComponents())

    @property
    def volumes(self) -> int:
        """Number of volumes."""
        return self.components if self.text.lists_volumes else 1

    @property
    def is_4d(self) -> bool:
        """Whether it has four axes of space, as Slicer wrote layers before 4.7."""
        return int(self.reader.GetDimension()) == _SPACE_AND_LAYERS and self.components == 1

    @property
    def layers(self) -> int:
        """Number of layers, if it is a segmentation."""
        return int(self.reader.GetSize()[-1]) if self.is_4d else self.components

    @property
    def entries(self) -> dict[str, str]:
        """Keys and values of Slicer's segments; bytes that are not UTF-8 are replaced in the values."""
        entries = {}
        for key in self.reader.GetMetaDataKeys():
            if key.startswith("Segment") and key.isascii():
                text = str(self.reader.GetMetaData(key))
                entries[key] = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return entries

    def grid(self, *, most_components: int | None, layered: bool = False) -> Grid:
        """Return the grid of an image of two or three dimensions.

        Parameters
        ----------
        most_components : int, optional
            Largest number of numbers a voxel; default any.
        layered : bool
            Layers may be a fourth axis of space. If such a file does not name its space, as those of Slicer 4, it is
            taken as RAS.

        Raises
        ------
        InputError
            The image has more numbers a voxel, complex numbers or other dimensions.
        GeometryError
            The affine is not finite, singular or absurd.
        """
        dimension, path = int(self.reader.GetDimension()), self.path
        self._check_voxels(most_components)
        if dimension not in (2, 3) and not (layered and self.is_4d):
            raise InputError(
                f"{path}: has {dimension} dimensions; expected 2 or 3, or in NRRD a fourth that kinds or space "
                "directions say to be a list of volumes"
            )
        world = "LPS" if self.text.of_the_patient or not self.is_4d else "RAS"
        if not self.text.of_the_patient:
            _LOG.warning("%s: does not say how its axes lie in the patient (space); taken as %s", path, world)
        affine, axes = np.eye(4), min(dimension, 3)
        direction = np.reshape(self.reader.GetDirection(), (dimension, dimension))
        with np.errstate(all="ignore"):  # infinite and NaN values are refused with the grid
            affine[:axes, :axes] = (direction * self.reader.GetSpacing())[:axes, :axes]
        affine[:axes, 3] = self.reader.GetOrigin()[:axes]
        affine[:3] *= self.text.mm_per_unit
        size = [*self.reader.GetSize(), 1]
        return make_grid((size[0], size[1], size[2]), RAS_TO_LPS @ affine if world == "LPS" else affine, path)

    def _check_voxels(self, most_components: int | None) -> None:
        if most_components is not None and self.components > most_components:
            raise InputError(
                f"{self.path}: has {self.components} numbers a voxel (colours, a vector field, or overlapping segments "
                "in layers); expected one"
            )
        if "complex" in sitk.GetPixelIDValueAsString(self.reader.GetPixelID()):
            raise InputError(f"{self.path}: has complex voxels; expected one real number a voxel")

    def read_array(self) -> NDArray[Any]:
        """Return the numbers as ([layer], i, j[, k])."""
        self._check_deflated()
        with self._opened():
            return np.asarray(_Voxels(self.reader.Execute())).T

    def _check_deflated(self) -> None:
        """Refuse damaged voxels of MetaImage, which its parser leaves as they are in memory."""
        for voxels in self.text.deflated:
            try:
                check_deflated(voxels.file, start=voxels.start, stored=voxels.stored, size=voxels.size)
            except DAMAGE as error:
                raise damaged(self.path, f"{voxels.file.name}: {error}") from error


class _Voxels:
    """An image of ITK as an array, without a copy, which would double the memory; the array keeps the image alive."""

    def __init__(self, image: sitk.Image) -> None:
        view = sitk.GetArrayViewFromImage(image)
        address, _ = view.__array_interface__["data"]
        self.__array_interface__ = {**view.__array_interface__, "data": (address, False)}
        self.image = image  # owns the memory


@contextmanager
def _wrapped(path: Path) -> Iterator[None]:
    """Turn ITK's failures, and those that MetaIO only prints (it continues with wrong voxels), into an InputError."""
    failure: RuntimeError | None = None
    with quiet_stderr() as printed:
        try:
            yield
        except RuntimeError as error:
            failure = error
    text = " ".join(printed.text.split())
    if failure or "MetaImage:" in text or "Uncompress failed" in text:
        raise damaged(path, text or last_line(failure)) from failure


def last_line(error: Exception | None) -> str:
    """Return the last line of an error of ITK; those before it name places in ITK's code.

    Parameters
    ----------
    error : Exception, optional
    """
    return (str(error).strip().splitlines() or ["no reason given"])[-1]
