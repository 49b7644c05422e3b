"""Where the frames of a DICOM Segmentation lie, and how their pixels become voxels of a grid."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from volseg.core.grid import RAS_TO_LPS, Float, Grid
from volseg.core.volume import Volume
from volseg.core.voxels import FARTHEST_MM, SPACING_LIMITS_MM
from volseg.errors import InputError
from volseg.io.dicom.attributes import text_of
from volseg.io.dicom.source import DicomSource, SourceFrame, values_on_frame
from volseg.io.dicom.storage import DicomFile

_LOG = logging.getLogger(__name__)

# Positions nearer than this part of a pixel are one.
_SAME = 0.01
# Directions are written with few decimals.
_UNIT = 1e-3
# Gaps that differ by less, in mm and as a part of the step, are one step (as the reader of images has it).
_EVEN_MM, _EVEN = 0.05, 0.01
_MOST_SLICES = 1 << 14
# In the names of the classes of images that lie in a patient.
_CROSS_SECTIONS = ("CT Image", "MR Image", "MR Color", "Positron Emission", "Nuclear Medicine", "Volume", "Tomo")


@dataclass(frozen=True, eq=False, slots=True)
class Planes:
    """Where the frames lie: on parallel planes, ascending along their normal.

    `shape` is (rows, columns); `axes` (4, 4) brings column, row and mm along the normal to RAS+ mm for a plane at the
    origin; `positions` (P, 3) RAS+ mm of the planes' first pixels; `of_frames` (F,) the plane of each frame; `spacing`
    and `thickness` in mm as the file says, or None.
    """

    file: DicomFile
    shape: tuple[int, int]
    axes: Float
    positions: Float
    of_frames: NDArray[np.intp]
    spacing: float | None
    thickness: float | None
    frame_of_reference_uid: str

    @property
    def heights(self) -> Float:
        """(P,) mm along the normal."""
        return np.asarray(self.positions @ self.axes[:3, 2])


def per_frame(dataset: Dataset, sequence: str, keyword: str, *, needed: bool = True) -> NDArray[Any]:
    """(F, n) values of an attribute of the functional groups; (1, n) where the frames share it, (0, 1) if absent."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    items = shared if sequence in shared[0] else dataset.PerFrameFunctionalGroupsSequence
    values = [(item.get(sequence) or [Dataset()])[0].get(keyword) for item in items]
    if any(value is None for value in values):
        if needed:
            raise ValueError(f"a frame has no {keyword}")
        return np.empty((0, 1))
    found = np.array(values, dtype=np.float64).reshape(len(values), -1)
    if not np.isfinite(found).all():
        raise ValueError(f"{keyword} of a frame is not finite")
    return found


def without_place(dataset: Any) -> str | None:
    """Say of a sound Segmentation of what it is, if that has no place in a patient; None where it has, or should have.

    Such are those of whole-slide images, and of projections and other single pictures.
    """
    for which in ("Shared", "PerFrame"):  # the latter may be long
        groups = (dataset.get(f"{which}FunctionalGroupsSequence") or [Dataset()])[0]
        if "PlanePositionSequence" in groups or "PlaneOrientationSequence" in groups:
            return None
    source = _source_class(dataset)
    if "PlanePositionSlideSequence" in groups or "ImageOrientationSlide" in dataset:
        return "a whole-slide image, whose frames are tiles of a microscope's slide"
    if text_of(dataset, "FrameOfReferenceUID") and (not source or any(kind in source for kind in _CROSS_SECTIONS)):
        return None
    return f"a projection or other picture without a place in the patient ({source or 'unknown'})"


def not_read(what: str) -> str:
    """Say why a Segmentation of something without a place in a patient is not read."""
    return f"is a sound segmentation of {what}; not read, as only those of slices of a patient are (CT, MR, PET)"


def _source_class(dataset: Any) -> str:
    """Return what the images are that a Segmentation refers to."""
    series = dataset.get("ReferencedSeriesSequence") or [Dataset()]
    images = dataset.get("SourceImageSequence") or series[0].get("ReferencedInstanceSequence") or [Dataset()]
    return str(UID(text_of(images[0], "ReferencedSOPClassUID")).name)


