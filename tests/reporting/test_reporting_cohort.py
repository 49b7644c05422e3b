from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from reported_cases import ball_and_bar, doubt, write_case

import volseg
from volseg.core.labelmap import Label, LabelMap
from volseg.errors import InputError, OutputError
from volseg.reporting import cohort

HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Three cases, of which b is the worst, and c has a serious flag."""
    out = tmp_path / "out"
    for name, expected, percentile in (("a", 0.9, 50.0), ("b", 0.6, 30.0), ("c", 0.95, 1.0)):
        write_case(out, name, *ball_and_bar(), doubt=doubt(expected, percentile=percentile))
    return out


def cases(output: Path) -> list[str]:
    return [row["case"] for row in json.loads((output / "report" / "cases.json").read_text(encoding="utf-8"))]


def page(output: Path, case: str) -> str:
    return (output / "report" / "cases" / f"{case}.html").read_text(encoding="utf-8")


def test_the_worst_come_first_in_every_file(output: Path) -> None:
    failed = [{"case": "d", "scan": "1f", "error": "d.nii.gz: is cut off"}]
    (output / "failures.json").write_text(json.dumps(failed), encoding="utf-8")
    index = volseg.report(output)
    assert index == output / "report" / "index.html"
    assert cases(output) == ["d", "c", "b", "a"]
    text = index.read_text(encoding="utf-8")
    assert "failed: d.nii.gz: is cut off" in text
    places = [text.index(f'cases/{case}.html"') for case in "cba"]
    assert places == sorted(places)
    with (output / "report" / "cases.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == ["d", "c", "b", "a"]
    assert (rows[3]["expected_dice"], rows[3]["bar ml"], rows[3]["bar high_ml"]) == ("0.9", "1.2", "3.0")
    assert "smaller than in any training case" in rows[3]["flags"]


def test_a_report_that_was_interrupted_is_gone_on_with(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("volseg.reporting.cohort.view_case", interrupted)
        with pytest.raises(KeyboardInterrupt):
            volseg.report(output)
    volseg.report(output)
    assert cases(output) == ["c", "b", "a"]


def test_a_record_of_another_form_is_the_failure_of_its_case(output: Path) -> None:
    path = output / "b" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"warnings": [1]}), encoding="utf-8")
    volseg.report(output)
    assert sorted(cases(output)) == ["a", "b", "c"]


def test_a_case_has_its_doubt_flags_slices_and_measurements(output: Path) -> None:
    (output / "a" / "scene.html").write_text("scene", encoding="utf-8")
    volseg.report(output)
    text = page(output, "a")
    assert "<strong>0.90</strong>\n    <small>90 % of such cases lie between 0.80 and 0.95</small>" in text
    assert "<b>sagittal 30</b> of 40" in text, "the least sure slice, counted from 1 in the stored order"
    # The next ones are 2 mm apart; every third is far enough from the one before.
    assert [text.count(f"<b>axial {number}</b>") for number in (7, 8, 9, 11)] == [1, 0, 1, 1]
    assert 'href="../../a/scene.html"' in text
    assert "data:image/jpeg;base64," in text
    assert "PATIENT" not in text
    assert "no flag" not in text.lower()
    assert "surface ± mm (95 %)</th>" in text
    assert "<td>0.30 (0.98)</td>" in text


def test_without_doubt_and_without_scan_the_page_says_why(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "out", "a", *ball_and_bar())
    scan = tmp_path / "scans" / "a.nii.gz"
    volseg.report(tmp_path / "out")
    text = page(tmp_path / "out", "a")
    assert "was predicted by a version that did not judge it" in text
    assert "spread evenly over the labels" in text
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    scan.rename(moved / "a.nii.gz")
    volseg.report(tmp_path / "out", overwrite=True)
    text = page(tmp_path / "out", "a")
    assert "--images FOLDER" in text
    assert "data:image/jpeg" not in text
    assert "<path" in text
    volseg.report(tmp_path / "out", images=moved)
    assert "data:image/jpeg" in page(tmp_path / "out", "a")
    (folder / "labels.nii.gz").write_bytes(b"cut off")
    volseg.report(tmp_path / "out", images=moved)
    (row,) = json.loads((tmp_path / "out" / "report" / "cases.json").read_text(encoding="utf-8"))
    assert row["error"].startswith("a/labels.nii.gz")


def test_labels_that_somebody_has_changed_have_no_doubt(output: Path) -> None:
    _, labels = ball_and_bar(shift=4)
    volseg.write(labels, output / "a" / "labels.nii.gz")
    volseg.report(output)
    text = page(output, "a")
    assert "The labels were changed after they were predicted." in text
    assert "0.90</strong>" not in text


def test_only_what_has_changed_is_made_anew(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volseg.report(output)
    viewed, usual = [], cohort.view_case
    monkeypatch.setattr(cohort, "view_case", lambda case, *rest: viewed.append(case.name) or usual(case, *rest))
    volseg.report(output)
    assert viewed == []
    assert cases(output) == ["c", "b", "a"]
    record = json.loads((output / "b" / "run.json").read_text(encoding="utf-8"))
    (output / "b" / "run.json").write_text(json.dumps({**record, "doubt": doubt(0.99)}), encoding="utf-8")
    (output / "a" / "run.json").unlink()
    volseg.report(output)
    assert viewed == ["b"]
    assert cases(output) == ["c", "b"]
    assert not (output / "report" / "cases" / "a.html").exists()
    volseg.report(output, overwrite=True)
    assert viewed == ["b", "b", "c"]


def test_ratings_are_read_if_they_are_of_these_labels(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = json.loads((output / "a" / "run.json").read_text(encoding="utf-8"))
    labels = record["written"]["labels.nii.gz"]["sha256"][:12]
    given = {"case": "a", "rating": "minor", "comment": HOSTILE, "date": "2026-01-02", "labels": labels}
    earlier = {**given, "rating": "good", "date": "2026-01-01"}
    (output / "a" / "a.rating.json").write_text(json.dumps(given), encoding="utf-8")
    (output / "ratings.json").write_text(json.dumps([earlier, {**given, "case": "b"}]), encoding="utf-8")
    (output / "rating.json").write_text('{"rating": "superb"}', encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        volseg.report(output)
    assert "is no rating as a report saves it" in caplog.text
    rated = {row["case"]: row for row in json.loads((output / "report" / "cases.json").read_text(encoding="utf-8"))}
    assert rated["a"]["rating"] == {"rating": "minor", "comment": HOSTILE, "date": "2026-01-02", "labels": labels}
    # All cases have the same labels here, so this one is of b's too.
    assert rated["b"]["rating"]["rating"] == "minor"
    assert rated["c"]["rating"] is None
    text = (output / "report" / "index.html").read_text(encoding="utf-8")
    assert 'data-rating="minor"' in text
    assert "<img src=x" not in text


def test_texts_stay_texts(tmp_path: Path) -> None:
    scan, labels = ball_and_bar()
    named = LabelMap(labels.array, labels.grid, (Label(1, HOSTILE, (9, 9, 9)), Label(2, "=cmd()", (8, 8, 8))))
    facts = {"warnings": {"read": ["</script><script>document.title='taken'</script>"]}, "model": "{{ 7 * 7 }}"}
    write_case(tmp_path / "out", "<b>&amp; 'case'", scan, named, input_=None, **facts)
    index = volseg.report(tmp_path / "out").read_text(encoding="utf-8")
    text = page(tmp_path / "out", "<b>&amp; 'case'")
    for each in (index, text):
        assert "<b>&amp; 'case'" not in each
        assert "<img src=x" not in each
        assert "<script>document" not in each
    assert "{{ 7 * 7 }}" in text
    assert "'=cmd() ml" in (tmp_path / "out" / "report" / "cases.csv").read_text(encoding="utf-8")


def test_what_is_no_cohort_is_refused(output: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no predicted cases"):
        volseg.report(tmp_path / "scans")
    with pytest.raises(InputError, match="is the folder of one case"):
        volseg.report(output / "a")
    (output / "report").mkdir()
    (output / "report" / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="is there already"):
        volseg.report(output)
    volseg.report(output, overwrite=True)
    assert (output / "report" / "mine.txt").is_file()


def test_an_empty_case_and_a_single_slice_have_pages(tmp_path: Path) -> None:
    scan, labels = ball_and_bar()
    empty = LabelMap(np.zeros_like(labels.array), labels.grid, labels.labels)
    write_case(tmp_path / "out", "empty", scan, empty, doubt=doubt(None))
    flat = labels.grid.crop((0, 0, 10), (40, 36, 11))
    one = volseg.Volume(scan.array[:, :, 10:11], flat)
    write_case(tmp_path / "out", "flat", one, LabelMap(labels.array[:, :, 10:11], flat, labels.labels))
    volseg.report(tmp_path / "out")
    assert "Nothing was found" in page(tmp_path / "out", "empty")
    assert "<b>axial 1</b> of 1" in page(tmp_path / "out", "flat")
