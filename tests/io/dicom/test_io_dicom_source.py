from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.io.dicom.source import SourceFrame, values_on_frame
from volseg.io.dicom.storage import DicomFile


def frame(plane: object, columns: int = 6, rows: int = 4) -> SourceFrame:
    return SourceFrame(DicomFile(Path("a.dcm")), "1", "2", None, columns, rows, np.asarray(plane, dtype=float))


def test_a_frame_on_the_grid_takes_its_slice_whatever_its_orientation(oblique_grid: Grid) -> None:
    array = np.arange(np.prod(oblique_grid.shape)).reshape(oblique_grid.shape)
    turned = np.array([[0, -1, 0, 19], [1, 0, 0, 2], [0, 0, 1, 7], [0, 0, 0, 1.0]])  # columns along j, rows against i
    found = values_on_frame(frame(oblique_grid.affine @ turned, columns=8, rows=5), array, oblique_grid)
    np.testing.assert_array_equal(found, array[19:14:-1, 2:10, 7])


def test_outside_the_grid_there_is_nothing() -> None:
    grid = Grid.from_spacing((4, 3, 2))
    plane = np.eye(4)
    plane[:3, 3] = [-1, -1, 0]
    found = values_on_frame(frame(plane), np.ones(grid.shape, np.uint8), grid)
    np.testing.assert_array_equal(found, [[0] * 6, [0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0]])
    plane[2, 3] = 1.6
    assert not values_on_frame(frame(plane), np.ones(grid.shape, np.uint8), grid).any()


@pytest.mark.parametrize("shift", [0.5, 0.5 - 1e-9, 0.5 + 1e-9])
def test_halfway_between_voxels_none_is_doubled_and_none_is_lost(shift: float) -> None:
    grid = Grid.from_spacing((8, 4, 1))
    plane = np.eye(4)
    plane[0, 3] = shift
    array = np.tile(np.arange(8)[:, None, None], (1, 4, 1))
    np.testing.assert_array_equal(values_on_frame(frame(plane), array, grid)[0], [1, 2, 3, 4, 5, 6])


def test_linear_values_on_a_tilted_frame_are_exact() -> None:
    grid = Grid.from_spacing((12, 12, 12), (0.9, 1.1, 1.3), (1, 2, 3))
    xyz = grid.to_world(np.stack(np.indices(grid.shape), axis=-1))
    plane = np.eye(4)
    plane[:3, 1] = [0, 0.8, 0.6]
    plane[:3, 3] = [3.1, 4.2, 5.3]
    found = values_on_frame(frame(plane), xyz @ [1.0, -2, 3], grid, linear=True)
    centres = [[plane @ [column, row, 0, 1] for column in range(6)] for row in range(4)]
    np.testing.assert_allclose(found, np.array(centres)[..., :3] @ [1, -2, 3], atol=1e-9)
