"""A model and a scan with a known segmentation."""

from __future__ import annotations

import pytest
from threshold_model import bright_box, threshold_model

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.network.file import Model


@pytest.fixture
def model() -> Model:
    return threshold_model()


@pytest.fixture
def scan(oblique_grid: Grid) -> Volume:
    return bright_box(oblique_grid)
