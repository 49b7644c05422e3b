from __future__ import annotations

from pathlib import Path

import pytest

from volseg.cases.failures import FAILURES, note_ending, read_failures
from volseg.cases.inputs import CaseInput
from volseg.cases.outputs import CaseResult
from volseg.errors import InputError


def ending(path: Path, error: str = "") -> CaseResult:
    return CaseResult(CaseInput(path.stem, (path,)), error=InputError(error) if error else None)


def test_failures_are_kept_until_the_case_succeeds(tmp_path: Path) -> None:
    one, other = tmp_path / "one.nii", tmp_path / "other.nii"
    note_ending(tmp_path, ending(one))
    assert not (tmp_path / FAILURES).exists()
    note_ending(tmp_path, ending(one, f"{one}: is cut off"))
    note_ending(tmp_path, ending(other, "no"))
    note_ending(tmp_path, ending(one, f"{one}: is empty"))
    found = [(failure.case, failure.error) for failure in read_failures(tmp_path)]
    assert found == [("other", "no"), ("one", "one.nii: is empty")]
    note_ending(tmp_path, ending(other))
    note_ending(tmp_path, ending(one))
    assert read_failures(tmp_path) == []
    assert not (tmp_path / FAILURES).exists()


def test_another_file_of_that_name_is_no_list_of_failures(tmp_path: Path) -> None:
    (tmp_path / FAILURES).write_text("[1, 2]", encoding="utf-8")
    assert read_failures(tmp_path) == []


def test_scans_of_one_name_fail_by_themselves(tmp_path: Path) -> None:
    one, other = tmp_path / "1" / "ct.nii", tmp_path / "2" / "ct.nii"
    note_ending(tmp_path, ending(one, f"{one}: is empty"))
    note_ending(tmp_path, ending(other))
    assert [failure.error for failure in read_failures(tmp_path)] == ["ct.nii: is empty"]


def test_a_list_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FAILURES).mkdir()
    note_ending(tmp_path, ending(tmp_path / "one.nii", "no"))
    assert "so a report will not tell how one ended" in caplog.text
