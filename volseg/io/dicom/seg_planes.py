"""Where the frames of a DICOM Segmentation lie, and how their pixels become voxels of a grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from volseg.core.grid import RAS_TO_LPS, Float, Grid
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.io.dicom.attributes import Attributes, number_of, numbers_of, text_of
from volseg.io.dicom.frames import attributes_of_frames
from volseg.io.dicom.planes import PlaneStack, directions_of, even_within_mm, levels_of, normal_of, planes_of
from volseg.io.dicom.source import DicomSource, GridSlice, values_on_frame
from volseg.io.dicom.storage import DicomFile

_LOG = logging.getLogger(__name__)

_GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "SegmentIdentificationSequence",
)
# Positions nearer than this part of a pixel are the same.
_SAME = 0.01
# Directions and pixel spacings that differ by less are the same.
_ALIKE = 1e-3
# A slice of the image and a frame that are nearer than this along the normal are at the same height.
_SAME_HEIGHT_MM = 0.05
# In the names of the classes of images that lie in a patient.
_CROSS_SECTIONS = ("CT Image", "MR Image", "MR Color", "Positron Emission", "Nuclear Medicine", "Volume", "Tomo")


@dataclass(frozen=True, eq=False, slots=True)
class SegmentFrames:
    """Where the frames lie, and which segment each belongs to.

    Parameters
    ----------
    file : DicomFile
        The Segmentation.
    stack : PlaneStack
        The planes on which there are frames, RAS+.
    planes : (F,) intp
        The plane of each frame.
    segments : list of F ints
        The segment number of each frame; 0 in a label map segmentation, whose frames hold all segments.
    spacing, thickness : float or None
        Between slices and of a slice, mm, as the file says.
    frame_of_reference_uid : str
        Of the patient space; empty if unsaid.
    """

    file: DicomFile
    stack: PlaneStack
    planes: NDArray[np.intp]
    segments: list[int]
    spacing: float | None
    thickness: float | None
    frame_of_reference_uid: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(planes, rows, columns)."""
        return len(self.stack.planes), self.stack.rows, self.stack.columns


class _FramePlace(NamedTuple):
    """A frame as a `volseg.io.dicom.planes.Placed` picture."""

    file: DicomFile
    number: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None

    def __str__(self) -> str:
        return f"{self.file} (frame {self.number})"


def without_place(dataset: Any) -> str | None:
    """Say what a sound Segmentation was made on, if that has no place in a patient: a slide, a projection.

    Parameters
    ----------
    dataset : Dataset
        With its functional groups and references.

    Returns
    -------
    str or None
        None if it has a place, or should have one.
    """
    groups = Dataset()
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):  # the latter may be long
        groups = (dataset.get(keyword) or [Dataset()])[0]
        if "PlanePositionSequence" in groups or "PlaneOrientationSequence" in groups:
            return None
    if "PlanePositionSlideSequence" in groups or "ImageOrientationSlide" in dataset:
        return "a whole-slide image, whose frames are tiles of a microscope's slide"
    source = _source_class(dataset)
    if _may_be_cross_section(source) and text_of(dataset, "FrameOfReferenceUID"):
        return None
    return f"a projection or other picture without a place in the patient ({source or 'unknown'})"


def _may_be_cross_section(source: str) -> bool:
    return not source or any(kind in source for kind in _CROSS_SECTIONS)


def not_read(what: str) -> str:
    """Say why a Segmentation of something without a place in a patient is not read.

    Parameters
    ----------
    what : str
        From `without_place`.
    """
    return f"is a sound segmentation of {what}; not read, as only those of slices of a patient are (CT, MR, PET)"


def _source_class(dataset: Any) -> str:
    """Return the kind of image that a Segmentation refers to; empty if unsaid."""
    images = dataset.get("SourceImageSequence")
    if not images:
        series = dataset.get("ReferencedSeriesSequence") or [Dataset()]
        images = series[0].get("ReferencedInstanceSequence") or [Dataset()]
    return str(UID(text_of(images[0], "ReferencedSOPClassUID")).name)


def read_frames(dataset: Dataset, file: DicomFile) -> SegmentFrames:
    """Find the planes on which the frames of a Segmentation lie.

    Parameters
    ----------
    dataset : Dataset
        The Segmentation.
    file : DicomFile
        Where it is stored, for messages.

    Raises
    ------
    InputError
        The place of a frame is missing or unusable, the frames have several orientations, or frames at one height are
        shifted against each other.
    ValueError
        Another number of frames is described than there are, or an attribute has impossible values.
    """
    frames = list(attributes_of_frames(dataset, _GROUPS))
    planes = _parallel_planes(frames, file)
    normal = normal_of(planes[0])
    positions = planes[:, :3, 3]
    same = _SAME * float(np.linalg.norm(planes[0, :3, :2], axis=0).min())
    levels = levels_of(positions @ normal, same)
    _, firsts = np.unique(levels, return_index=True)
    if np.abs(positions - positions[firsts][levels]).max() > same:
        raise InputError(f"{file}: frames of one plane are shifted against each other; expected one position a plane")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    return SegmentFrames(
        file=file,
        stack=PlaneStack(planes=planes[firsts], normal=normal, columns=columns, rows=rows),
        planes=levels,
        segments=_segments(dataset, frames),
        spacing=_length(frames, "SpacingBetweenSlices"),
        thickness=_length(frames, "SliceThickness"),
        frame_of_reference_uid=text_of(dataset, "FrameOfReferenceUID"),
    )


