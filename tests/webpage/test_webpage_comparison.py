from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.resample import reorient
from volseg.errors import GeometryError
from volseg.phantoms import sphere_labelmap
from volseg.webpage.comparison import compare_labels, distance_colours

GRID = Grid.from_spacing((32, 30, 28))


def test_a_larger_ball_lies_outside_its_reference_by_the_difference() -> None:
    found = compare_labels(sphere_labelmap(GRID, radius_mm=10), sphere_labelmap(GRID, radius_mm=8))
    assert found.limit_mm == pytest.approx(2, abs=0.4)
    red, _, blue = found.colours[0][:, :3].mean(axis=0)
    assert red > blue + 80
    assert found.table["headings"][:2] == ["label", "Dice"]
    assert found.table["rows"][0][0] == "sphere"
    smaller = compare_labels(sphere_labelmap(GRID, radius_mm=8), sphere_labelmap(GRID, radius_mm=10))
    red, _, blue = smaller.colours[0][:, :3].mean(axis=0)
    assert blue > red + 80


def test_agreement_counts_the_voxels_of_both_in_any_order_of_axes() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    reference = labels.copy()
    labels[2:10, 4:20, 4:20] = 1
    reference[4:12, 4:20, 4:20] = 1
    labels[20:24, 4:8, 4:8], reference[20:24, 4:8, 4:8] = 1, 2
    names = (Label(1, "one", (1, 2, 3)), Label(2, "two", (3, 2, 1)))
    turned, grid = reorient(reference, GRID, "SLP")
    found = compare_labels(LabelMap(labels, GRID, names), LabelMap(turned, grid, names)).agreement
    counts = [int(found.mask(label).sum()) for label in found.labels]
    assert counts == [6 * 256, 2 * 256, 2 * 256, 64]


def test_other_grids_are_refused() -> None:
    moved = Grid.from_spacing(GRID.shape, origin=(3, 0, 0))
    with pytest.raises(GeometryError, match="different grids"):
        compare_labels(sphere_labelmap(GRID, radius_mm=8), sphere_labelmap(moved, radius_mm=8))


def test_colours_end_at_the_limit() -> None:
    colours = distance_colours(np.array([-9.0, -2, 0, 2, 9]), 2)
    assert (colours[0] == colours[1]).all()
    assert (colours[3] == colours[4]).all()
    assert colours[2].tolist() == [235, 235, 235, 255]
