from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.resample import reorient
from volseg.verification.placement import compare_grids, place_contours

GRID = Grid.from_spacing((20, 16, 12), (2, 1.5, 3), (-40, 30, 11))


def moved(grid: Grid, *step_mm: float) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += step_mm
    return Grid(grid.shape, affine)


@given(
    axes=st.permutations(["RL", "AP", "SI"]),
    flips=st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)),
)
def test_storage_order_never_matters(axes: list[str], flips: tuple[int, int, int]) -> None:
    orientation = "".join(pair[flip] for pair, flip in zip(axes, flips, strict=True))
    _, grid = reorient(np.zeros(GRID.shape), GRID, orientation)
    found = compare_grids(GRID, grid)
    assert found.relation == ("same grid" if orientation == "RAS" else "other storage order")
    assert found.worst_corner_mm < 1e-9


def test_oblique_grids_too(oblique_grid: Grid) -> None:
    _, grid = reorient(np.zeros(oblique_grid.shape), oblique_grid, "LPI")
    assert compare_grids(oblique_grid, grid).relation == "other storage order"
    assert compare_grids(oblique_grid, oblique_grid).relation == "same grid"


def test_a_micrometre_is_nothing_a_millimetre_is_another_grid() -> None:
    near, far = compare_grids(GRID, moved(GRID, 1e-3, 0, 0)), compare_grids(GRID, moved(GRID, 1, 0, 0))
    assert (near.relation, near.worst_corner_mm) == ("same grid", pytest.approx(1e-3))
    assert (far.relation, far.worst_corner_mm) == ("other grid", pytest.approx(1))
    assert far.shift_mm == (1, 0, 0)
    assert compare_grids(GRID, moved(GRID, 1, 0, 0), tolerance_mm=1.1).relation == "same grid"
    assert compare_grids(GRID, moved(GRID, 1e-3, 0, 0), tolerance_mm=0).relation == "other grid"


def test_a_part_has_the_same_voxels() -> None:
    part = GRID.crop((3, 0, 5), (20, 16, 6))
    assert compare_grids(GRID, part).relation == "part of the grid"
    _, turned = reorient(np.zeros(part.shape), part, "LPS")
    assert compare_grids(GRID, turned).relation == "part of the grid"
    assert compare_grids(GRID, moved(part, 0.5, 0, 0)).relation == "other grid"
    assert compare_grids(GRID, GRID.pad(1)).relation == "other grid"  # reaches beyond


def test_apart_is_where_the_boxes_do_not_meet() -> None:
    assert compare_grids(GRID, moved(GRID, 39, 0, 0)).relation == "other grid"
    found = compare_grids(GRID, moved(GRID, 40, 0, 0))
    assert (found.relation, found.shift_mm) == ("apart", (40, 0, 0))


def test_lps_taken_for_ras_is_recognised() -> None:
    found = compare_grids(GRID, Grid(GRID.shape, RAS_TO_LPS @ GRID.affine))
    assert found.mirrored == "xy"
    assert compare_grids(GRID, Grid(GRID.shape, np.diag([1.0, 1, -1, 1]) @ GRID.affine)).mirrored == "z"
    assert compare_grids(GRID, Grid.from_spacing((20, 16, 12), (2, 1.5, 4))).mirrored == ""


def test_rounding_is_no_shift() -> None:
    part = GRID.crop((0, 0, 0), (20, 16, 11))
    found = compare_grids(GRID, moved(GRID, 1, -7e-6, 0))
    assert found.shift_mm == (1, 0, 0)
    assert "is displaced by (1, 0, 0) mm" in found.cause
    assert compare_grids(GRID, part).cause == ""
    assert compare_grids(GRID, Grid(GRID.shape, RAS_TO_LPS @ GRID.affine)).cause.endswith("LPS had been taken for RAS")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_contours_on_between_and_outside_slices(axis: int) -> None:
    square = np.array([[4.0, 4, 4], [4, 8, 4], [8, 8, 4], [8, 4, 4]])
    square = np.roll(square, axis + 1, axis=1)
    heights = (3.0, 3, 5, 5.4, -0.7, GRID.shape[axis])
    contours = [GRID.to_world(np.where(np.arange(3) == axis, height, square)) for height in heights]
    found = place_contours(contours, GRID)
    assert (found.slices, found.between) == (2, 1)
    assert found.outside_fraction == pytest.approx(2 / 6)
    assert place_contours([], GRID).slices == 0
