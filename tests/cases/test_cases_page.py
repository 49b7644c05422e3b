from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import volseg
from volseg.cases import output_table
from volseg.cases.cohort import process_cases
from volseg.cases.inputs import collect_cases
from volseg.cases.outputs import OutputSettings
from volseg.core.volume import Volume
from volseg.network.file import Model
from volseg.webpage import scene_page


def test_a_case_has_its_page_with_the_surfaces_that_are_written(
    model: Model, scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_page, "_picture", lambda scan, meshes: "")
    volseg.write(scan, tmp_path / "scan.nii.gz")
    cases = collect_cases([str(tmp_path / "scan.nii.gz")], channels=1)
    settings = OutputSettings(html=True, mesh_formats=("stl",))
    (result,) = process_cases(model, cases, tmp_path / "out", settings=settings)
    assert {path.name for path in result.files} == {
        "labels.nii.gz",
        "labels.tsv",
        "bright.stl",
        "scene.html",
        "run.json",
    }
    text = (tmp_path / "out" / "scan" / "scene.html").read_text(encoding="utf-8")
    assert "<title>scan</title>" in text
    assert '"name":"bright"' in text
    record = json.loads((tmp_path / "out" / "scan" / "run.json").read_text(encoding="utf-8"))
    assert record["made_by"]["html"] is True
    assert "page" in record["seconds"]
    assert output_table.is_output("scene.html", recorded=True)


def test_a_page_that_is_added_to_a_case_has_its_doubt(
    model: Model, scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_page, "_picture", lambda scan, meshes: "")
    volseg.write(scan, tmp_path / "scan.nii.gz")
    cases = collect_cases([str(tmp_path / "scan.nii.gz")], channels=1)
    pages = []
    for settings in (OutputSettings(doubt=True), OutputSettings(html=True), OutputSettings(html=True, overwrite=True)):
        (result,) = process_cases(model, cases, tmp_path / "out", settings=settings)
        assert result.error is None
        if settings.html:
            text = (tmp_path / "out" / "scan" / "scene.html").read_text(encoding="utf-8")
            (found,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', text, re.DOTALL)
            pages.append(json.loads(found))
    added, anew = pages
    assert added["doubt"]["texts"] == ["0 sure", "0.2 least sure here"]  # a threshold is sure
    assert anew["doubt"] is None
    told = json.loads((tmp_path / "out" / "scan" / "run.json").read_text(encoding="utf-8"))["doubt"]["slices"]
    assert added["first"][0]["plane"] == told[0]["plane"]
    assert added["first"] == anew["first"] != []
