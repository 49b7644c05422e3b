"""What is to be seen of the doubt about a label map: how unsure each voxel is, and the slices to look at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from volseg.core.grid import Grid
from volseg.core.resample import Reorientation
from volseg.core.slices import NORMAL_AXIS
from volseg.core.volume import Volume
from volseg.prediction.doubt import SliceDoubt

FIRST_SLICES = 6
APART_MM = 4.0  # slices nearer than this show nearly the same


@dataclass(frozen=True, eq=False)
class ShownDoubt:
    """What is to be seen of the doubt about a label map.

    Parameters
    ----------
    voxels : Volume, optional
        How unsure each voxel is, as in ``doubt.nii.gz``; see `volseg.prediction.doubt.entropy`.
    slices : tuple of SliceDoubt
        As in `Doubt.slices`.
    grid : Grid, optional
        Of the label map that the slices are counted on. None if there are no slices.
    """

    voxels: Volume | None = None
    slices: tuple[SliceDoubt, ...] = ()
    grid: Grid | None = None


def first_slices(ranked: Sequence[SliceDoubt], grid: Grid) -> list[SliceDoubt]:
    """Return the first slices of a ranking that are not next to each other.

    Parameters
    ----------
    ranked : sequence of SliceDoubt
        The least sure first.
    grid : Grid
        Of the label map that they are counted on.
    """
    chosen: list[SliceDoubt] = []
    axes = Reorientation.between(grid, "RAS").axes
    for one in ranked:
        mm = grid.spacing[axes[NORMAL_AXIS[one.plane]]]
        if not any(abs(one.index - kept.index) * mm < APART_MM for kept in chosen if kept.plane == one.plane):
            chosen.append(one)
    return chosen[:FIRST_SLICES]
