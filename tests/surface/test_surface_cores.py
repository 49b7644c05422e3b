"""VTK's filters on all cores: the same surfaces, and VTK left as it was."""

from __future__ import annotations

import numpy as np
import pytest
from vtkmodules.vtkCommonCore import vtkSMPTools

from volseg.geometry import Grid
from volseg.surface.cores import all_cores
from volseg.surface.march import march
from volseg.surface.smooth import smooth_mesh


@pytest.fixture
def ball() -> np.ndarray:
    return np.sum((np.indices((40, 40, 40)) - 19.5) ** 2, axis=0) < 15**2


def test_threads_inside_and_what_was_before_outside() -> None:
    before = vtkSMPTools.GetBackend()
    with all_cores():
        assert vtkSMPTools.GetBackend() == "STDThread"
    assert vtkSMPTools.GetBackend() == before


def test_what_was_before_comes_back_after_an_error() -> None:
    before = vtkSMPTools.GetBackend()
    with pytest.raises(ValueError, match="spoilt"), all_cores():
        raise ValueError("spoilt")
    assert vtkSMPTools.GetBackend() == before


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTK_SMP_BACKEND_IN_USE", "Sequential")
    before = vtkSMPTools.GetBackend()
    with all_cores():
        assert vtkSMPTools.GetBackend() == before


def test_surfaces_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, ball: np.ndarray) -> None:
    grid = Grid.from_spacing(ball.shape, (1, 1, 2))
    on_threads = smooth_mesh(march(ball, grid))
    monkeypatch.setenv("VTK_SMP_BACKEND_IN_USE", "Sequential")
    alone = smooth_mesh(march(ball, grid))
    np.testing.assert_array_equal(on_threads.faces, alone.faces)
    np.testing.assert_array_equal(on_threads.vertices, alone.vertices)
