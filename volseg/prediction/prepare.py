"""The one preparation of a scan for the network, forward and inverse. Training and inference share it.

A scan becomes a stack of slices: its axes are brought into RAS order, it is cut along a plane, intensities are
normalised, and each slice is resampled to the model's in-plane spacing. Nothing is resampled across slices. Slices are
made batch by batch, so that memory stays near the size of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.config import Normalisation, PreparationConfig
from volseg.core.content import Box, content_box, whole_box
from volseg.core.grid import Grid
from volseg.core.intensity import Rescaling, zscore
from volseg.core.labelmap import LabelMap
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation, resample_plane
from volseg.core.slices import in_plane, neighbour_indices, stack_slices
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, ModelError

# Slices may always grow to 4 times their pixels, and to 256 times if the result has at most 1536 x 1536 pixels.
_ALWAYS_GROWTH, _MOST_GROWTH, _MOST_PIXELS = 4, 256, 1536**2


@dataclass(frozen=True, eq=False)
class SliceStack:
    """A scan as the network sees it; slices are made on demand.

    Parameters
    ----------
    channels : tuple of (S, H, W) arrays
        Views of the scan's voxels, unchanged.
    rescalings : tuple of Rescaling
        One for each channel.
    size : (h, w)
        Slice size at the model's in-plane spacing.
    neighbours : int
        Number of slices on either side that are further channels.
    reorientation : Reorientation
        From the scan's axes to RAS order.
    """

    channels: tuple[NDArray[Any], ...]
    rescalings: tuple[Rescaling, ...]
    size: tuple[int, int]
    neighbours: int
    reorientation: Reorientation

    def __len__(self) -> int:
        return int(self.channels[0].shape[0])

    @property
    def native_size(self) -> tuple[int, int]:
        """(H, W) of a slice as scanned."""
        _, height, width = self.channels[0].shape
        return int(height), int(width)

    def plain(self, start: int, stop: int) -> NDArray[np.float32]:
        """(C, B, h, w): slices start..stop, normalised and resampled, without neighbours.

        Parameters
        ----------
        start, stop : int
            First slice, and the one after the last.
        """
        channels = []
        for channel, rescaling in zip(self.channels, self.rescalings, strict=True):
            channels.append(resample_plane(rescaling.apply(channel[start:stop]), self.size))
        return np.stack(channels)

    def batch(self, start: int, stop: int) -> NDArray[np.float32]:
        """(B, C * (2 * neighbours + 1), h, w): the network's input for slices start..stop.

        Parameters
        ----------
        start, stop : int
            First slice, and the one after the last.
        """
        first, last = max(0, start - self.neighbours), min(len(self), stop + self.neighbours)
        wanted = neighbour_indices(np.arange(start, stop), len(self), self.neighbours) - first
        return gather_neighbours(self.plain(first, last), wanted)


def gather_neighbours(plain: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
    """Gather slices with their neighbours as channels.

    Parameters
    ----------
    plain : (C, S, h, w)
        Slices of C channels.
    wanted : (B, n) int
        Numbers of the n slices of each sample.

    Returns
    -------
    (B, C * n, h, w) float32
        The neighbours of a channel lie together.
    """
    picked = plain[:, wanted]  # (C, B, n, h, w)
    count, batch, n, height, width = picked.shape
    return np.asarray(picked.swapaxes(0, 1).reshape(batch, count * n, height, width), dtype=np.float32)


def prepare(volumes: Sequence[Volume], config: PreparationConfig, plane: Plane) -> SliceStack:
    """Make the slice stack of one scan along one plane.

    Parameters
    ----------
    volumes : sequence of Volume
        The channels, all on one grid.
    config : PreparationConfig
        Its spacing and normalisation are set.
    plane : {"axial", "coronal", "sagittal"}

    Raises
    ------
    GeometryError
        The channels lie on different grids.
    InputError
        A scan has NaN or infinite voxels.
    ModelError
        The number of channels is not the model's, or its spacing is so fine that slices would swell out of proportion.
    """
    spacing, normalisation = config.spacing_mm, config.normalisation
    if spacing is None or normalisation is None:
        raise ModelError("the preparation is not planned: spacing_mm and normalisation must be set")
    if len(volumes) != len(normalisation):
        raise ModelError(f"{len(volumes)} channels were given; the model was trained with {len(normalisation)}")
    for volume in volumes:
        _check_finite(volume)
    grid = common_grid(volumes)
    reorientation = Reorientation.between(grid, "RAS")
    turned = reorientation.grid(grid)
    have, want = [], []
    for axis in in_plane(plane):
        have.append(turned.shape[axis])
        want.append(turned.shape[axis] * (turned.spacing[axis] / spacing[axis]))
    _check_growth(have, want, f"scan {volumes[0].name!r}: {plane}", spacing)
    channels, rescalings = [], []
    for volume, how in zip(volumes, normalisation, strict=True):
        channels.append(stack_slices(reorientation.array(volume.array), plane))
        rescalings.append(_rescaling(volume.array, how))
    return SliceStack(
        channels=tuple(channels),
        rescalings=tuple(rescalings),
        size=(max(1, round(want[0])), max(1, round(want[1]))),
        neighbours=config.neighbours,
        reorientation=reorientation,
    )


def find_box(volumes: Sequence[Volume], config: PreparationConfig, labels: LabelMap | None = None) -> Box:
    """Return the part of a scan that is prepared: all of it, or without its empty borders if the model crops.

    Parameters
    ----------
    volumes : sequence of Volume
        The channels, all on one grid.
    config : PreparationConfig
    labels : LabelMap, optional
        In training; every labelled voxel lies in the box.
    """
    if not config.crop:
        return whole_box(volumes[0].array.shape)
    return content_box([volume.array for volume in volumes], None if labels is None else labels.array)


def _check_growth(have: Sequence[int], want: Sequence[float], what: str, spacing: Sequence[float]) -> None:
    """Refuse slices of pixels `have` that would grow to `want` out of proportion; see `_MOST_PIXELS`."""
    pixels = math.prod(have)
    if math.prod(want) <= max(_ALWAYS_GROWTH * pixels, min(_MOST_PIXELS, _MOST_GROWTH * pixels)):
        return
    raise ModelError(
        f"{what} slices of {have[0]}x{have[1]} pixels would become {want[0]:.0f}x{want[1]:.0f} at the model's spacing "
        f"of {' x '.join(f'{mm:g}' for mm in spacing)} mm, out of all proportion; check whether the scan's spacing is "
        "right (volseg inspect), or use a model that was trained on coarser scans"
    )


def common_grid(volumes: Sequence[Volume]) -> Grid:
    """Return the grid of the channels of one case, which must be the same for all.

    Parameters
    ----------
    volumes : sequence of Volume
        At least one.

    Raises
    ------
    GeometryError
        Two channels lie on different grids.
    """
    grid = volumes[0].grid
    for other in volumes[1:]:
        if not grid.is_close(other.grid):
            apart = f"corners up to {grid.distance_mm(other.grid):.4g} mm apart"
            raise GeometryError(
                f"channels {volumes[0].name!r} ({grid.describe()}) and {other.name!r} ({other.grid.describe()}) lie on "
                f"different grids, {apart}; resample one onto the other first"
            )
    return grid


def _check_finite(volume: Volume) -> None:
    # The extremes show NaN and infinity without a copy of the scan.
    if not np.isfinite([volume.array.min(), volume.array.max()]).all():
        raise InputError(
            f"scan {volume.name!r} has voxels that are not finite; replace them with a number, as volseg.read does"
        )


def _rescaling(array: NDArray[Any], normalisation: Normalisation) -> Rescaling:
    if normalisation.kind != "window":
        return zscore(array, clip=normalisation.kind == "zscore")
    low, high, mean, std = (getattr(normalisation, key) for key in ("low", "high", "mean", "std"))
    return Rescaling(low, high, mean, std)
