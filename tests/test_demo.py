"""The demo, with a training that is much too short to be good."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.demo import run_demo
from volseg.errors import UsageError
from volseg.io.labels.table import write_label_table
from volseg.phantoms import make_ct_phantom


def test_demo_goes_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    tables: list[Path] = []

    def write_counted(labels: Iterable[Label], path: Path) -> None:
        tables.append(path)
        write_label_table(labels, path)

    monkeypatch.setattr("volseg.demo.write_label_table", write_counted)
    # Of an eighth of the voxels; whole phantoms are those of `test_phantoms` and of the second example.
    coarse = Grid.from_spacing((48, 48, 12), (6, 6, 12), (-141, -141, -66))
    monkeypatch.setattr("volseg.demo.make_ct_phantom", partial(make_ct_phantom, grid=coarse))
    result = run_demo(tmp_path / "demo", epochs=1, progress=lambda *step: told.append(step))
    assert all(path.is_file() for path in result.files)
    assert {row.label for row in result.evaluation.rows} >= {"liver", "spleen", "spine"}
    assert tables == [tmp_path / "demo" / "dataset" / "labels.tsv"]
    assert told[-1] == ("done", 1, 1)
    assert {what for what, _, _ in told} >= {"making scans", "training"}
    scan = volseg.read(tmp_path / "demo" / "unseen_dicom")
    labels = volseg.read_labels(tmp_path / "demo" / "segmentation" / "unseen" / "labels.nii.gz")
    assert labels.grid.is_close(scan.grid)
    with pytest.raises(UsageError, match="is not empty; choose another folder"):
        run_demo(tmp_path / "demo")


def test_a_file_is_no_folder_for_the_demo(tmp_path: Path) -> None:
    (tmp_path / "demo").write_bytes(b"a file")
    with pytest.raises(UsageError, match="demo: is a file; choose a folder with -o"):
        run_demo(tmp_path / "demo")
    assert (tmp_path / "demo").read_bytes() == b"a file"
