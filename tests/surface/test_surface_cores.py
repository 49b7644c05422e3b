"""VTK's filters on all cores: the same surfaces, and VTK left as it was."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from vtkmodules.vtkCommonCore import vtkSMPTools

from volseg.geometry import Grid
from volseg.mesh import Mesh
from volseg.surface.cores import all_cores
from volseg.surface.march import march
from volseg.surface.smooth import smooth_mesh

MANY = 1_000_000


def ball(radius: float = 70) -> Mesh:
    mask = np.sum((np.indices((150, 150, 150)) - 74.5) ** 2, axis=0) < radius**2
    return march(mask, Grid.from_spacing(mask.shape, (1, 1, 2)))


def test_threads_inside_and_what_was_before_outside() -> None:
    before = vtkSMPTools.GetBackend()
    with all_cores(MANY):
        assert vtkSMPTools.GetBackend() == "STDThread"
        with all_cores(MANY):
            pass
        assert vtkSMPTools.GetBackend() == "STDThread"
    assert vtkSMPTools.GetBackend() == before


def test_little_work_and_the_environment_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = vtkSMPTools.GetBackend()
    with all_cores(1000):
        assert vtkSMPTools.GetBackend() == before
    monkeypatch.setenv("VTK_SMP_BACKEND_IN_USE", "Sequential")
    with all_cores(MANY):
        assert vtkSMPTools.GetBackend() == before


def test_what_was_before_comes_back_after_an_error_and_from_several_threads() -> None:
    before = vtkSMPTools.GetBackend()
    with pytest.raises(ValueError, match="spoilt"), all_cores(MANY):
        raise ValueError("spoilt")
    assert vtkSMPTools.GetBackend() == before
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda radius: len(ball(radius).faces), [60, 70] * 4))
    assert counts == counts[:2] * 4
    assert vtkSMPTools.GetBackend() == before


def test_surfaces_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    on_threads = smooth_mesh(ball())
    monkeypatch.setenv("VTK_SMP_BACKEND_IN_USE", "Sequential")
    alone = smooth_mesh(ball())
    np.testing.assert_array_equal(on_threads.faces, alone.faces)
    np.testing.assert_array_equal(on_threads.vertices, alone.vertices)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_surfaces_too() -> None:
    expected = len(ball().faces)  # from now on VTK has threads
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_count_faces).get(60) == expected


def _count_faces() -> int:
    return len(smooth_mesh(ball()).faces)
