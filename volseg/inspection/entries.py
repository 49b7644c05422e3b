"""What an inspection tells of each image: the keys of ``volseg inspect --json``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from volseg.core.grid import Grid
from volseg.files.names import shown_path


@dataclass(frozen=True)
class Slices:
    """Where the slices of a DICOM series lie by their own headers, before anything is repaired.

    Parameters
    ----------
    order : str
        What places them: ``positions along the normal``, ``functional groups``, ``first position and spacing of a
        multi-frame file``, ``tiles of a mosaic``.
    usual_gap_mm, widest_gap_mm : float
        Distance of neighbours along their normal.
    tilt_degrees : float
        Between the line through the first pixels of first and last slice, and the normal.
    """

    order: str
    usual_gap_mm: float
    widest_gap_mm: float
    tilt_degrees: float


@dataclass(frozen=True)
class Entry:
    """One image, series, segmentation or unreadable file that was found.

    Parameters
    ----------
    kind : str
        ``DICOM series``, ``NIfTI``, ``NRRD``, ``MetaImage``, ``MGH``; ``DICOM`` and what it is for objects that are no
        image; ``DICOM file`` where it is damaged or none; ``archive`` of members that are left out.
    name : str
        Series description, or the file's path inside the folder.
    volume : str
        What tells it from the other volumes of the same series or file: ``time2``, ``b1000``, ``scan_3``; else empty.
    series : str, optional
        What ``--series`` takes: of DICOM the full id, of files with several volumes the name of one.
    series_name : str, optional
        Description and label of a DICOM volume, which ``--series`` takes, too, where they are unique.
    modality : str, optional
        ``CT``, ``MR``, ``PT``.
    files : int
        How many files it is made of.
    shape : (I, J, K), optional
        Voxels along each array axis, as `volseg.read` returns them; where it refuses, what the headers say.
    spacing_mm : (I, J, K), optional
        Distance of voxel centres along each array axis.
    affine : 4 rows of 4, optional
        Voxel index -> world mm, RAS+.
    orientation : str, optional
        Patient direction towards which each array axis grows, such as ``LPS``.
    right_handed : bool, optional
        Whether the array axes form a right-handed system.
    sheared : bool, optional
        Whether they are not perpendicular.
    slices : Slices, optional
        Of DICOM series with several slices.
    copies : int
        Files that are left out, as they are another file of the series byte for byte.
    repair : str, optional
        What is wrong with the slices, and what is done about it when they are read; None where they are even.
    displacement_mm : float, optional
        How far a slice would lie from its place without that repair.
    dtype : str, optional
        Type of the values as `volseg.read` returns them.
    value_range : (lowest, highest), optional
        Over all voxels; None where only headers were read.
    unit : str, optional
        ``HU``, ``BQML``.
    padding_value : float, optional
        The value that DICOM files give to pixels without image, after rescaling.
    padding_fraction : float, optional
        How much of the volume has it, 0 to 1; None where only headers were read.
    inverted : bool
        MONOCHROME1: dark pixels have high values.
    compression : str, optional
        How DICOM pixels are stored: ``uncompressed``, ``JPEG 2000``.
    frame_of_reference : str, optional
        FrameOfReferenceUID, the same for DICOM objects in the same patient space.
    contents : tuple of str
        Names of the structures in a segmentation, structure set or label map.
    refers_to : tuple of str
        SeriesInstanceUID of the scans that a segmentation or structure set belongs to; `series` of the one that it
        belongs to where that is here.
    notes : tuple of str
        What the reader warns of.
    blocks : bool
        A damaged DICOM file that keeps series from being read until it is moved away: its own or, where nobody knows
        which that is, all of its folder.
    problem : str, optional
        Why it cannot be read; None if it can.
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

        Paths begin at the working folder, or are the name of what was looked at, unless they are asked for in full.
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
