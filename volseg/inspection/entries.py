"""Entries of an inspection; their fields are the keys of ``volseg inspect --json``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from volseg.core.grid import Grid
from volseg.files.names import shown_path


@dataclass(frozen=True)
class Slices:
    """Positions of the slices of a DICOM series by their headers, before any repair.

    Parameters
    ----------
    order : str
        Source of the positions: ``positions along the normal``, ``functional groups``, ``first position and spacing of
        a multi-frame file``, ``tiles of a mosaic``.
    usual_gap_mm, widest_gap_mm : float
        Usual and largest distance between neighbours along the normal.
    tilt_degrees : float
        Angle between the normal and the line from the first pixel of the first slice to that of the last.
    """

    order: str
    usual_gap_mm: float
    widest_gap_mm: float
    tilt_degrees: float


@dataclass(frozen=True)
class Entry:
    """One image, series, segmentation or unreadable file.

    Parameters
    ----------
    kind : str
        ``DICOM series``, ``NIfTI``, ``NRRD``, ``MetaImage``, ``MGH``; ``DICOM`` and its kind for an object that is not
        an image; ``DICOM file`` if it is damaged or not DICOM; ``archive`` for skipped members of an archive.
    name : str
        Series description, or the file's path inside the folder.
    volume : str
        Name if a series or file has several volumes: ``time2``, ``b1000``, ``scan_3``; else empty.
    series : str, optional
        Value for ``--series``: the full id of a DICOM series, or the name of a volume of a file with several.
    series_name : str, optional
        Description and label of a DICOM volume; ``--series`` takes them too if they are unique.
    modality : str, optional
        ``CT``, ``MR``, ``PT``.
    files : int
        Number of its files.
    shape : (I, J, K), optional
        Voxels along each array axis, as `volseg.read` returns them; if it refuses the image, as the headers say.
    spacing_mm : (I, J, K), optional
        Distance between voxel centres along each array axis.
    affine : 4 rows of 4, optional
        Voxel index -> world mm, RAS+.
    orientation : str, optional
        Patient direction in which the index along each array axis increases, such as ``LPS``.
    right_handed : bool, optional
        Whether the array axes form a right-handed system.
    sheared : bool, optional
        Whether the array axes are not perpendicular.
    slices : Slices, optional
        Only for DICOM series with several slices.
    copies : int
        Number of files left out because they are identical to another file of the series.
    repair : str, optional
        Fault of the slice positions and how reading repairs it; None if the slices are evenly spaced.
    displacement_mm : float, optional
        Largest error of a slice position without that repair.
    dtype : str, optional
        Type of the values as `volseg.read` returns them.
    value_range : (lowest, highest), optional
        Over all voxels; None if only headers were read.
    unit : str, optional
        ``HU``, ``BQML``.
    padding_value : float, optional
        Rescaled value of the pixels outside the image (Pixel Padding Value).
    padding_fraction : float, optional
        Fraction of the voxels with that value, 0 to 1; None if only headers were read.
    inverted : bool
        MONOCHROME1: dark pixels have high values.
    compression : str, optional
        Storage of the DICOM pixels: ``uncompressed``, ``JPEG 2000``.
    frame_of_reference : str, optional
        FrameOfReferenceUID; DICOM objects in one patient space share it.
    contents : tuple of str
        Names of the structures in a segmentation, structure set or label map.
    refers_to : tuple of str
        SeriesInstanceUID of each scan that a segmentation or structure set refers to; for a scan at this path, its
        `series`.
    notes : tuple of str
        Warnings of the reader.
    blocks : bool
        Whether this is a damaged DICOM file that blocks reading until it is moved away: reading of its series or, if
        the series is unknown, of all series in its folder.
    problem : str, optional
        Reason why it cannot be read; None if it can.
    """

    kind: str
    name: str
    volume: str = ""
    series: str | None = None
    series_name: str | None = None
    modality: str | None = None
    files: int = 1
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    orientation: str | None = None
    right_handed: bool | None = None
    sheared: bool | None = None
    slices: Slices | None = None
    copies: int = 0
    repair: str | None = None
    displacement_mm: float | None = None
    dtype: str | None = None
    value_range: tuple[float, float] | None = None
    unit: str | None = None
    padding_value: float | None = None
    padding_fraction: float | None = None
    inverted: bool = False
    compression: str | None = None
    frame_of_reference: str | None = None
    contents: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    blocks: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found at a path; iterating gives the entries."""

    path: Path
    entries: tuple[Entry, ...]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @property
    def readable(self) -> tuple[Entry, ...]:
        """The entries without a problem."""
        return tuple(entry for entry in self.entries if entry.problem is None)

    def to_dict(self, *, full_paths: bool = False) -> dict[str, Any]:
        """Return plain lists, texts and numbers, as JSON takes them: ``path``, and the fields of each entry.

        Paths are relative, or the name of the inspected file or folder, unless they are wanted in full.
        """
        path = shown_path(self.path, full=full_paths)

        def shown(text: str) -> str:
            if full_paths or not self.path.is_absolute():
                return text
            return text.replace(str(self.path), path).replace(str(self.path.parent), self.path.parent.name)

        entries = [
            replace(
                entry,
                problem=entry.problem and shown(entry.problem),
                repair=entry.repair and shown(entry.repair),
                notes=tuple(map(shown, entry.notes)),
            )
            for entry in self.entries
        ]
        return {"path": path, "entries": [asdict(entry) for entry in entries]}


def grid_facts(grid: Grid) -> dict[str, Any]:
    """Return the fields of an `Entry` that a grid fills."""
    return {
        "shape": grid.shape,
        "spacing_mm": grid.spacing,
        "affine": tuple(tuple(row) for row in grid.affine.tolist()),
        "orientation": grid.orientation,
        "right_handed": grid.handedness > 0,
        "sheared": grid.is_sheared,
    }
