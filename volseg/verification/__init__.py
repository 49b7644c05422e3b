"""Whether a segmentation lies on its image, by their headers and by the positions of the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
    """Result of `verify`; its fields are the keys of ``volseg verify --json``.

    Parameters
    ----------
    image, segmentation : str
        The paths.
    agrees : bool
        Whether the two have the same voxels, in any storage order, in the same patient space. A DICOM object may leave
        out slices.
    relation : str
        As in `volseg.verification.placement.Placement`; or ``contours`` for a structure set, which is in mm; or
        ``slices of a scan`` if the frames of a DICOM segmentation lie on a stack that is resampled when it is read.
    worst_corner_mm : float, optional
        As in `Placement`; None if the segmentation has no grid.
    tolerance_mm : float
        Corners at most this far apart count as the same.
    shift_mm, mirrored
        As in `Placement`.
    image_grid, segmentation_grid : str
        Size, spacing, orientation and origin.
    same_frame_of_reference : bool, optional
        Whether both have the same DICOM FrameOfReferenceUID and no different patient IDs; None if a UID is missing.
    refers_to_image : bool, optional
        Whether a DICOM segmentation or structure set refers to the series of the image; None if it refers to no series.
    label_extent : 3 pairs of (first, last), optional
        First and last labelled voxel of the image along each axis; None if nothing is labelled.
    outside_fraction : float, optional
        Fraction of the labelled voxels, or of the contours, outside the image, 0 to 1; None if nothing is labelled.
    contour_slices : int, optional
        Number of slices of the image with contours.
    contours_between : int, optional
        Number of contours between its slices.
    made_on : tuple of str
        SeriesInstanceUID of each series that a DICOM object refers to.

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
        """Say in a sentence whether the two agree and, if not, what to do."""
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
            "slices of a scan": "lies on the stored slices of a scan, which are not evenly spaced",
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
        return f"; if it was drawn on this image, its header is wrong: write it again; else {convert}"


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
        The series of an image with several, or the name of a volume of a segmentation with several. The default is the
        series that a DICOM segmentation refers to.
    tolerance_mm : float, optional
        Corners at most this far apart count as the same. The default is the rule of `Grid.is_close` or, if larger, the
        rounding of the slice positions in the scan's headers, up to half a voxel.

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
    found = _labels_at(segmentation)
    volume = series if names_volume(found.path, series) else None
    scan = _Image(look(image, known=found), None if volume else series, found.label_object)
    layers, own_grid = _read_layers(found, scan, volume)
    check_labels(layers, found.path)
    tolerance = scan.tolerance_mm(layers) if tolerance_mm is None else tolerance_mm
    placement = compare_grids(scan.grid, layers[0].grid, tolerance_mm=tolerance)
    if found.label_object is not None and scan.repaired_has(layers, tolerance):
        own_grid = False
    where = _where(found, scan, layers, placement if own_grid else None)
    belongs = _belonging(found.label_object, scan.reference)
    return Verification(
        image=str(image),
        segmentation=str(segmentation),
        agrees=_agrees(where, belongs, is_dicom=found.label_object is not None),
        relation=where.relation,
        worst_corner_mm=placement.worst_corner_mm if own_grid else None,
        tolerance_mm=tolerance,
        shift_mm=placement.shift_mm,
        mirrored=placement.mirrored,
        image_grid=scan.grid.describe(),
        segmentation_grid=layers[0].grid.describe(),
        same_frame_of_reference=belongs.same_space,
        refers_to_image=belongs.refers,
        label_extent=where.extent,
        outside_fraction=where.outside,
        contour_slices=where.contours.slices if where.contours else None,
        contours_between=where.contours.between if where.contours else None,
        made_on=belongs.made_on,
    )


def _labels_at(segmentation: str | Path) -> Catalogue:
    """Look at a segmentation, or at the label map in the folder of a predicted case."""
    found = look(segmentation)
    own = single_label_map(found)
    return found if own in (None, found.path) else look(str(own))


