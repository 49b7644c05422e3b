"""A row of the table is all that an output takes: it is asked for, recorded, found missing and made by its row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from threshold_model import threshold_model

import volseg
from volseg.cases import case_run, output_table
from volseg.cases.cohort import process_cases
from volseg.cases.inputs import collect_cases
from volseg.cases.output_table import Needs, Output, SegmentedCase, is_output
from volseg.cases.outputs import CaseResult, OutputSettings
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.io.scan_files import ScanFiles

Run = Callable[..., CaseResult]


@dataclass(frozen=True)
class Settings(OutputSettings):
    """With one more."""

    page: bool = False


def write_page(case: SegmentedCase, folder: Path) -> None:
    text = f"{case.name}: {len(case.labels.labels)} label, scan up to {case.volumes[0].array.max()}"
    (folder / "page.txt").write_text(text, encoding="utf-8")


def refuse_flat(scan: ScanFiles, image: Volume | None) -> None:
    if image is not None and image.array.min() == image.array.max():
        raise InputError(f"{scan.paths[0]}: nothing to see")


PAGE = Output(("page.txt",), write_page, needs=Needs.SCAN, setting="page", check=refuse_flat, stage="page")


@pytest.fixture
def segment(scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Segment a scan with a page among the outputs that can be asked for."""
    monkeypatch.setattr(output_table, "OUTPUTS", (*output_table.OUTPUTS, PAGE))
    volseg.write(scan, tmp_path / "scan.nii.gz")

    def segment(**settings: bool) -> CaseResult:
        cases = collect_cases([str(tmp_path / "scan.nii.gz")], channels=1)
        (result,) = process_cases(threshold_model(), cases, tmp_path / "out", settings=Settings(**settings))
        return result

    return segment


def test_a_new_row_is_written_recorded_found_missing_and_made_again(
    segment: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "out" / "scan" / "page.txt"
    first = segment()
    assert first.error is None
    assert not page.exists()
    monkeypatch.delattr(case_run, "predict_scan")  # a page needs the scan and its labels alone
    later = segment(page=True)
    assert [path.name for path in later.written] == ["page.txt", "run.json"]
    assert page.read_text(encoding="utf-8") == "scan: 1 label, scan up to 180"
    record = json.loads((page.parent / "run.json").read_text(encoding="utf-8"))
    assert record["files"] == ["labels.nii.gz", "labels.tsv", "page.txt", "run.json"]
    assert record["written"]["page.txt"]["bytes"] == page.stat().st_size
    assert record["made_by"]["page"] is True
    assert "page" in record["seconds"]
    assert segment(page=True).skipped
    page.write_text("changed", encoding="utf-8")
    assert [path.name for path in segment().written] == ["page.txt", "run.json"]  # it was asked for before
    page.unlink()
    assert [path.name for path in segment().written] == ["page.txt", "run.json"]
    assert page.read_text(encoding="utf-8") == "scan: 1 label, scan up to 180"


def test_a_row_that_is_not_asked_for_goes_with_what_is_done_anew(segment: Run, tmp_path: Path) -> None:
    page = tmp_path / "out" / "scan" / "page.txt"
    segment(page=True)
    assert page.is_file()
    segment(overwrite=True)
    assert not page.exists()


def test_what_a_row_cannot_be_made_for_is_refused_before_the_network_is_started(
    segment: Run, scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volseg.write(scan.with_array(scan.array * 0), tmp_path / "scan.nii.gz")
    monkeypatch.delattr(case_run, "predict_scan")
    assert str(segment(page=True).error) == f"{tmp_path / 'scan.nii.gz'}: nothing to see"


def test_every_name_of_an_output_is_known() -> None:
    fixed = ["labels.nii.gz", "labels.tsv", "probabilities.nii.gz", "run.json"]
    fixed += [f"labels_{form}.dcm" for form in ("seg", "labelmap", "rtstruct", "fractional")]
    for name in fixed:
        assert is_output(name, recorded=True)
    for name in ("meshes/liver.stl", "meshes/liver.mtl", "meshes/surfaces-0123/liver.vtp"):
        assert is_output(name, recorded=False)
        assert not is_output(name, recorded=True)  # unless it is listed
    for name in ("notes.txt", "meshes/notes.txt", "liver.stl", "labels_other.dcm"):
        assert not is_output(name, recorded=False)
