from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volseg.core.grid import Grid
from volseg.evaluation.surfels import find_surfels
from volseg.phantoms import Ellipsoid, rasterise

SPACINGS = st.tuples(*[st.floats(0.2, 8)] * 3)


@settings(max_examples=10, deadline=None)
@given(spacing=SPACINGS)
def test_every_cell_has_the_area_of_the_published_table(spacing: tuple[float, float, float]) -> None:
    from monai.metrics.utils import create_table_neighbour_code_to_surface_area

    table, kernel = create_table_neighbour_code_to_surface_area(spacing)
    bits = kernel[0, 0].numpy().astype(int)
    grid = Grid.from_spacing((2, 2, 2), spacing)
    for code in range(1, 256):
        found = find_surfels((code & bits) > 0, grid)
        middle = np.isclose(found.places, np.array(spacing)).all(axis=1)  # of the padded array
        assert found.areas[middle].sum() == pytest.approx(float(table[code]), rel=1e-5)


def test_the_area_of_a_large_box_is_that_of_its_faces(oblique_grid: Grid) -> None:
    grid = Grid((60, 60, 60), oblique_grid.affine)
    box = np.zeros(grid.shape, dtype=bool)
    box[5:55, 5:55, 5:55] = True
    a, b, c = 50 * np.array(grid.spacing)
    assert find_surfels(box, grid).areas.sum() == pytest.approx(2 * (a * b + b * c + a * c), rel=0.02)


def test_the_area_of_an_ellipsoid_is_far_nearer_than_that_of_its_voxels() -> None:
    body = Ellipsoid((30, 30, 30), (20, 15, 12))
    grid = Grid.from_spacing((61, 61, 61))
    area = find_surfels(rasterise({"body": body}, grid).array > 0, grid).areas.sum()
    assert area == pytest.approx(body.area_mm2, rel=0.12)


def test_of_one_slice_it_is_the_outline_as_high_as_the_slice() -> None:
    grid = Grid.from_spacing((9, 1, 9), (1, 4, 2))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[2:7, 0, 3:6] = True
    outline = 2 * 4 * 1 + 2 * 2 * 2 + 4 * np.hypot(0.5, 1)
    found = find_surfels(mask, grid)
    assert found.areas.sum() == pytest.approx(4 * outline)
    assert len(found) == 2 * 4 + 2 * 2 + 4


def test_a_lone_voxel_has_a_surface_even_on_a_grid_of_its_own() -> None:
    assert len(find_surfels(np.ones((1, 1, 1), dtype=bool), Grid.from_spacing((1, 1, 1)))) == 8
    assert not len(find_surfels(np.zeros((3, 3, 3), dtype=bool), Grid.from_spacing((3, 3, 3))))
