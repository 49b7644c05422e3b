from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reported_cases import ball_and_bar, doubt, unsure_at_the_bar, write_case

import volseg
from volseg.cases.case_doubt import read_shown_doubt
from volseg.cases.subject import read_subject
from volseg.core.labelmap import LabelMap


@pytest.fixture
def case(tmp_path: Path) -> Path:
    scan, labels = ball_and_bar()
    known = doubt(0.9)
    return write_case(tmp_path / "out", "a", scan, labels, unsure=unsure_at_the_bar(labels), doubt=known)


def test_a_case_has_its_voxels_and_slices(case: Path) -> None:
    subject = read_subject([case])
    assert subject.doubt is not None
    assert subject.doubt.voxels is not None
    assert subject.doubt.grid == subject.labels[0].grid
    np.testing.assert_allclose(subject.doubt.voxels.array, 0.9 * (subject.labels[0].array == 2))
    assert [one.index for one in subject.doubt.slices[:2]] == [29, 6]
    assert read_subject([case / "labels.nii.gz"]).doubt is None  # which is a label map, and no case


def test_a_map_that_the_case_has_not_written_is_not_shown(case: Path) -> None:
    scan, labels = ball_and_bar()
    (case / "doubt.nii.gz").unlink()
    found = read_shown_doubt(case, labels.grid)
    assert found is not None
    assert found.voxels is None
    assert found.slices
    volseg.write(scan, case / "doubt.nii.gz")
    found = read_shown_doubt(case, labels.grid)
    assert found is not None
    assert found.voxels is None


def test_doubt_of_before_tells_nothing_of_changed_labels(case: Path) -> None:
    _, labels = ball_and_bar()
    volseg.write(LabelMap(np.flip(labels.array, 0), labels.grid, labels.labels), case / "labels.nii.gz")
    assert read_shown_doubt(case, labels.grid) is None
    assert read_subject([case]).doubt is None


def test_two_cases_side_by_side_have_none(case: Path) -> None:
    scan, labels = ball_and_bar(2)
    other = write_case(case.parent, "b", scan, labels, unsure=unsure_at_the_bar(labels), doubt=doubt(0.9))
    assert read_subject([case, other]).doubt is None