def _parallel_planes(frames: Sequence[Attributes], file: DicomFile) -> Float:
    """(F, 4, 4) planes of the frames, RAS+, all with the directions and pixel spacing of the first."""
    places = []
    for number, frame in enumerate(frames, start=1):
        position = numbers_of(frame, "ImagePositionPatient", 3)
        orientation = numbers_of(frame, "ImageOrientationPatient", 6)
        places.append(_FramePlace(file, number, position, orientation, numbers_of(frame, "PixelSpacing", 2)))
    directions = directions_of(places)
    planes = RAS_TO_LPS @ planes_of(places, directions)
    scales = np.linalg.norm(planes[:, :3, :2], axis=1)
    if max(np.ptp(directions, axis=0).max(), np.ptp(scales, axis=0).max()) > _ALIKE:
        raise InputError(f"{file}: its frames have several orientations or pixel spacings; expected one; split it")
    planes[:, :3, :2] = planes[0, :3, :2]
    return planes


def _segments(dataset: Dataset, frames: Sequence[Attributes]) -> list[int]:
    if dataset.SegmentationType == "LABELMAP":
        return [0] * len(frames)
    numbers = []
    for frame in frames:
        number = frame.get("ReferencedSegmentNumber")
        if number is None:
            raise ValueError("a frame has no ReferencedSegmentNumber")
        numbers.append(int(number))
    return numbers


def _length(frames: Sequence[Attributes], keyword: str) -> float | None:
    """Return the first length above 0 that a frame has."""
    for frame in frames:
        length = number_of(frame, keyword, 0)
        if length > 0:
            return length
    return None


def on_grid(pixels: NDArray[Any], frames: SegmentFrames, image: Volume | Grid | None) -> tuple[NDArray[Any], Grid]:
    """Bring the pixels of planes onto the frames' own grid, or onto that of the image.

    Parameters
    ----------
    pixels : (P, rows, columns)
        Of each plane of `frames.stack`.
    frames : SegmentFrames
        Where they lie.
    image : Volume or Grid, optional
        Where the values are wanted.

    Returns
    -------
    (I, J, K) array, Grid
        0 in voxels without a frame.

    Raises
    ------
    InputError
        The planes are uneven and there is no image, or it is not parallel to them; all values lie outside the image.
    """
    target = image.grid if isinstance(image, Volume) else image
    regular = _regular(frames, _source_of(image))
    if regular is None:
        if target is None:
            gaps = ", ".join(f"{gap:.4g}" for gap in np.unique(frames.stack.gaps.round(4)))
            raise InputError(f"{frames.file}: its slices are unevenly spaced ({gaps} mm); give the image it belongs to")
        result = _nearest_planes(pixels, frames, target, _source_of(image))
    else:
        grid, slices = regular
        array = _filled(pixels, slices, grid).T
        if target is None or grid.is_close(target):
            return array, target or grid
        result = _nearest_voxels(array, grid, target)
    if pixels.any() and not result.any():
        raise InputError(f"{frames.file}: no segment lies in the image; expected the image that it belongs to")
    return result, target


def _regular(frames: SegmentFrames, source: DicomSource | None) -> tuple[Grid, NDArray[np.intp]] | None:
    """Return the grid that the planes lie on and their slices in it.

    None if their distances have no common step, or are unsaid and the image says which slices there are.
    """
    if frames.spacing is None and _drawn_on(frames, source):
        return None
    stack = frames.stack
    if len(stack.planes) == 1:
        affine = stack.affine_over(0, frames.spacing or frames.thickness or 1.0)
        return Grid((stack.columns, stack.rows, 1), affine), np.zeros(1, np.intp)
    slices = _even_slices(frames)
    if slices is None:
        return None
    last = int(slices[-1])
    return Grid((stack.columns, stack.rows, last + 1), stack.affine_over(last)), slices


def _even_slices(frames: SegmentFrames) -> NDArray[np.intp] | None:
    """Return the slice of each plane at the spacing that the file says, else at the smallest distance of planes."""
    for step in filter(None, (frames.spacing, float(frames.stack.gaps.min()))):
        slices = frames.stack.slices_with(step)
        if slices is not None and _is_known(frames, step, slices):
            if frames.spacing is None:
                _LOG.warning("%s: has no SpacingBetweenSlices; taken as %.4g mm", frames.file, step)
            return slices
    return None


