"""Here it is not pictures that count."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _curves_in_passing(one_curve: None) -> None:
    """Test what a training does beside drawing its curve, which `test_training_learns_and_leaves_its_files` does."""
