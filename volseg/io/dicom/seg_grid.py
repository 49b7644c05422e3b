"""Conversion of the pixels of a DICOM Segmentation to voxels, on the grid of its own frames or of an image."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.io.dicom.planes import even_within_mm
from volseg.io.dicom.seg_planes import SegmentFrames
from volseg.io.dicom.source import DicomSource, GridSlice, values_on_frame

_LOG = logging.getLogger(__name__)

# A slice of the image and a frame closer than this along the normal are at the same height.
_SAME_HEIGHT_MM = 0.05


def on_grid(pixels: NDArray[Any], frames: SegmentFrames, image: Volume | Grid | None) -> tuple[NDArray[Any], Grid]:
    """Put the pixels of planes onto the frames' own grid, or onto that of the image.

    Parameters
    ----------
    pixels : (P, rows, columns)
        The pixels of each plane of `frames.stack`.
    frames : SegmentFrames
        The positions of the planes.
    image : Volume or Grid, optional
        The image or grid for the values.

    Returns
    -------
    (I, J, K) array, Grid
        0 in voxels without a frame.

    Raises
    ------
    InputError
        The planes are uneven and there is no parallel image, or all values lie outside the image.
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
    """Return the grid of the planes and their slice numbers in it.

    None if their distances have no common step, or if the file does not give the step and all planes are frames of the
    image.
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
    """Return the slice of each plane at the spacing in the file or, without it, at the smallest distance of planes."""
    for step in filter(None, (frames.spacing, float(frames.stack.gaps.min()))):
        slices = frames.stack.slices_with(step)
        if slices is not None and _is_known(frames, step, slices):
            if frames.spacing is None:
                _LOG.warning("%s: has no SpacingBetweenSlices; taken as %.4g mm", frames.file, step)
            return slices
    return None


def _is_known(frames: SegmentFrames, step: float, slices: NDArray[np.intp]) -> bool:
    """Whether the file has this distance of slices, or no slice is empty.

    Without SpacingBetweenSlices only the slice thickness can distinguish omitted planes from uneven ones.
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
    """(I, J, K) values on the target: each slice has those of the nearest plane, if it is near enough."""
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
        # Thick enough to contain the slice of the target.
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
        raise InputError(f"{frames.file}: its slices are uneven and not parallel to the image's; reorient the image")
    return np.asarray(corners.mean(axis=1))


def _known_planes(frames: SegmentFrames, source: DicomSource | None) -> tuple[Float, NDArray[np.intp], float]:
    """Return heights, the plane at each (-1 for an omitted empty one), and half the thickness of a plane."""
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
    """Whether all planes are frames of the image, which then shows the omitted ones."""
    others = _heights_of_source(frames, source)
    if others is None:
        return False
    return bool(np.abs(frames.stack.heights[:, None] - others).min(axis=1).max() <= _SAME_HEIGHT_MM)


def _heights_of_source(frames: SegmentFrames, source: DicomSource | None) -> Float | None:
    """(F,) mm of the image's stored frames along the normal; None if they are in another patient space."""
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
        The frames of the Segmentation.
    image : Volume or Grid, optional
        The image or grid for its values.
    """
    source = _source_of(image)
    if source is not None and source.frame_of_reference_uid != frames.frame_of_reference_uid:
        _LOG.warning("%s: has another frame of reference than the image; they may not lie together", frames.file)
