"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from toy_dataset import write_dataset

from volseg.core.grid import Grid

# No test needs a screen; VTK picks its window class from this before it is imported.
os.environ.pop("DISPLAY", None)
# The networks here are tiny: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says nothing on a busy machine.
settings.register_profile("volseg", deadline=None)
settings.load_profile("volseg")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans that may lie beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real scans (shared/data beside the checkout) are not here")
    return folder


@pytest.fixture(scope="session")
def found(shared_data: Path) -> Path:
    """Folder of inputs that were once read wrong or refused, each in a folder of its own."""
    folder = shared_data / "found"
    if not folder.is_dir():
        pytest.skip("the inputs that were once read wrong (shared/data/found) are not here")
    return folder


@pytest.fixture
def oblique_grid() -> Grid:
    """A left-handed, oblique, anisotropic grid: the least forgiving legal one."""
    angle = 0.3
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    tilt = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ tilt @ np.diag([-0.8, 0.9, 3.0])
    affine[:3, 3] = [12.0, -30.0, 55.0]
    return Grid((20, 24, 10), affine)


@pytest.fixture
def dataset_folder(tmp_path: Path) -> Path:
    """Six tiny cases in the layout of the Medical Segmentation Decathlon."""
    return write_dataset(tmp_path / "Task99_Toy")
