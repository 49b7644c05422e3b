"""Shared fixtures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
from hypothesis import settings
from toy_dataset import write_dataset

from volseg.core.grid import Grid
from volseg.files.atomic import atomic_path
from volseg.io.dicom.decoder_process import DecoderProcess
from volseg.watching.curves import Curves

# No test needs a screen; VTK picks its window class from this before it is imported.
os.environ.pop("DISPLAY", None)
# Tests start hundreds of processes, each of which would compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
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


@pytest.fixture(scope="session")
def curves_drawn() -> list[bytes]:
    """Pictures of curves of this session."""
    return []


@pytest.fixture
def one_curve(curves_drawn: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the curve of the first training, and write it again for the others: it takes longer than they do."""
    from volseg.training import loop

    draw = loop.draw_curve

    def draw_once(curves: Curves, path: Path) -> None:
        if not curves_drawn:
            draw(curves, path)
            curves_drawn.append(path.read_bytes())
            return
        with atomic_path(path) as temporary:
            temporary.write_bytes(curves_drawn[0])

    monkeypatch.setattr(loop, "draw_curve", draw_once)


@pytest.fixture
def one_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decode all compressed slices of a test in one process; each reading would start one, which takes a second."""
    process = DecoderProcess()

    @contextmanager
    def kept(count: int) -> Iterator[SimpleQueue[DecoderProcess]]:
        queue: SimpleQueue[DecoderProcess] = SimpleQueue()
        queue.put(process)
        yield queue

    monkeypatch.setattr("volseg.io.dicom.pixels.decoder_processes", kept)
    yield
    process.stop()


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


@pytest.fixture(scope="session")
def written_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("written") / "Task99_Toy")


@pytest.fixture
def dataset_folder(written_dataset: Path, tmp_path: Path) -> Path:
    """Six tiny cases in the layout of the Medical Segmentation Decathlon; each test has a copy of its own."""
    return Path(shutil.copytree(written_dataset, tmp_path / "Task99_Toy"))
