"""Whether a segmentation lies where its image lies: by their headers, and by where the labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from volseg.errors import InputError
from volseg.geometry import RAS_TO_LPS
from volseg.io import read, read_grid, read_label_layers
from volseg.io.dicom_grid import Stack
from volseg.io.dicom_objects import (
    SeriesReference,
    is_dicom_input,
    is_structure_set,
    label_objects,
    read_label_object,
)
from volseg.io.label_files import single_label_map
from volseg.labelmap import LabelMap
from volseg.placement import Extent, compare_grids, grid_tolerance_mm, label_extent
from volseg.volume import Volume

Relation = Literal["same grid", "other storage order", "part of the grid", "slices of a scan", "other grid", "apart"]


@dataclass(frozen=True)
class Verification:
    """What `verify` found; the fields are the keys of ``volseg verify --json``.

    Parameters
    ----------
    image, segmentation : str
        The paths.
    agrees : bool
        The same voxels, in whatever storage order, of the same patient space. A DICOM object may leave out slices.
    relation : str
        As of `volseg.placement.Placement`; ``slices of a scan`` where a DICOM object has no grid of its own:
        contours, or frames of a stack that is resampled when it is read.
    worst_corner_mm : float, optional
        As of `Placement`; None for ``slices of a scan``.
    tolerance_mm : float
        Corners up to this far apart are the same.
    shift_mm, mirrored
        As of `Placement`.
    image_grid, segmentation_grid : str
        Size, spacing, orientation and origin.
    same_frame_of_reference : bool, optional
        Whether both have the same DICOM FrameOfReferenceUID; None where one of them has none.
    refers_to_image : bool, optional
        Whether a DICOM segmentation or structure set was made on the series of the image; None where it does not say.
    label_extent : 3 pairs of (first, last), optional
        Image voxels from the first to the last labelled one along each axis; None where nothing is labelled.
    outside_fraction : float, optional
        How much of the labelled voxels lies outside the image, 0 to 1; None where nothing is labelled.
    """

    image: str
    segmentation: str
    agrees: bool
    relation: Relation
    worst_corner_mm: float | None
    tolerance_mm: float
    shift_mm: tuple[float, float, float] | None
    mirrored: str
    image_grid: str
    segmentation_grid: str
    same_frame_of_reference: bool | None
    refers_to_image: bool | None
    label_extent: Extent | None
    outside_fraction: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, texts and numbers, as JSON takes them."""
        return asdict(self)

    def describe(self) -> str:
        """Say in a sentence whether the two agree, and where they do not, what to do."""
        corners = "" if self.worst_corner_mm is None else f" (corners up to {self.worst_corner_mm:.3g} mm apart)"
        what = {
            "same grid": f"lies on the grid of the image{corners}",
            "other storage order": f"has the voxels of the image, stored in another order{corners}",
            "part of the grid": "has voxels of the image, but not all of them",
            "slices of a scan": "lies on slices of a scan as they are stored, which have no even grid",
            "other grid": f"lies in the same place on another grid{corners}{self._cause()}",
            "apart": f"lies apart from the image{corners}{self._cause()}",
        }[self.relation]
        return f"{self.segmentation}: {what}{'' if self.agrees else self._advice()}"

    def _cause(self) -> str:
        if self.mirrored:
            which = "left and right, front and back" if self.mirrored == "xy" else ", ".join(self.mirrored)
            taken = ", as where LPS was taken for RAS" if self.mirrored == "xy" else ""
            return f", which is that of the image with {which} exchanged{taken}"
        if self.shift_mm:
            return f", which is that of the image moved by ({', '.join(f'{mm:g}' for mm in self.shift_mm)}) mm"
        return ""

    def _advice(self) -> str:
        if self.same_frame_of_reference is False and not self.refers_to_image:
            return "; it belongs to another patient space (FrameOfReferenceUID); give the scan that it was made on"
        if self.relation == "slices of a scan":
            return "; it was made on another series; give that one"
        if self.relation == "apart":
            return "; it belongs to another scan, or its header is wrong; give the scan that it was made on"
        convert = f"`volseg convert {self.segmentation} OUT --image {self.image}` brings it onto the image's grid"
        if self.relation == "part of the grid":
            return f"; {convert}"
        return f"; if it was drawn on this very image, its header is wrong: write it anew; else {convert}"


