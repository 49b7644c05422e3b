"""How unsure each voxel is, in colour over the slices of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid
from volseg.core.resample import Reorientation
from volseg.core.volume import Volume
from volseg.errors import GeometryError
from volseg.view.shown_voxels import Shown, to_levels

_STEP, _LEAST = 0.1, 0.2  # of the upper end of the colours
_CLEAR, _FULL, _MOST_OPAQUE = 0.06, 0.45, 0.85  # shares of the range, and the opacity from there on
# From dark red over orange to pale yellow: lighter where it is less sure, and no grey.
_COLOURS = ((112, 8, 66), (200, 30, 60), (246, 104, 30), (253, 183, 44), (252, 250, 165))


@dataclass(frozen=True, eq=False)
class DoubtMap:
    """How unsure each voxel of a scan is, and the range of the colours: from 0, which is sure, to an upper end.

    Parameters
    ----------
    volume : Volume
        In RAS order.
    limit : float
        The upper end.
    is_share : bool
        Whether 1 is the most that there can be.
    """

    volume: Volume
    limit: float
    is_share: bool

    @classmethod
    def on(cls, grid: Grid, doubt: Volume, others: Sequence[Grid] = ()) -> DoubtMap:
        """Put a map onto the voxels of a grid: as it is, or the nearest of its voxels.

        The upper end of the range is chosen by the largest value, so that small differences are seen; but not below
        0.2, so that noise is not blown up. Values are taken for shares unless one is above 1.

        Parameters
        ----------
        grid : Grid
            Of the scan, in any order.
        doubt : Volume
        others : sequence of Grid
            Of the label maps; the map may be on one of these.

        Raises
        ------
        GeometryError
            The map is on none of these grids, or beside the scan.
        """
        if not any(_is_on(doubt.grid, one) for one in (grid, *others)):
            raise GeometryError(
                f"the doubt ({doubt.grid.describe()}) lies on voxels neither of the scan ({grid.describe()}) nor of a "
                "label map; give the doubt of this scan"
            )
        if not _overlap(doubt.grid, grid):
            raise GeometryError(
                f"the doubt ({doubt.grid.describe()}) lies beside the scan ({grid.describe()}); give the doubt of "
                "this scan"
            )
        shown, own = Shown.all_of(grid), Shown.all_of(doubt.grid)
        is_on_scan = own.whole.is_close(shown.whole)
        array = own.voxels_of(doubt) if is_on_scan else shown.nearest(doubt.array, doubt.grid)
        # Rounded, so that 0.4 or 1 as a float32 does not count as more than that.
        most = round(float(np.max(doubt.array, initial=0, where=np.isfinite(doubt.array))), 4)
        limit = most if most > 1 else float(np.clip(np.ceil(round(most / _STEP, 4)) * _STEP, _LEAST, 1))
        return cls(Volume(array, shown.whole), round(limit, 6), is_share=most <= 1)

    @property
    def levels(self) -> Float:
        """(256,) values that 8 bits hold, increasing."""
        return np.linspace(0, self.limit, 256)

    def numbers(self, values: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return the number of the level nearest to each value.

        Parameters
        ----------
        values : float of any shape
        """
        return to_levels(values.astype(np.float64), self.levels)

    @property
    def texts(self) -> tuple[str, str]:
        """What the lower and the upper end mean."""
        if self.is_share and self.limit == 1:
            return "0 sure", "1 as unsure as can be"
        return "0 sure", f"{self.limit:.3g} least sure here"

    @property
    def meaning(self) -> str:
        """What the values mean, in a sentence or two."""
        if not self.is_share:
            return "How unsure each voxel is, in the unit of the map. Borders are always in doubt; look for wide spots."
        return (
            "How unsure the model is: 0 where it is sure of one answer, 1 where all its answers are equally likely. "
            "Borders are always in doubt; look for wide spots."
        )


def doubt_colours() -> NDArray[np.uint8]:
    """(256, 4) red, green, blue and opacity of each level; clear where the model is sure."""
    places, stops = np.linspace(0, 1, 256), np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(places, stops, [colour[channel] for colour in _COLOURS]) for channel in range(3)]
    opacity = np.clip((places - _CLEAR) / (_FULL - _CLEAR), 0, 1) * _MOST_OPAQUE * 255
    return np.rint(np.stack([*channels, opacity], axis=1)).astype(np.uint8)


def _overlap(grid: Grid, other: Grid) -> bool:
    """Whether the box around a grid, along the axes of another one, has a voxel of that one."""
    corners = other.to_voxel(grid.corners())
    last = np.array(other.shape) - 1
    return bool(np.all(corners.max(axis=0) >= 0) and np.all(corners.min(axis=0) <= last))


def _is_on(grid: Grid, other: Grid) -> bool:
    return Reorientation.onto(grid, other).grid(grid).is_close(other)
