"""Whether a segmentation lies where its image lies: by their headers, and by where the labels are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from volseg.core.grid import RAS_TO_LPS
from volseg.core.labelmap import LabelMap, VoxelRange, label_extent
from volseg.core.volume import Volume
from volseg.errors import InputError, UsageError
from volseg.io import Catalogue, look, read_layers
from volseg.io.dicom import LabelObject, Series, SeriesReference, Stack, arrange, read_stack
from volseg.io.labels import check_labels, names_volume, single_label_map
from volseg.verification.placement import (
    ContourPlacement,
    Placement,
    compare_grids,
    place_contours,
)

Relation = Literal[
    "same grid", "other storage order", "part of the grid", "slices of a scan", "contours", "other grid", "apart"
]


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
        As of `volseg.verification.placement.Placement`; ``contours`` of a structure set, in mm; ``slices of a scan``
        where the frames of a DICOM segmentation lie on a stack that is resampled when it is read.
    worst_corner_mm : float, optional
        As of `Placement`; None where the segmentation has no grid.
    tolerance_mm : float
        Corners up to this far apart are the same.
    shift_mm, mirrored
        As of `Placement`.
    image_grid, segmentation_grid : str
        Size, spacing, orientation and origin.
    same_frame_of_reference : bool, optional
        Whether both have the same DICOM FrameOfReferenceUID, and not two patients' IDs; None where one has none.
    refers_to_image : bool, optional
        Whether a DICOM segmentation or structure set was made on the series of the image; None where it does not say.
    label_extent : 3 pairs of (first, last), optional
        Image voxels from the first to the last labelled one along each axis; None where nothing is labelled.
    outside_fraction : float, optional
        How much of the labelled voxels, or contours, lies outside the image, 0 to 1; None where there are none.
    contour_slices : int, optional
        On how many slices of the image contours lie.
    contours_between : int, optional
        How many contours lie between its slices.
    made_on : tuple of str
        SeriesInstanceUID of what a DICOM object refers to.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> phantom = make_ct_phantom(seed=1)
    >>> files = volseg.write(phantom.volume, "scan.nii.gz"), volseg.write(phantom.labels, "labels.nii.gz")
    >>> verification = volseg.verify("scan.nii.gz", "labels.nii.gz")
    >>> verification.agrees, verification.relation, verification.outside_fraction
    (True, 'same grid', 0.0)
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
    label_extent: VoxelRange | None
    outside_fraction: float | None
    contour_slices: int | None = None
    contours_between: int | None = None
    made_on: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the two agree."""
        return self.agrees

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, texts and numbers, as JSON takes them."""
        return asdict(self)

    def describe(self) -> str:
        """Say in a sentence whether the two agree, and where they do not, what to do."""
        what = self._what()
        if not self.agrees and self.refers_to_image is False:
            what = f"was made on another series than {self.image}; on this one it {what}"
        return f"{self.segmentation}: {what}{'' if self.agrees else self._advice()}"

    def _what(self) -> str:
        corners = "" if self.worst_corner_mm is None else f" (corners up to {self.worst_corner_mm:.3g} mm apart)"
        between = f", {self.contours_between} of them between slices" if self.contours_between else ""
        lost = f"; {100 * self.outside_fraction:.3g} % of it lies outside the image" if self.outside_fraction else ""
        cause = Placement("other grid", 0.0, self.shift_mm, self.mirrored).cause
        what = {
            "same grid": f"lies on the grid of the image{corners}",
            "other storage order": f"has the voxels of the image, stored in another order{corners}",
            "part of the grid": "has voxels of the image, but not all of them",
            "slices of a scan": "lies on slices of a scan as they are stored, which have no even grid",
            "contours": f"has contours in patient mm, on {self.contour_slices} slices of the image{between}",
            "other grid": f"{cause or 'lies on another grid'}{corners}",
            "apart": f"{cause or 'lies apart from the image'}{corners}",
        }[self.relation]
        return f"{what}{lost}"

    def _advice(self) -> str:
        if self.refers_to_image is False:
            space = ", of another patient space (FrameOfReferenceUID)" if self.same_frame_of_reference is False else ""
            return f"; give the series that it was made on{space}: {', '.join(self.made_on)}"
        if self.same_frame_of_reference is False:
            return "; it belongs to another patient space (FrameOfReferenceUID); give the scan that it was made on"
        if self.relation in ("apart", "contours"):
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
        Which series of an image with several; else that which a DICOM segmentation says it was made on. By the name of
        a volume of a segmentation with several, that.
    tolerance_mm : float, optional
        Corners up to this far apart are the same; where nothing is said, by the rule of `Grid.is_close`, or what the
        few decimals leave open that place the scan's slices, up to half a voxel.

    Raises
    ------
    InputError, GeometryError
        One of the two cannot be read.
    UsageError
        `tolerance_mm` is negative or not finite.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> phantom = make_ct_phantom(seed=1)
    >>> files = volseg.write(phantom.volume, "scan.nii.gz"), volseg.write(phantom.labels, "labels.nii.gz")
    >>> volseg.verify("scan.nii.gz", "labels.nii.gz").describe()
    'labels.nii.gz: lies on the grid of the image (corners up to 0 mm apart)'
    """
    _check_tolerance(tolerance_mm)
    found = look(segmentation)
    own = single_label_map(found)
    if own is not None and own != found.path:
        found = look(own)
    dicom = found.label_object
    volume = series if names_volume(found.path, series) else None
    scan = _Image(look(image, known=found), None if volume else series, dicom)
    layers, own_grid = _read_layers(found, scan, volume)
    check_labels(layers, found.path)
    usual = scan.grid.tolerance_mm(layers[0].grid)
    if tolerance_mm is None and scan.rounding_mm > usual:
        tolerance_mm = scan.rounding_mm
    tolerance = usual if tolerance_mm is None else tolerance_mm
    placement = compare_grids(scan.grid, layers[0].grid, tolerance_mm=tolerance_mm)
    own_grid = own_grid and not (dicom and scan.repaired_has(layers, tolerance))
    reference = dicom.reference if dicom else SeriesReference((), "")
    same_space = _same_space(scan.reference, reference)
    refers = _refers(scan.reference, reference)
    extent, outside = label_extent(layers, scan.grid)
    relation: Relation = placement.relation if own_grid else "slices of a scan"
    contours = place_contours(found.structures.contours, scan.grid, scan.stack) if found.structures else None
    if contours:
        relation, outside = "contours", contours.outside_fraction
    fits = _fits(relation, contours, refers, partly=dicom is not None)
    return Verification(
        image=str(image),
        segmentation=str(segmentation),
        # What was made on the series needs no other sign of the same space.
        agrees=fits and (same_space is not False or bool(refers)),
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
        contour_slices=contours.slices if contours else None,
        contours_between=contours.between if contours else None,
        made_on=reference.series_uids,
    )