def verify(
    image: str | Path, segmentation: str | Path, *, series: str | None = None, tolerance_mm: float | None = None
) -> Verification:
    """Say whether a segmentation lies on the voxels of an image.

    Parameters
    ----------
    image : path
        A scan, as `volseg.read` takes it.
    segmentation : path
        A label map, as `volseg.read_labels` takes it, or the folder of a predicted case; labels may overlap.
    series : str, optional
        Which series of an image with several.
    tolerance_mm : float, optional
        Corners up to this far apart are the same; 1 % of the image's smallest spacing, at least 0.001 mm, where nothing
        is said.

    Raises
    ------
    InputError, GeometryError
        One of the two cannot be read.
    """
    path = single_label_map(Path(segmentation)) or Path(segmentation)
    scan, dicom = _Image(Path(image), series), _read_object(path)
    layers, own_grid = _read_layers(path, scan, dicom)
    tolerance = grid_tolerance_mm(scan.grid) if tolerance_mm is None else tolerance_mm
    placement = compare_grids(scan.grid, layers[0].grid, tolerance_mm=tolerance)
    if dicom is not None and scan.repaired is not None and _are_stored_slices(layers, scan.repaired, tolerance):
        own_grid = False
    relation: Relation = placement.relation if own_grid else "slices of a scan"
    reference = None if dicom is None else dicom.reference
    same_space, refers = _same_space(scan.reference, reference), _refers(scan.reference, reference)
    extent, outside = label_extent(layers, scan.grid)
    return Verification(
        image=str(image),
        segmentation=str(segmentation),
        agrees=_agrees(relation, same_space, refers, partly=dicom is not None),
        relation=relation,
        worst_corner_mm=placement.worst_corner_mm if own_grid else None,
        tolerance_mm=tolerance,
        shift_mm=placement.shift_mm,
        mirrored=placement.mirrored,
        image_grid=scan.grid.describe(),
        segmentation_grid=layers[0].grid.describe(),
        same_frame_of_reference=same_space,
        refers_to_image=refers,
        label_extent=extent,
        outside_fraction=outside,
    )


class _Image:
    """The scan: its grid and series from headers, its voxels only where they are needed."""

    def __init__(self, path: Path, series: str | None) -> None:
        self._path, self._wanted = path, series
        self.reference: SeriesReference | None = None
        self.repaired: Stack | None = None
        if not is_dicom_input(path):
            self.grid = read_grid(path)
            return
        from volseg.io.dicom import arrange, list_series
        from volseg.io.dicom_series import choose_series

        chosen = choose_series(list_series(path), path, series)
        first, plan = chosen.frames[0], arrange(chosen)
        self.grid = plan.grid
        self.repaired = plan.stack if plan.repair is not None else None
        self.reference = SeriesReference((first.series_uid,), first.frame_of_reference_uid)

    @cached_property
    def volume(self) -> Volume:
        return read(self._path, series=self._wanted)


@dataclass(frozen=True)
class _Object:
    reference: SeriesReference
    is_contours: bool


def _read_object(path: Path) -> _Object | None:
    """Read the header of a DICOM segmentation or structure set; None where it is of another format."""
    if not is_dicom_input(path):
        return None
    from volseg.io.dicom import scan_dicom

    found = label_objects(scan_dicom(path))
    if len(found) != 1:  # reading it will say what is wrong
        return None
    return _Object(read_label_object(found[0].file).reference, is_structure_set(found[0]))


def _read_layers(path: Path, scan: _Image, dicom: _Object | None) -> tuple[tuple[LabelMap, ...], bool]:
    """Read a segmentation on its own grid and return True, or, where it has none, on the image's and return False."""
    if dicom is None or not dicom.is_contours:
        try:
            return read_label_layers(path), True
        except InputError:
            if dicom is None:
                raise
    return read_label_layers(path, image=scan.volume), False


def _are_stored_slices(layers: Sequence[LabelMap], stack: Stack, tolerance_mm: float) -> bool:
    """Whether every labelled plane is a slice of the stack, as its own header places it."""
    first, grid = stack.frames[0], layers[0].grid
    if grid.shape[:2] != (first.columns, first.rows):
        return False
    ends = np.array([[0, 0, 0, 1], [first.columns - 1, 0, 0, 1], [0, first.rows - 1, 0, 1]], dtype=float).T
    stored = RAS_TO_LPS @ stack.planes @ ends
    labelled = np.any([layer.array.any(axis=(0, 1)) for layer in layers], axis=0)
    planes = grid.affine @ ends + grid.affine[:, 2:3] * np.flatnonzero(labelled)[:, None, None]
    distances = np.linalg.norm(planes[:, None, :3] - stored[None, :, :3], axis=2).max(axis=2)
    return bool((distances.min(axis=1) <= tolerance_mm).all())


def _agrees(relation: Relation, same_space: bool | None, refers: bool | None, *, partly: bool) -> bool:
    if relation == "slices of a scan":
        return bool(refers)
    same_voxels = relation in ("same grid", "other storage order") or (partly and relation == "part of the grid")
    # What was made on the series needs no other sign of the same space.
    return same_voxels and (same_space is not False or bool(refers))


def _same_space(one: SeriesReference | None, other: SeriesReference | None) -> bool | None:
    if one is None or other is None or not (one.frame_of_reference_uid and other.frame_of_reference_uid):
        return None
    return one.frame_of_reference_uid == other.frame_of_reference_uid


def _refers(image: SeriesReference | None, other: SeriesReference | None) -> bool | None:
    if image is None or other is None or not other.series_uids:
        return None
    return bool(set(image.series_uids) & set(other.series_uids))
