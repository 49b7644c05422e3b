from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from volseg.errors import InputError, UsageError
from volseg.geometry import Grid
from volseg.io import write
from volseg.io.atomic import write_text
from volseg.io.labels import sidecar_path
from volseg.labelmap import Label, LabelMap
from volseg.view.inputs import Subject, read_subject
from volseg.volume import Volume

GRID = Grid.from_spacing((8, 8, 6), (1, 1, 2))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, dtype=np.int16)
    array[2:6, 2:6, 1:5] = 300
    return write(Volume(array, GRID), tmp_path / "scan.nii.gz")[0]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[3:6, 3:6, 2:4] = 1
    return write(LabelMap(array, GRID, (Label(1, "liver", (200, 90, 60)),)), tmp_path / "seg.nii.gz")[0]


def test_scan_and_label_map_are_told_apart_by_the_table(scan: Path, labels: Path) -> None:
    subject = read_subject([scan, labels])
    assert subject.volume is not None
    assert subject.volume.array.max() == 300
    assert subject.labels is not None
    assert [label.name for label in subject.labels.labels] == ["liver"]
    assert [mesh.name for mesh in subject.surfaces()] == ["liver"]


def test_label_map_without_a_table_is_named_by_the_option(scan: Path, labels: Path) -> None:
    sidecar_path(labels).unlink()
    with pytest.raises(UsageError, match="2 scans to look at; give one, and its label map by --segmentation"):
        read_subject([scan, labels])
    subject = read_subject([scan], segmentation=labels)
    assert subject.labels is not None
    assert [label.name for label in subject.labels.labels] == ["label_1"]


def test_predicted_case_brings_its_scan(scan: Path, labels: Path, tmp_path: Path) -> None:
    case = tmp_path / "out" / "case"
    case.mkdir(parents=True)
    labels.rename(case / "labels.nii.gz")
    sidecar_path(labels).rename(case / "labels.tsv")
    write_text(case / "run.json", json.dumps({"input": [str(scan)], "made_by": {"series": None}}))
    subject = read_subject([case])
    assert subject.volume is not None
    assert subject.volume.array.max() == 300
    assert subject.labels is not None
    assert [label.name for label in subject.labels.labels] == ["liver"]


@pytest.mark.parametrize("run", [None, "{", '{"input": []}', "[1]", '{"input": ["gone.nii.gz"]}'])
def test_case_whose_scan_is_gone_is_shown_without_it(
    run: str | None, labels: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = tmp_path / "case"
    case.mkdir()
    labels.rename(case / "labels.nii.gz")
    if run is not None:
        write_text(case / "run.json", run)
    with caplog.at_level(logging.WARNING):
        subject = read_subject([case])
    assert subject.volume is None
    assert subject.labels is not None
    assert "shown without its scan" in caplog.text


def test_threshold_gives_a_surface_and_its_outline_in_one_colour(scan: Path) -> None:
    subject = read_subject([scan], threshold=150)
    (mesh,) = subject.surfaces()
    outlines = subject.outlines()
    assert outlines is not None
    assert outlines.labels == (Label(1, "threshold 150", mesh.colour),)
    assert mesh.name == "threshold 150"
    assert outlines.array.sum() == 4 * 4 * 4
    assert np.allclose(mesh.bounds.mean(axis=0), (3.5, 3.5, 5), atol=0.1)


def test_single_slice_has_no_surface_but_outlines(caplog: pytest.LogCaptureFixture) -> None:
    grid = Grid.from_spacing((4, 4, 1))
    labels = LabelMap.from_array(np.ones(grid.shape, dtype=np.uint8), grid)
    with caplog.at_level(logging.WARNING):
        assert Subject(labels=labels).surfaces() == []
    assert "--contact-sheet" in caplog.text
    assert Subject(labels=labels).outlines() is labels


def test_what_does_not_fit_together_is_refused(scan: Path, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to look at"):
        read_subject([])
    with pytest.raises(UsageError, match="2 label maps to look at"):
        read_subject([labels], segmentation=labels)
    with pytest.raises(UsageError, match=r"--labels .* give that by --segmentation"):
        read_subject([scan], labels=sidecar_path(labels))
    with pytest.raises(UsageError, match="--threshold 3 needs a scan"):
        read_subject([labels], threshold=3)
    with pytest.raises(InputError, match="no such file"):
        read_subject([tmp_path / "none.nii.gz"])