def _is_known(frames: SegmentFrames, step: float, slices: NDArray[np.intp]) -> bool:
    """Whether the file says that slices are so far apart, or no slice is empty.

    Without SpacingBetweenSlices only the slice thickness can tell omitted planes from uneven ones.
    """
    if frames.spacing is not None or slices[-1] + 1 == len(slices):
        return True
    return frames.thickness is not None and abs(frames.thickness - step) <= even_within_mm(step)


def _filled(pixels: NDArray[Any], slices: NDArray[np.intp], grid: Grid) -> NDArray[Any]:
    """(K, rows, columns) with background in slices without a frame."""
    if len(pixels) == grid.shape[2]:
        return pixels
    filled = np.zeros(grid.shape[::-1], pixels.dtype)
    filled[slices] = pixels
    return filled


def _nearest_voxels(array: NDArray[Any], grid: Grid, target: Grid) -> NDArray[Any]:
    """(I, J, K) values of a grid on the target, each from the nearest voxel."""
    placed = np.zeros(target.shape[::-1], array.dtype)
    for k, plane in enumerate(placed):
        plane[...] = values_on_frame(GridSlice.of(target, k), array, grid)
    return placed.T


def _nearest_planes(
    pixels: NDArray[Any], frames: SegmentFrames, target: Grid, source: DicomSource | None
) -> NDArray[Any]:
    """(I, J, K) values on the target: each slice has those of the plane nearest to it, if one is near enough."""
    stack = frames.stack
    wanted = _heights_of_slices(target, frames)
    heights, owners, reach = _known_planes(frames, source)
    placed = np.zeros(target.shape[::-1], pixels.dtype)
    for k, height in enumerate(wanted):
        nearest = int(np.abs(heights - height).argmin())
        distance, owner = abs(heights[nearest] - height), owners[nearest]
        if owner < 0 or distance > reach + _SAME_HEIGHT_MM:
            continue
        affine = stack.planes[owner].copy()
        # Thick enough to hold the slice of the target.
        affine[:3, 2] = stack.normal * 4 * (distance + 1)
        plane = Grid((stack.columns, stack.rows, 1), affine)
        placed[k] = values_on_frame(GridSlice.of(target, k), pixels[owner].T[:, :, None], plane)
    return placed.T


def _heights_of_slices(target: Grid, frames: SegmentFrames) -> Float:
    """(K,) mm along the frames' normal of the target's slices, which must be parallel to the frames."""
    i, j = target.shape[0] - 1, target.shape[1] - 1
    corners = np.empty((target.shape[2], 3))
    for k in range(target.shape[2]):
        corners[k] = target.to_world([[0, 0, k], [i, 0, k], [0, j, k]]) @ frames.stack.normal
    if np.ptp(corners, axis=1).max() > _SAME_HEIGHT_MM:
        raise InputError(f"{frames.file}: its slices are uneven and not parallel to the image's; turn the image")
    return np.asarray(corners.mean(axis=1))


def _known_planes(frames: SegmentFrames, source: DicomSource | None) -> tuple[Float, NDArray[np.intp], float]:
    """Return heights, the plane at each or -1 if the writer left out an empty one, and how far a plane reaches."""
    heights, owners = frames.stack.heights, np.arange(len(frames.stack.planes))
    others = _heights_of_source(frames, source)
    if others is None:
        return heights, owners, (frames.spacing or frames.thickness or float(frames.stack.gaps.min())) / 2
    others = others[np.abs(others[:, None] - heights).min(axis=1) > _SAME_HEIGHT_MM]
    heights = np.concatenate([heights, others])
    order = np.argsort(heights)
    owners = np.concatenate([owners, np.full(len(others), -1)])[order]
    return heights[order], owners, float(np.diff(heights[order]).max()) / 2


def _drawn_on(frames: SegmentFrames, source: DicomSource | None) -> bool:
    """Whether all planes are frames of the image, which then says what was left out."""
    others = _heights_of_source(frames, source)
    if others is None:
        return False
    return bool(np.abs(frames.stack.heights[:, None] - others).min(axis=1).max() <= _SAME_HEIGHT_MM)


def _heights_of_source(frames: SegmentFrames, source: DicomSource | None) -> Float | None:
    """(F,) mm of the image's own frames along the normal; None if they are of another patient space."""
    if source is None or source.frame_of_reference_uid != frames.frame_of_reference_uid:
        return None
    return np.array([frame.plane[:3, 3] for frame in source.frames]) @ frames.stack.normal


def _source_of(image: Volume | Grid | None) -> DicomSource | None:
    source = image.source if isinstance(image, Volume) else None
    return source if isinstance(source, DicomSource) else None


def warn_elsewhere(frames: SegmentFrames, image: Volume | Grid | None) -> None:
    """Warn if the Segmentation has another frame of reference than the image.

    Parameters
    ----------
    frames : SegmentFrames
        Of the Segmentation.
    image : Volume or Grid, optional
        Where its values are wanted.
    """
    source = _source_of(image)
    if source is not None and source.frame_of_reference_uid != frames.frame_of_reference_uid:
        _LOG.warning("%s: has another frame of reference than the image; they may not lie together", frames.file)
