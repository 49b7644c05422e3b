"""A model and a scan whose segmentation is known."""

from __future__ import annotations

import pytest
from threshold_model import bright_box, threshold_model

from volseg.geometry import Grid
from volseg.model.file import Model
from volseg.volume import Volume


@pytest.fixture
def model() -> Model:
    return threshold_model()


@pytest.fixture
def scan(oblique_grid: Grid) -> Volume:
    return bright_box(oblique_grid)
