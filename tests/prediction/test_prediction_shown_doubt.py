from __future__ import annotations

import pytest

from volseg.core.grid import Grid
from volseg.prediction.doubt import SliceDoubt
from volseg.prediction.shown_doubt import first_slices


@pytest.mark.parametrize(("along", "kept"), [(0, [8, 3, 12, 20, 24, 28]), (2, [8, 7, 9, 3, 12, 20])])
def test_slices_next_to_one_that_is_kept_are_left_out(along: int, kept: list[int]) -> None:
    """Slices are 1 mm apart where they are sagittal, and 5 mm where they are axial."""
    grid = Grid.from_spacing((40, 40, 40), (1, 1, 5))
    plane = {0: "sagittal", 2: "axial"}[along]
    ranked = [SliceDoubt(plane, index, 0.5) for index in (8, 7, 9, 3, 12, 20, 24, 28, 35)]  # type: ignore[arg-type]
    assert [one.index for one in first_slices(ranked, grid)] == kept


def test_slices_of_other_planes_are_not_next_to_each_other() -> None:
    ranked = [SliceDoubt("sagittal", 8, 0.5), SliceDoubt("axial", 8, 0.6), SliceDoubt("axial", 9, 0.7)]
    assert first_slices(ranked, Grid.from_spacing((20, 20, 20))) == ranked[:2]
