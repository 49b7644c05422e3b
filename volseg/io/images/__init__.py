"""Image files, a module for each row of `volseg.files.names.IMAGE_FORMATS`.

The modules, and with them nibabel and SimpleITK, are imported when a file of their format is first met.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import UsageError
from volseg.files.names import IMAGE_NAMES, SCAN_SUFFIXES, has_suffix, image_format

__all__ = ["ImageFile", "open_image", "write_image"]


class ImageFile(Protocol):
    """An image file whose header has been read: one or more volumes on one grid."""

    @property
    def names(self) -> list[str]:
        """Name of each volume, in the file's order; see `volseg.io.images.named_volumes.volume_names`."""

    @property
    def grid(self) -> Grid:
        """Where the voxels of each volume lie."""

    @property
    def dtype(self) -> str | None:
        """Type of the values as they are read; None if the header alone does not tell."""

    def read(self, first: int, count: int) -> list[Volume]:
        """Read `count` volumes from number `first` (0 is the first); the others take no memory."""


def open_image(path: Path) -> ImageFile:
    """Read the header of an image file.

    Parameters
    ----------
    path : Path
        A name that ends in one of `IMAGE_SUFFIXES`; either file of a pair.

    Raises
    ------
    InputError
        Missing, another kind of file, damaged, or voxels that are not one real number each.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    form = image_format(path)
    if form is None:
        raise UsageError(f"{path}: has no suffix of an image file; expected {IMAGE_NAMES}")
    image: ImageFile = _module(form.module).open_image(path)
    return image


def write_image(volume: Volume, path: Path) -> None:
    """Write a scan; the suffix says in which format.

    Parameters
    ----------
    volume : Volume
        Written in its own type.
    path : Path
        Ends in one of `SCAN_SUFFIXES`.

    Raises
    ------
    OutputError
        The file cannot be written, or the format cannot hold the grid.
    """
    form = image_format(path)
    if form is None or not has_suffix(path, form.written):
        raise UsageError(f"{path}: has no suffix that images are written with; expected {', '.join(SCAN_SUFFIXES)}")
    _module(form.module).write_image(volume, path)


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
