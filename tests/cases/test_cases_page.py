from __future__ import annotations

import json
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