class _Image:
    """The scan: its grid and series from headers, its voxels only if they are needed."""

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

    def tolerance_mm(self, layers: Sequence[LabelMap]) -> float:
        """Return the largest distance of equal corners: the usual one, or the rounding of slice positions."""
        return max(self.grid.tolerance_mm(layers[0].grid), self.rounding_mm)

    def repaired_has(self, layers: Sequence[LabelMap], tolerance_mm: float) -> bool:
        """Whether reading resamples the scan, and the labels lie on its stored slices."""
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
    """Return a segmentation on its own grid and True; if it has no grid, on the image's and False."""
    labels = found.label_object
    if labels is None or not labels.is_contours:
        try:
            return read_layers(found, series=volume), True
        except InputError:
            if labels is None:
                raise
    return read_layers(found, image=scan.volume), False


def _are_stored_slices(layers: Sequence[LabelMap], stack: Stack, tolerance_mm: float) -> bool:
    """Whether every labelled plane is a slice of the stack, at the position in its header."""
    first, grid, ends = stack.frames[0], layers[0].grid, stack.ends
    if grid.shape[:2] != (first.columns, first.rows):
        return False
    stored = RAS_TO_LPS @ stack.planes @ ends
    labelled = np.any([layer.array.any(axis=(0, 1)) for layer in layers], axis=0)
    planes = grid.affine @ ends + grid.affine[:, 2:3] * np.flatnonzero(labelled)[:, None, None]
    distances = np.linalg.norm(planes[:, None, :3] - stored[None, :, :3], axis=2).max(axis=2)
    return bool((distances.min(axis=1) <= tolerance_mm).all())


class _Where(NamedTuple):
    """Position of labels or contours; `extent` and `outside` are those of `label_extent`."""

    relation: Relation
    extent: VoxelRange | None
    outside: float | None
    contours: ContourPlacement | None


def _where(found: Catalogue, scan: _Image, layers: Sequence[LabelMap], placement: Placement | None) -> _Where:
    """Say where a segmentation lies; `placement` is None if it has no grid of its own."""
    extent, outside = label_extent(layers, scan.grid)
    if found.structures is not None:
        contours = place_contours(found.structures.contours, scan.grid, scan.stack)
        return _Where("contours", extent, contours.outside_fraction, contours)
    return _Where(placement.relation if placement else "slices of a scan", extent, outside, None)


class _Belonging(NamedTuple):
    """Whether a segmentation shares the patient space and the series of an image; None if a header does not say."""

    same_space: bool | None
    refers: bool | None
    made_on: tuple[str, ...]


def _belonging(labels: LabelObject | None, image: SeriesReference | None) -> _Belonging:
    own = labels.reference if labels else None
    made_on = own.series_uids if own else ()
    if own is None or image is None:
        return _Belonging(None, None, made_on)
    return _Belonging(_same_space(image, own), _refers(image, own), made_on)


def _same_space(one: SeriesReference, other: SeriesReference) -> bool | None:
    if not (one.frame_of_reference_uid and other.frame_of_reference_uid):
        return None
    patients = {reference.patient_id.strip().casefold() for reference in (one, other)} - {""}
    return one.frame_of_reference_uid == other.frame_of_reference_uid and len(patients) < 2


def _refers(image: SeriesReference, other: SeriesReference) -> bool | None:
    if not other.series_uids:
        return None
    # One UID may stand for several volumes.
    elsewhere = other.instance_uids and image.instance_uids.isdisjoint(other.instance_uids)
    return not elsewhere and bool(set(image.series_uids) & set(other.series_uids))


def _agrees(where: _Where, belongs: _Belonging, *, is_dicom: bool) -> bool:
    if belongs.same_space is False and not belongs.refers:  # a reference to the series proves the same space
        return False
    if where.relation == "slices of a scan":
        return bool(belongs.refers)
    if where.contours is not None:
        return _contours_agree(where.contours, belongs.refers)
    is_part = where.relation == "part of the grid"  # a DICOM object may leave out slices
    return where.relation in ("same grid", "other storage order") or (is_dicom and is_part)


def _contours_agree(contours: ContourPlacement, refers: bool | None) -> bool:
    if refers is False or contours.outside_fraction > 0:
        return False
    # Planning systems also draw contours between slices.
    return contours.between == 0 or (bool(refers) and contours.slices > 0)
