"""The contents of a path, each looked at once.

This is the only place that asks a path what it is. A `Catalogue` lists a folder once, reads the header of an image file
once, and parses each DICOM header once, and does each of these only on demand.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError, MissingPackageError
from volseg.files.door import door
from volseg.files.names import (
    READABLE_FORMATS,
    VOXEL_SUFFIXES,
    ImageFormat,
    case_name,
    free_name,
    has_suffix,
    image_format,
)
from volseg.files.regular import regular_file
from volseg.files.walking import FolderFiles, list_files
from volseg.io.images import ImageFile, open_image
from volseg.io.images.named_volumes import choose_volume

if TYPE_CHECKING:
    from volseg.io.dicom import LabelObject, Listing, Series, StructureSet

_LOG = logging.getLogger(__name__)

# The source: a path, or DICOM objects in memory by name.
Source: TypeAlias = str | Path | Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class ImageScan:
    """One volume of an image file, before its voxels are read.

    Parameters
    ----------
    path : Path
        The file.
    image : ImageFile
        Its header.
    index : int
        Which of its volumes; 0 is the first.
    """

    path: Path
    image: ImageFile
    index: int
    number = ""  # a DICOM series has a number

    @property
    def name(self) -> str:
        """Its name in the result of `volseg.read_all`."""
        return self.image.names[self.index]

    @property
    def origin(self) -> str:
        """Its name in messages."""
        return f"{self.path}, volume {self.name}" if len(self.image.names) > 1 else str(self.path)

    @property
    def grid(self) -> Grid:
        """The grid of its voxels."""
        return self.image.grid

    @door
    def read(self, *, strict: bool = False) -> Volume:
        """Read its voxels; errors are those of `volseg.read`. `strict` matters only for DICOM."""
        return self.image.read(self.index, 1)[0]


@dataclass(frozen=True, eq=False)
class DicomScan:
    """A DICOM series, before its pixels are read.

    Parameters
    ----------
    path : Path
        The file or folder that holds it.
    series : Series
        Its headers.
    """

    path: Path
    series: Series

    @property
    def name(self) -> str:
        """Its name in the result of `volseg.read_all`, unless another scan has the same."""
        return self.series.name or "_".join(filter(None, (case_name(self.path), self.series.label)))

    @property
    def number(self) -> str:
        """SeriesNumber, or an empty text."""
        return self.series.number

    @property
    def origin(self) -> str:
        """Its name in messages."""
        return f"series {self.series.describe()}"

    @property
    def grid(self) -> Grid:
        """The grid of its voxels by its headers; raises an InputError if it will be refused."""
        from volseg.io.dicom import arrange

        return arrange(self.series).grid

    @door
    def read(self, *, strict: bool = False) -> Volume:
        """Read its pixels; `strict` and the errors are those of `volseg.read`."""
        from volseg.io.dicom import read_stack

        return read_stack(self.series, self.path, strict=strict)


Scan: TypeAlias = ImageScan | DicomScan


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The contents of a path.

    Parameters
    ----------
    path : Path
        A file, folder or zip archive.
    known : Catalogue, optional
        Another catalogue; its files are not looked at again.
    received : dict of str to bytes, optional
        DICOM objects in memory by name, for example from a network; `path` is then only a name for them.
    """

    path: Path
    known: Catalogue | None = None
    received: Mapping[str, bytes] | None = None

    @cached_property
    def image_format(self) -> ImageFormat | None:
        """The format of an image file; None for a folder, and for a file with another suffix."""
        return None if self.received is not None or self.path.is_dir() else image_format(self.path)

    @cached_property
    def _files(self) -> FolderFiles:
        return list_files(self.path)

    @cached_property
    def image_files(self) -> list[Path]:
        """The image files of a folder at any depth, or the file itself if it is one."""
        if not self.path.is_dir():
            return [self.path] if self.image_format else []
        return [path for path in self._files.paths if image_format(path) and not has_suffix(path, VOXEL_SUFFIXES)]

    def files_in(self, folder: Path) -> list[Path]:
        """Return the files directly in the folder, or in the given folder inside it."""
        return [path for path in self._files.paths if path.parent == folder]

    @cached_property
    def image(self) -> ImageFile:
        """The image file with its header; errors are those of `volseg.io.images.open_image`."""
        return open_image(self.path)

    @cached_property
    def dicom(self) -> Listing:
        """All DICOM files here; errors are those of `volseg.io.dicom.scan_dicom`."""
        from volseg.io.dicom import scan_dicom

        files: Iterable[Path] | Mapping[str, bytes] | None = self.received
        if files is None and self.path.is_dir():
            files = self._files.checked()
        known = None
        if self.known is not None and "dicom" in vars(self.known):  # only its headers that are parsed already
            known = self.known.dicom.contents
        return scan_dicom(self.path, files=files, known=known)

    @property
    def is_dicom(self) -> bool:
        """Whether it is read as DICOM: by its content, unless it has the suffix of an image file."""
        is_there = self.received is not None or self.path.exists()
        return is_there and self.image_format is None and bool(self.dicom)

    @cached_property
    def label_object(self) -> LabelObject | None:
        """The DICOM segmentation or structure set, if there is exactly one."""
        found = self.dicom.labels if self.is_dicom else []
        return found[0] if len(found) == 1 else None

    @cached_property
    def structures(self) -> StructureSet | None:
        """The content of the structure set (RTSTRUCT), if there is exactly one and no segmentation."""
        from volseg.io.dicom import read_structure_set

        labels = self.label_object
        return read_structure_set(labels.file) if labels is not None and labels.is_contours else None

    def scan(self, wanted: str | None = None, *, of: LabelObject | None = None) -> Scan:
        """Return the only scan, or the wanted one.

        Parameters
        ----------
        wanted : str, optional
            The wanted scan, as `series` of `volseg.read`.
        of : LabelObject, optional
            Among several DICOM series, take the one that this was made on.

        Raises
        ------
        AmbiguousError
            There are several scans and `wanted` is None; the message lists them.
        InputError, GeometryError
            As for `volseg.read`, as far as headers show.
        """
        if self.image_format is not None:
            image = self.image
            return ImageScan(self.path, image, choose_volume(image.names, wanted, self.path))
        if not self.is_dicom:
            raise self.nothing()
        return DicomScan(self.path, self.series(wanted, of=of))

    def series(self, wanted: str | None = None, *, of: LabelObject | None = None) -> Series:
        """Return a DICOM series; otherwise as `scan`."""
        from volseg.io.dicom import choose_series_of

        return choose_series_of(of, self.dicom.readable(), self.path, wanted=wanted)

    def scans(self) -> list[Scan]:
        """Return every DICOM series, or every volume of an image file; errors are those of `scan`."""
        if self.image_format is not None:
            image = self.image
            return [ImageScan(self.path, image, index) for index in range(len(image.names))]
        if not self.is_dicom:
            raise self.nothing()
        return [DicomScan(self.path, series) for series in self.dicom.readable()]

    @door
    def read_all(self, *, strict: bool = False) -> dict[str, Volume]:
        """Read every scan by name; see `volseg.read_all`."""
        if self.image_format is not None:  # all at once, so that the file is decompressed only once
            image = self.image
            return dict(zip(image.names, image.read(0, len(image.names)), strict=True))
        volumes: dict[str, Volume] = {}
        refusals: list[InputError | MissingPackageError] = []
        for scan in self.scans():
            try:
                volume = scan.read(strict=strict)
            except (InputError, MissingPackageError) as error:
                refusals.append(error)
                continue
            name = free_name(scan.name, volumes.__contains__, number=scan.number)
            volumes[name] = replace(volume, name=name)
        if refusals and not volumes:
            raise refusals[0]
        for refusal in refusals:
            _LOG.warning("left out: %s", refusal)
        return volumes

    def grid(self) -> Grid:
        """Return the grid that all volumes of an image file share, or that of the one DICOM series."""
        return self.image.grid if self.image_format is not None else self.scan().grid

    def nothing(self) -> InputError:
        """Return the error for a path that holds nothing readable."""
        what = "unknown type of file"
        if self.received is not None:
            what = "no DICOM objects among these bytes"
        elif self.path.is_dir():
            what = "no DICOM files in this folder, nor masks of one case"
        elif has_suffix(self.path, (".zip",)):
            what = "no DICOM files in this archive"
        return InputError(f"{self.path}: {what}; readable are {READABLE_FORMATS}")


def look(path: Source, *, known: Catalogue | None = None) -> Catalogue:
    """Look at a path and return its contents.

    Parameters
    ----------
    path : path, or dict of str to bytes
        A file, folder or zip archive; or DICOM objects in memory by name, for example from a network.
    known : Catalogue, optional
        Another catalogue, perhaps of the same path; its files are not looked at again.

    Raises
    ------
    InputError
        The path does not exist, or is an empty file, a pipe or a device.

    Examples
    --------
    Read the first scan of a folder:

    >>> from volseg.io import look
    >>> scans = look("study").scans()  # doctest: +SKIP
    >>> volume = scans[0].read()  # doctest: +SKIP
    """
    if isinstance(path, Mapping):
        return Catalogue(Path("<bytes>"), received=path)
    path = Path(path)
    if not path.is_dir() and regular_file(path).stat().st_size == 0:
        raise InputError(f"{path}: is empty; expected {READABLE_FORMATS}")
    return known if known is not None and known.path == path else Catalogue(path, known)