def planes_of(dataset: Dataset, file: DicomFile) -> Planes:
    """Find the planes on which the frames lie."""
    axes = _axes(dataset, file)
    positions = per_frame(dataset, "PlanePositionSequence", "ImagePositionPatient") * RAS_TO_LPS.diagonal()[:3]
    if np.abs(positions).max() > FARTHEST_MM:
        raise ValueError(f"a frame lies {np.abs(positions).max():g} mm away; expected millimetres of a patient")
    count = len(dataset.PerFrameFunctionalGroupsSequence)
    if count != int(dataset.NumberOfFrames):
        raise ValueError(f"{count} frames are described and {dataset.NumberOfFrames} are there")
    positions = np.broadcast_to(positions, (count, 3))
    tolerance = _SAME * float(np.linalg.norm(axes[:3, :2], axis=0).min())
    heights = positions @ axes[:3, 2]
    order = np.argsort(heights, kind="stable")
    first = np.diff(heights[order], prepend=-np.inf) > tolerance
    of_frames = np.empty(count, np.intp)
    of_frames[order] = np.cumsum(first) - 1
    planes = positions[order][first]
    if np.abs(positions - planes[of_frames]).max() > tolerance:
        raise InputError(f"{file}: frames of one plane are shifted against each other; expected one position a plane")
    spacing, thickness = (
        next((float(v) for v in per_frame(dataset, "PixelMeasuresSequence", k, needed=False).ravel() if v > 0), None)
        for k in ("SpacingBetweenSlices", "SliceThickness")
    )
    return Planes(
        file,
        (int(dataset.Rows), int(dataset.Columns)),
        axes,
        planes,
        of_frames,
        spacing,
        thickness,
        str(dataset.get("FrameOfReferenceUID", "")),
    )


