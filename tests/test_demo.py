"""The demo, with a training that is much too short to be good."""

from __future__ import annotations

from pathlib import Path

import pytest

import volseg
from volseg.demo import run_demo
from volseg.errors import UsageError


def test_demo_goes_the_whole_way(tmp_path: Path) -> None:
    told = []
    result = run_demo(tmp_path / "demo", minutes=0.05, report=lambda text, share: told.append((text, share)))
    assert all(path.is_file() for path in result.files)
    assert {row.label for row in result.evaluation.rows} >= {"liver", "spleen", "spine"}
    assert told[-1] == ("done", 1.0)
    assert {text for text, _ in told} >= {"making scans", "training"}
    scan = volseg.read(tmp_path / "demo" / "unseen_dicom")
    labels = volseg.read_labels(tmp_path / "demo" / "segmentation" / "unseen" / "labels.nii.gz")
    assert labels.grid.is_close(scan.grid)
    with pytest.raises(UsageError, match="is not empty; choose another folder"):
        run_demo(tmp_path / "demo")
