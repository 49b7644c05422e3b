"""The DICOM frames that a volume was read from, and resampling of results onto them.

A result is resampled onto a frame by the two affines alone, whatever the orientation, order, tilt or spacing of the
frames. There are no plane names and no flips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid
from volseg.io.dicom.planes import PlaneStack, normal_of
from volseg.io.dicom.storage import DicomFile

# An index that changes by less than this over a whole row or column does not depend on it.
_NO_MOVE = 0.02
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class SourceFrame:
    """One frame of a series: its storage and its position in the patient.

    Parameters
    ----------
    file : DicomFile
        The instance.
    sop_class_uid, sop_instance_uid : str
        Identifiers of the instance.
    frame : int or None
        Number of the frame in a multi-frame instance, from 1; None if the instance is not multi-frame (also for a
        tile of a mosaic).
    columns, rows : int
        Size in pixels.
    plane : (4, 4) float64
        (column, row, mm along the normal, 1) -> RAS+ mm, by the header of this frame.
    """

    file: DicomFile
    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None
    columns: int
    rows: int
    plane: Float


@dataclass(frozen=True, eq=False, slots=True)
class DicomSource:
    """The DICOM series that a volume was read from.

    Parameters
    ----------
    study_uid, series_uid, frame_of_reference_uid : str
        Identifiers; empty if the files have none.
    frames : tuple of SourceFrame
        Ascending along the normal. They are not the slices of the volume if it was resampled (tilt, uneven spacing).
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    frames: tuple[SourceFrame, ...]

    @property
    def files(self) -> tuple[DicomFile, ...]:
        """The instances, each once, in the order of their first frame."""
        return tuple(dict.fromkeys(frame.file for frame in self.frames))

    @property
    def instances(self) -> tuple[tuple[str, str], ...]:
        """SOP class and instance of the files that hold the frames, each once, in their order."""
        return tuple(dict.fromkeys((frame.sop_class_uid, frame.sop_instance_uid) for frame in self.frames))

    @property
    def missing(self) -> tuple[str, ...]:
        """Missing identifiers that an object needs to refer to it."""
        sop_classes = [frame.sop_class_uid for frame in self.frames]
        sop_instances = [frame.sop_instance_uid for frame in self.frames]
        needed = {
            "StudyInstanceUID": bool(self.study_uid),
            "SeriesInstanceUID": bool(self.series_uid),
            "FrameOfReferenceUID": bool(self.frame_of_reference_uid),
            "SOPClassUID": all(sop_classes),
            "SOPInstanceUID": all(sop_instances),
        }
        return tuple(keyword for keyword, there in needed.items() if not there)


def stack_of(frames: Sequence[SourceFrame]) -> PlaneStack:
    """Put frames of one size in order along the normal of the first, RAS+.

    Parameters
    ----------
    frames : sequence of SourceFrame
        At least one.
    """
    planes = np.array([frame.plane for frame in frames])
    normal = normal_of(planes[0])
    order = np.argsort(planes[:, :3, 3] @ normal, kind="stable")
    return PlaneStack(planes=planes[order], normal=normal, columns=frames[0].columns, rows=frames[0].rows)


class GridSlice(NamedTuple):
    """A slice of a grid as a frame, as a target for values of another grid.

    Parameters
    ----------
    columns, rows : int
        Size in voxels.
    plane : (4, 4) float64
        (column, row, slices above, 1) -> RAS+ mm.
    """

    columns: int
    rows: int
    plane: Float

    @classmethod
    def of(cls, grid: Grid, k: int) -> GridSlice:
        """Return slice k of a grid."""
        plane = grid.affine.copy()
        plane[:3, 3] = grid.to_world([0, 0, k])
        return cls(grid.shape[0], grid.shape[1], plane)


def values_on_frame(
    frame: SourceFrame | GridSlice, array: NDArray[Any], grid: Grid, *, linear: bool = False
) -> NDArray[Any]:
    """Return the values of a volume at the pixel centres of a frame.

    Parameters
    ----------
    frame : SourceFrame or GridSlice
        The target of the values.
    array : (I, J, K)
        Values on `grid`: labels, or probabilities.
    grid : Grid
        Any grid, also with another orientation or spacing than the frame.
    linear : bool
        Interpolate between voxels; otherwise the nearest voxel's value.

    Returns
    -------
    (rows, columns) array of the same dtype
        0 outside the grid.
    """
    to_voxel = np.linalg.solve(grid.affine, frame.plane)[:3]
    steps = to_voxel[:, :2] * [max(frame.columns - 1, 1), max(frame.rows - 1, 1)]
    moves = np.abs(steps) > _NO_MOVE
    columns, rows = np.arange(frame.columns), np.arange(frame.rows)[:, None]
    # (rows, columns) voxel coordinates; one row or column if they change along only one axis, else one number.
    axes = []
    nearest = []
    inside = np.ones((frame.rows, frame.columns), dtype=bool)
    for (column, row, _, offset), (by_column, by_row), size in zip(to_voxel, moves, grid.shape, strict=True):
        axis = offset + (column * columns if by_column else 0) + (row * rows if by_row else 0)
        # Halves are rounded up; np.rint would round them to even numbers and skip odd ones.
        voxel = np.floor(axis + 0.5 + _ROUNDING).astype(np.intp)
        inside &= (voxel >= 0) & (voxel < size)
        axes.append(axis)
        nearest.append(np.clip(voxel, 0, size - 1))
    if linear:
        from scipy import ndimage

        at = np.broadcast_arrays(*axes, rows + columns)[:3]
        values = ndimage.map_coordinates(array, at, order=1, mode="nearest")
    else:
        values = array[tuple(nearest)]
    return np.asarray(np.where(inside, values, array.dtype.type(0)))