def _axes(dataset: Dataset, file: DicomFile) -> Float:
    orientations = per_frame(dataset, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacings = per_frame(dataset, "PixelMeasuresSequence", "PixelSpacing")
    if max(np.ptp(orientations, axis=0).max(), np.ptp(spacings, axis=0).max()) > _UNIT:
        raise InputError(f"{file}: its frames have several orientations or pixel spacings; expected one; split it")
    column, row = orientations[0].reshape(2, 3)
    if np.abs([np.linalg.norm(column) - 1, np.linalg.norm(row) - 1, column @ row]).max() > _UNIT:
        raise InputError(f"{file}: ImageOrientationPatient is {orientations[0].tolist()}; expected two unit vectors")
    low, high = SPACING_LIMITS_MM
    if not low <= min(spacings[0]) <= max(spacings[0]) <= high:
        raise InputError(f"{file}: PixelSpacing is {spacings[0].tolist()}; expected two numbers of millimetres above 0")
    normal = np.cross(column, row)
    axes = np.eye(4)
    axes[:3, 0] = column / np.linalg.norm(column) * spacings[0][1]
    axes[:3, 1] = row / np.linalg.norm(row) * spacings[0][0]
    axes[:3, 2] = normal / np.linalg.norm(normal)
    return np.asarray(RAS_TO_LPS @ axes)


def _regular(planes: Planes) -> tuple[Grid, NDArray[np.intp]] | None:
    """Return the grid that the planes lie on and their slices in it; None where their distances have no common step."""
    rows, columns = planes.shape
    affine = planes.axes.copy()
    affine[:3, 3] = planes.positions[0]
    if len(planes.positions) == 1:
        affine[:3, 2] *= planes.spacing or planes.thickness or 1.0
        return Grid((columns, rows, 1), affine), np.zeros(1, np.intp)
    gaps = np.diff(planes.heights)
    for step in filter(None, (planes.spacing, float(gaps.min()))):
        tolerance = min(max(_EVEN_MM, _EVEN * step), step / 4)
        counts = np.rint(gaps / step)
        if counts.sum() >= _MOST_SLICES:
            continue
        slices = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        vector = (planes.positions[-1] - planes.positions[0]) / max(slices[-1], 1)
        beside = planes.positions - planes.positions[0] - slices[:, None] * vector
        off = max(np.abs(gaps - counts * step).max(), np.abs(beside).max())
        # Without a spacing nobody knows whether planes were left out or the stack is uneven, but by their thickness.
        thick = planes.thickness is not None and abs(planes.thickness - step) <= tolerance
        told = planes.spacing is not None or counts.max() == 1 or thick
        if counts.min() >= 1 and off <= tolerance and told:
            if planes.spacing is None:
                _LOG.warning("%s: has no SpacingBetweenSlices; taken as %.4g mm", planes.file, step)
            affine[:3, 2] = vector
            return Grid((columns, rows, int(slices[-1]) + 1), affine), slices
    return None


def on_grid(stack: NDArray[Any], planes: Planes, image: Volume | Grid | None) -> tuple[NDArray[Any], Grid]:
    """Bring (P, rows, columns) to (I, J, K) on the frames' own grid, or on that of the image."""
    target = image.grid if isinstance(image, Volume) else image
    source = _source_of(image)
    regular = None if planes.spacing is None and _drawn_on(planes, source) else _regular(planes)
    if regular is None:
        if target is None:
            gaps = ", ".join(f"{gap:.4g}" for gap in sorted(set(np.diff(planes.heights).round(4))))
            raise InputError(f"{planes.file}: its slices are unevenly spaced ({gaps} mm); give the image it belongs to")
        placed = _nearest_planes(stack, planes, target, source)
    else:
        grid, slices = regular
        array = _filled(stack, slices, grid).T
        if target is None or grid.is_close(target):
            return array, target or grid
        placed = [values_on_frame(_slice(target, k, planes), array, grid) for k in range(target.shape[2])]
    result = np.stack(placed).T
    if stack.any() and not result.any():
        raise InputError(f"{planes.file}: no segment lies in the image; expected the image that it belongs to")
    return result, target


def _drawn_on(planes: Planes, source: DicomSource | None) -> bool:
    """Whether all planes are frames of the image, which then says what was left out."""
    if source is None or source.frame_of_reference_uid != planes.frame_of_reference_uid:
        return False
    heights = np.array([frame.plane[:3, 3] @ planes.axes[:3, 2] for frame in source.frames])
    return bool(np.abs(planes.heights[:, None] - heights).min(axis=1).max() <= _EVEN_MM)


def _filled(stack: NDArray[Any], slices: NDArray[np.intp], grid: Grid) -> NDArray[Any]:
    """(K, rows, columns) with background where there is no frame."""
    if len(stack) == grid.shape[2]:
        return stack
    filled = np.zeros(grid.shape[::-1], stack.dtype)
    filled[slices] = stack
    return filled


def _nearest_planes(
    stack: NDArray[Any], planes: Planes, target: Grid, source: DicomSource | None
) -> list[NDArray[Any]]:
    """K slices (J, I) of the target, each with the values of the plane nearest to it if one is near enough."""
    normal, (rows, columns) = planes.axes[:3, 2], planes.shape
    i, j = target.shape[0] - 1, target.shape[1] - 1
    corners = [target.to_world([[0, 0, k], [i, 0, k], [0, j, k]]) @ normal for k in range(target.shape[2])]
    if np.ptp(corners, axis=1).max() > _EVEN_MM:
        raise InputError(f"{planes.file}: its slices are uneven and not parallel to the image's; turn the image")
    heights, owners, reach = _known_planes(planes, source)
    placed = [np.zeros((j + 1, i + 1), stack.dtype) for _ in corners]
    for k, height in enumerate(np.mean(corners, axis=1)):
        nearest = int(np.abs(heights - height).argmin())
        distance, owner = abs(heights[nearest] - height), owners[nearest]
        if owner >= 0 and distance <= reach + _EVEN_MM:
            affine = planes.axes.copy()
            # Thick enough to hold the slice of the target.
            affine[:3, 2] *= 4 * (distance + 1)
            affine[:3, 3] = planes.positions[owner]
            plane = Grid((columns, rows, 1), affine)
            placed[k] = values_on_frame(_slice(target, k, planes), stack[owner].T[:, :, None], plane)
    return placed


def _known_planes(planes: Planes, source: DicomSource | None) -> tuple[Float, NDArray[np.intp], float]:
    """Return heights, the plane at each or -1 where the writer left out an empty one, and how far a plane reaches."""
    heights, owners = planes.heights, np.arange(len(planes.positions))
    if source is None or source.frame_of_reference_uid != planes.frame_of_reference_uid:
        return heights, owners, (planes.spacing or planes.thickness or float(np.diff(heights).min())) / 2
    others = np.array([frame.plane[:3, 3] @ planes.axes[:3, 2] for frame in source.frames])
    others = others[np.abs(others[:, None] - heights).min(axis=1) > _EVEN_MM]
    heights = np.concatenate([heights, others])
    order = np.argsort(heights)
    owners = np.concatenate([owners, np.full(len(others), -1)])[order]
    return heights[order], owners, float(np.diff(heights[order]).max()) / 2


def _source_of(image: Volume | Grid | None) -> DicomSource | None:
    source = image.source if isinstance(image, Volume) else None
    return source if isinstance(source, DicomSource) else None


def warn_elsewhere(planes: Planes, image: Volume | Grid | None) -> None:
    """Warn where the Segmentation has another frame of reference than the image."""
    source = _source_of(image)
    if source is not None and source.frame_of_reference_uid != planes.frame_of_reference_uid:
        _LOG.warning("%s: has another frame of reference than the image; they may not lie together", planes.file)


def _slice(grid: Grid, k: int, planes: Planes) -> SourceFrame:
    """Return a slice of a grid as a frame, to bring values onto it."""
    plane = grid.affine.copy()
    plane[:3, 3] = grid.to_world([0, 0, k])
    return SourceFrame(planes.file, "", "", None, grid.shape[0], grid.shape[1], plane)