class _Image:
    """The scan: its grid and series from headers, its voxels only where they are needed."""

    def __init__(self, found: Catalogue, series: str | None, labels: LabelObject | None) -> None:
        self._found, self._wanted = found, series
        self._series: Series | None = None
        self.reference: SeriesReference | None = None
        self.stack: Stack | None = None
        self.is_repaired, self.rounding_mm = False, 0.0
        if not found.is_dicom:
            self.grid = found.grid()
            return
        chosen = found.series(series, of=labels)
        first, plan = chosen.frames[0], arrange(chosen)
        self._series, self.grid, self.stack = chosen, plan.grid, plan.stack
        self.is_repaired = plan.repair is not None
        self.rounding_mm = min(plan.stack.rounding_mm, 0.5 * min(plan.grid.spacing))
        instances = frozenset(frame.sop_instance_uid for frame in chosen.frames)
        self.reference = SeriesReference((first.series_uid,), first.frame_of_reference_uid, instances, first.patient_id)

    def repaired_has(self, layers: Sequence[LabelMap], tolerance_mm: float) -> bool:
        """Whether it is resampled when it is read, and labels lie on its slices as they are stored."""
        return self.is_repaired and self.stack is not None and _are_stored_slices(layers, self.stack, tolerance_mm)

    @cached_property
    def volume(self) -> Volume:
        if self._series is not None:
            return read_stack(self._series, self._found.path)
        return self._found.scan(self._wanted).read()


def _check_tolerance(tolerance_mm: float | None) -> None:
    if tolerance_mm is not None and not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise UsageError(f"tolerance is {tolerance_mm}; expected millimetres of at least 0")


def _read_layers(found: Catalogue, scan: _Image, volume: str | None) -> tuple[tuple[LabelMap, ...], bool]:
    """Read a segmentation on its own grid and return True, or, if it has none, on the image's and return False."""
    labels = found.label_object
    if labels is None or not labels.is_contours:
        try:
            return read_layers(found, series=volume), True
        except InputError:
            if labels is None:
                raise
    return read_layers(found, image=scan.volume), False


def _are_stored_slices(layers: Sequence[LabelMap], stack: Stack, tolerance_mm: float) -> bool:
    """Whether every labelled plane is a slice of the stack, as its own header places it."""
    first, grid, ends = stack.frames[0], layers[0].grid, stack.ends
    if grid.shape[:2] != (first.columns, first.rows):
        return False
    stored = RAS_TO_LPS @ stack.planes @ ends
    labelled = np.any([layer.array.any(axis=(0, 1)) for layer in layers], axis=0)
    planes = grid.affine @ ends + grid.affine[:, 2:3] * np.flatnonzero(labelled)[:, None, None]
    distances = np.linalg.norm(planes[:, None, :3] - stored[None, :, :3], axis=2).max(axis=2)
    return bool((distances.min(axis=1) <= tolerance_mm).all())


def _fits(relation: Relation, contours: ContourPlacement | None, refers: bool | None, *, partly: bool) -> bool:
    if relation == "slices of a scan":
        return bool(refers)
    if contours is not None:
        on_slices = contours.between == 0 or (
            bool(refers) and contours.slices > 0
        )  # planning systems draw between the slices, too
        return refers is not False and on_slices and contours.outside_fraction == 0
    return relation in ("same grid", "other storage order") or (partly and relation == "part of the grid")


def _same_space(one: SeriesReference | None, other: SeriesReference | None) -> bool | None:
    if one is None or other is None or not (one.frame_of_reference_uid and other.frame_of_reference_uid):
        return None
    patients = {reference.patient_id.strip().casefold() for reference in (one, other)} - {""}
    return one.frame_of_reference_uid == other.frame_of_reference_uid and len(patients) < 2


def _refers(image: SeriesReference | None, other: SeriesReference | None) -> bool | None:
    if image is None or other is None or not other.series_uids:
        return None
    # One UID may stand for several volumes.
    elsewhere = other.instance_uids and image.instance_uids.isdisjoint(other.instance_uids)
    return not elsewhere and bool(set(image.series_uids) & set(other.series_uids))
