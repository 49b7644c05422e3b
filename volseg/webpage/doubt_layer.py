"""The doubt of a page: its colours over the slices, and the slices to look at first."""

from __future__ import annotations

from typing import Any

import numpy as np

from volseg.core.grid import Grid
from volseg.core.resample import Reorientation
from volseg.core.slices import NORMAL_AXIS
from volseg.prediction.doubt import SliceDoubt
from volseg.prediction.shown_doubt import ShownDoubt, first_slices
from volseg.view.doubt_map import DoubtMap, doubt_colours
from volseg.view.shown_voxels import ORIENTATION, Shown
from volseg.webpage.blocks import packed


def packed_doubt(unsure: DoubtMap, shown: Shown) -> dict[str, Any]:
    """Return what a page has of a map of doubt, as ``assets/scene.js`` reads it.

    Parameters
    ----------
    unsure : DoubtMap
    shown : Shown
        The voxels that are in the page.
    """
    return {
        "block": packed(shown.levels_of(unsure.volume, unsure.levels)),
        "limit": unsure.limit,
        "colours": doubt_colours().tolist(),
        "texts": list(unsure.texts),
        "meaning": unsure.meaning,
    }


def slices_to_see(doubt: ShownDoubt, shown: Shown) -> list[dict[str, Any]]:
    """Return the slices to look at first that are in a page: plane, place along its axis, and agreement.

    Parameters
    ----------
    doubt : ShownDoubt
    shown : Shown
        The voxels that are in the page.
    """
    if doubt.grid is None:
        return []
    grid, places = doubt.grid, {}
    for one in doubt.slices:
        place = _place_of(one, grid, shown.grid)
        if 0 <= place < shown.grid.shape[NORMAL_AXIS[one.plane]]:
            places[one.plane, one.index] = place
    seen = [one for one in doubt.slices if (one.plane, one.index) in places]
    return [
        {"plane": one.plane, "place": places[one.plane, one.index], "agreement": round(one.agreement, 2)}
        for one in first_slices(seen, grid)
    ]


def _place_of(one: SliceDoubt, grid: Grid, shown: Grid) -> int:
    """Return the number of a slice of a label map among those of the page, through the middle of the label map."""
    voxel = (np.array(grid.shape) - 1) / 2
    voxel[Reorientation.between(grid, ORIENTATION).axes[NORMAL_AXIS[one.plane]]] = one.index
    return round(float(shown.to_voxel(grid.to_world(voxel))[NORMAL_AXIS[one.plane]]))
