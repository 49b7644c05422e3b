"""Marching a mask and marching a field are the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from volseg.core.grid import Grid
from volseg.surface.march import march


@pytest.mark.parametrize("hand", [1, -1])
def test_a_mask_is_marched_as_its_field(hand: int) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (25, -15, 40), degrees=True).as_matrix() * [0.8, 0.8, 2 * hand]
    grid = Grid((8, 9, 7), affine)
    mask = np.random.default_rng(0).random(grid.shape) > 0.4  # at the border too
    ours, theirs = march(mask, grid), march(np.where(mask, 0.5, -0.5), grid)
    np.testing.assert_array_equal(ours.faces, theirs.faces)
    np.testing.assert_allclose(ours.vertices, theirs.vertices, atol=1e-5)
    assert ours.volume_mm3 > 0
