"""Plans: when a case is finished, when it is refused, and which missing parts are made."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threshold_model import bright_box, run, threshold_model

import volseg
from volseg.cases.case_run import run_case
from volseg.cases.inputs import collect_cases
from volseg.cases.job import make_job
from volseg.cases.outputs import OutputSettings
from volseg.cases.plan import plan_case
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.mesh.reading import read_meshes
from volseg.network.file import Model

Inputs = list[str | Path]


def contents(folder: Path) -> dict[str, str]:
    """Digest of each file, by its path; run.json is another each time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_finished_cases_are_skipped_unless_they_differ(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    inputs: list[str | Path] = [tmp_path / "scan.nii.gz"]
    (first,) = run(model, inputs, tmp_path / "out")
    (second,) = run(model, inputs, tmp_path / "out")
    assert second.skipped
    assert second.files == first.files
    (redone,) = run(model, inputs, tmp_path / "out", mesh_formats=("stl",), overwrite=True)
    assert redone.error is None
    assert not redone.skipped
    stl = tmp_path / "out" / "scan" / "meshes" / "bright.stl"
    assert stl.is_file()
    run(model, inputs, tmp_path / "out", overwrite=True)
    assert not stl.exists()  # nothing of the earlier result is left beside the new one


def test_what_another_version_would_predict_otherwise_is_not_finished(
    model: Model, scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    out = tmp_path / "out"
    inputs: list[str | Path] = [tmp_path / "scan.nii.gz"]
    run(model, inputs, out)
    monkeypatch.setattr("volseg.cases.job.INFERENCE", 1000)
    (other,) = run(model, inputs, out)
    assert "is there, but differs in version of inference; add --overwrite" in str(other.error)


def test_surfaces_in_another_space_are_not_finished(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    out = tmp_path / "out"
    inputs: list[str | Path] = [tmp_path / "scan.nii.gz"]
    formats = ("stl", "obj", "vtm", "3mf")
    (first,) = run(model, inputs, out, mesh_formats=formats)
    assert {file.suffix for file in first.files} >= {".stl", ".obj", ".mtl", ".vtm", ".vtp", ".3mf"}
    run_json = out / "scan" / "run.json"
    content = json.loads(run_json.read_text(encoding="utf-8"))
    assert content["made_by"].pop("mesh_space") == "lps"
    run_json.write_text(json.dumps(content), encoding="utf-8")  # of before there was a choice
    assert run(model, inputs, out, mesh_formats=formats)[0].skipped
    (other,) = run(model, inputs, out, mesh_formats=formats, mesh_space="ras")
    assert "is there, but differs in --space; add --overwrite" in str(other.error)
    meshes = out / "scan" / "meshes"
    (before,) = read_meshes(meshes / "surfaces.vtm")
    (redone,) = run(model, inputs, out, mesh_formats=formats, mesh_space="ras", overwrite=True)
    assert b"SPACE=RAS" in (meshes / "bright.stl").read_bytes()[:80]
    assert sorted(path for path in (out / "scan").rglob("*") if path.is_file()) == sorted(redone.files)
    for name in ("bright.stl", "bright.obj", "surfaces.vtm"):
        (after,) = read_meshes(meshes / name)
        np.testing.assert_allclose(after.bounds, before.bounds, atol=1e-4)
    run(model, inputs, out, overwrite=True)
    assert not meshes.exists()


def test_a_case_with_a_missing_file_or_another_scan_is_not_finished(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    inputs: list[str | Path] = [tmp_path / "scan.nii.gz"]
    (first,) = run(model, inputs, tmp_path / "out")
    first.files[0].unlink()
    (second,) = run(model, inputs, tmp_path / "out")
    assert not second.skipped
    assert first.files[0].is_file()
    volseg.write(scan.with_array(scan.array + 1), tmp_path / "scan.nii.gz")
    (third,) = run(model, inputs, tmp_path / "out")
    assert "is there, but differs in scan files" in str(third.error)


def test_an_unfinished_case_is_redone(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    run(model, [tmp_path / "scan.nii.gz"], tmp_path / "out")
    (tmp_path / "out" / "scan" / "run.json").unlink()
    (again,) = run(model, [tmp_path / "scan.nii.gz"], tmp_path / "out")
    assert not again.skipped
    assert again.error is None


@pytest.fixture
def case(model: Model, tmp_path: Path) -> Path:
    """A finished case with everything that needs no DICOM, of even voxels, whose surfaces are soon made."""
    volseg.write(bright_box(Grid.from_spacing((12, 14, 8), (2, 2, 2))), tmp_path / "scan.nii.gz")
    run(model, [tmp_path / "scan.nii.gz"], tmp_path / "out", probabilities=True, mesh_formats=("stl", "obj"))
    return tmp_path / "out" / "scan"


def test_every_output_is_recorded_with_size_and_digest(case: Path) -> None:
    record = json.loads((case / "run.json").read_text(encoding="utf-8"))
    assert record["files"][-1] == "run.json"
    assert {name: entry["sha256"] for name, entry in record["written"].items()} == contents(case)
    assert {name: entry["bytes"] for name, entry in record["written"].items()} == {
        name: (case / name).stat().st_size for name in contents(case)
    }


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip_a_bit(path: Path) -> None:
    state, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # the time does not show the change


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE = (truncate, empty, flip_a_bit, Path.unlink, replace_by_a_folder)


@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.tsv", "probabilities.nii.gz", "meshes/bright.stl"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_not_as_it_was_written_is_made_again(
    model: Model, case: Path, name: str, damage: Callable[[Path], None]
) -> None:
    whole = contents(case)
    damage(case / name)
    (again,) = run(model, [case.parents[1] / "scan.nii.gz"], case.parent)
    assert again.error is None
    assert case / name in again.written
    assert contents(case) == whole
    assert run(model, [case.parents[1] / "scan.nii.gz"], case.parent)[0].skipped


def test_labels_that_were_corrected_by_hand_are_not_lost(
    model: Model, case: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = volseg.read_labels(case / "labels.nii.gz")
    corrected = replace(labels, array=np.where(np.arange(labels.grid.shape[0])[:, None, None] > 8, 0, labels.array))
    volseg.write(corrected, case / "labels.nii.gz")
    (again,) = run(model, [case.parents[1] / "scan.nii.gz"], case.parent)
    assert not again.skipped
    np.testing.assert_array_equal(volseg.read_labels(case / "labels.nii.gz").array, labels.array)
    (kept,) = case.glob("labels_changed_*.nii.gz")
    np.testing.assert_array_equal(volseg.read_labels(kept).array, corrected.array)
    assert f"was changed after it was predicted; it is kept as {kept.name}" in caplog.text
    run(model, [case.parents[1] / "scan.nii.gz"], case.parent, overwrite=True)
    assert kept.is_file()


MALFORMED = [
    "",
    "{",
    "[]",
    "null",
    "1e999",
    '{"files": [1]}',
    '{"files": "labels.nii.gz"}',
    '{"files": ["labels.nii.gz"], "made_by": [1]}',
    '{"files": ["labels.nii.gz"], "input": 3}',
    '{"files": [], "scan": {"identity": 1}}',
    '{"files": [], "written": {"labels.nii.gz": {"bytes": -1e400}}}',
    '{"files": [], "seconds": {"read": "long"}}',
    "[" * 100_000,
    '{"files": [], "a": ' + "9" * 10_000 + "}",
    "\x00\x00",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_record_means_that_the_case_is_not_finished(model: Model, case: Path, text: str) -> None:
    whole = contents(case)
    (case / "run.json").write_text(text, encoding="utf-8")
    (again,) = run(
        model, [case.parents[1] / "scan.nii.gz"], case.parent, probabilities=True, mesh_formats=("stl", "obj")
    )
    assert again.error is None
    assert not again.skipped
    assert contents(case) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["format", "case", "input", "series", "made_by", "scan", "files", "written", "seconds", "grid", "versions"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(KEYS), JSON, min_size=1, max_size=3))
def test_no_record_makes_a_case_fail_for_another_reason_than_that_it_differs(
    model: Model, case: Path, changes: dict[str, Any]
) -> None:
    path = case / "run.json"
    record = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(record) | changes), encoding="utf-8")
    (again,) = run(model, [case.parents[1] / "scan.nii.gz"], case.parent, mesh_formats=("stl",))
    assert again.error is None or "; add --overwrite" in str(again.error)
    assert (case / "labels.nii.gz").is_file()
    for other in case.parent.iterdir():
        if other.is_dir() and other != case:
            shutil.rmtree(other)
    path.write_text(record, encoding="utf-8")


def test_a_record_that_names_files_elsewhere_touches_none(model: Model, case: Path) -> None:
    precious = case.parents[1] / "precious.txt"
    precious.write_text("mine", encoding="utf-8")
    record = json.loads((case / "run.json").read_text(encoding="utf-8"))
    record["files"] += ["../../precious.txt", str(precious)]
    (case / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (again,) = run(model, [case.parents[1] / "scan.nii.gz"], case.parent, overwrite=True)
    assert again.error is None
    assert precious.read_text(encoding="utf-8") == "mine"


def as_before(case: Path, scan: Path) -> None:
    """Write run.json as version 0.1.0 did before there were digests."""
    path = case / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["scan"], record["written"]
    record["input"] = [str(scan.resolve())]
    state = repr([(scan.name, scan.stat().st_size, scan.stat().st_mtime_ns)])
    record["made_by"]["model"][1] = "s0"  # of the weights alone
    record["made_by"]["scan files"] = hashlib.sha256(state.encode()).hexdigest()[:16]
    path.write_text(json.dumps(record), encoding="utf-8")


def test_records_without_digests_are_understood(model: Model, case: Path) -> None:
    scan = case.parents[1] / "scan.nii.gz"
    as_before(case, scan)
    assert run(model, [scan], case.parent)[0].skipped
    (more,) = run(model, [scan], case.parent, mesh_formats=("glb",))
    assert [path.name for path in more.written if path.suffix == ".glb"] == ["bright.glb"]
    assert json.loads((case / "run.json").read_text(encoding="utf-8"))["written"].keys() == contents(case).keys()
    as_before(case, scan)
    empty(case / "labels.nii.gz")
    assert not run(model, [scan], case.parent)[0].skipped
    as_before(case, scan)
    shutil.copy(scan, scan.with_name("elsewhere.nii.gz"))
    scan.unlink()
    scan.with_name("elsewhere.nii.gz").rename(scan)
    (other,) = run(model, [scan], case.parent)
    assert "is there, but differs in scan files; add --overwrite" in str(other.error)


@pytest.mark.parametrize("probabilities", [False, True])
def test_what_is_asked_for_later_is_what_would_have_been_made_at_once(
    model: Model, scan: Volume, tmp_path: Path, probabilities: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    inputs: Inputs = [tmp_path / "scan.nii.gz"]
    formats = ("stl", "ply", "obj", "vtp", "3mf")
    run(model, inputs, tmp_path / "once", probabilities=probabilities, mesh_formats=formats)
    (first,) = run(model, inputs, tmp_path / "later", probabilities=probabilities)
    monkeypatch.delattr("volseg.cases.case_run.predict_scan")  # it is not needed
    before = {path: path.stat().st_mtime_ns for path in first.files if path.name != "run.json"}
    (second,) = run(model, inputs, tmp_path / "later", mesh_formats=formats[:2])
    assert second.error is None
    assert not set(before) & set(second.written)
    (third,) = run(model, inputs, tmp_path / "later", mesh_formats=formats[2:])
    assert third.error is None
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(tmp_path / "later" / "scan") == contents(tmp_path / "once" / "scan")
    assert run(model, inputs, tmp_path / "later", mesh_formats=formats)[0].skipped
    assert run(model, inputs, tmp_path / "later")[0].skipped  # more than is asked for does no harm


def test_probabilities_that_are_asked_for_later_need_a_new_prediction_and_surfaces(
    model: Model, scan: Volume, tmp_path: Path
) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    inputs: Inputs = [tmp_path / "scan.nii.gz"]
    run(model, inputs, tmp_path / "once", probabilities=True, mesh_formats=("stl",))
    run(model, inputs, tmp_path / "later", mesh_formats=("stl",))
    (more,) = run(model, inputs, tmp_path / "later", probabilities=True)
    assert more.error is None
    assert contents(tmp_path / "later" / "scan") == contents(tmp_path / "once" / "scan")


def test_dicom_objects_can_be_asked_for_later(model: Model, scan: Volume, tmp_path: Path) -> None:
    write_dicom_series(replace(scan, modality="MR"), tmp_path / "slices", description="T1")
    (first,) = run(model, [tmp_path / "slices"], tmp_path / "out")
    (second,) = run(model, [tmp_path / "slices"], tmp_path / "out", dicom_forms=("seg", "rtstruct"))
    assert [path.name for path in second.written] == ["labels_rtstruct.dcm", "labels_seg.dcm", "run.json"]
    (third,) = run(model, [tmp_path / "slices"], tmp_path / "out", dicom_forms=("fractional",))
    assert third.error is None
    image, expected = volseg.read(tmp_path / "slices"), volseg.read_labels(first.files[0])
    for form in ("seg", "rtstruct", "fractional"):
        labels = volseg.read_labels(first.files[0].with_name(f"labels_{form}.dcm"), image=image)
        np.testing.assert_array_equal(labels.array, expected.array)
    truncate(first.files[0].with_name("labels_seg.dcm"))
    (fourth,) = run(model, [tmp_path / "slices"], tmp_path / "out")
    assert [path.name for path in fourth.written] == ["labels_seg.dcm", "run.json"]


@pytest.mark.parametrize("moment", ["read", "predict"])
@pytest.mark.parametrize("finished", [False, True])
def test_a_scan_that_is_replaced_while_it_is_segmented_fails_and_nothing_is_written(
    model: Model, scan: Volume, tmp_path: Path, moment: str, finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.nii.gz"
    volseg.write(scan, path)
    if finished:
        run(model, [path], tmp_path / "out")
    before = contents(tmp_path / "out")
    from volseg.cases import case_run
    from volseg.io.scan_files import ScanFiles

    def replaced(usual: Callable[..., Any]) -> Callable[..., Any]:
        def working(*arguments: Any, **options: Any) -> Any:
            result = usual(*arguments, **options)
            state = path.stat()
            volseg.write(scan.with_array(scan.array[::-1]), path)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
            return result

        return working

    if moment == "read":
        monkeypatch.setattr(ScanFiles, "read", replaced(ScanFiles.read))
    else:
        monkeypatch.setattr(case_run, "predict_scan", replaced(case_run.predict_scan))
    (failed,) = run(model, [path], tmp_path / "out", overwrite=True)
    assert "scan.nii.gz: scan.nii.gz was changed while it was segmented; no output is written" in str(failed.error)
    (tmp_path / "out" / "failures.json").unlink()
    assert contents(tmp_path / "out") == before
    monkeypatch.undo()
    (again,) = run(model, [path], tmp_path / "out", overwrite=True)
    assert again.error is None
    np.testing.assert_array_equal(volseg.read_labels(again.files[0]).array, np.where(scan.array[::-1] > 100, 5, 0))


def test_another_model_does_not_pass_for_finished(model: Model, case: Path) -> None:
    scan = case.parents[1] / "scan.nii.gz"
    whole = contents(case)
    (refused,) = run(threshold_model(low=-150), [scan], case.parent)
    assert "is there, but differs in model; add --overwrite" in str(refused.error)
    assert contents(case) == whole
    (redone,) = run(threshold_model(low=-150), [scan], case.parent, refresh=True)
    assert redone.error is None
    assert set(contents(case)) == {"labels.nii.gz", "labels.tsv"}


def test_a_big_file_is_only_read_where_its_time_has_changed(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from volseg.io import case_record

    record = case_record.read_record(case)
    assert record is not None
    monkeypatch.setattr(case_record, "_ALWAYS_READ", 0)
    flip_a_bit(case / "probabilities.nii.gz")  # and keeps its time
    assert "probabilities.nii.gz" in record.whole_files(case)
    os.utime(case / "probabilities.nii.gz")
    assert "probabilities.nii.gz" not in record.whole_files(case)
    os.utime(case / "labels.nii.gz")
    assert "labels.nii.gz" in record.whole_files(case)


def test_a_grid_of_another_kind_is_the_same_case_again(model: Model, tmp_path: Path) -> None:
    """A header pair and a detached header: what changes is the file of the voxels."""
    grid = Grid.from_spacing((20, 24, 10), (0.8, 0.9, 3))
    volume = bright_box(grid)
    volseg.write(volume, tmp_path / "a.mha")
    data = (tmp_path / "a.mha").read_bytes()
    end = data.index(b"ElementDataFile")
    (tmp_path / "a.mhd").write_bytes(data[:end] + b"ElementDataFile = voxels.zraw\n")
    (tmp_path / "voxels.zraw").write_bytes(data[data.index(b"\n", end) + 1 :])
    (first,) = run(model, [tmp_path / "a.mhd"], tmp_path / "out")
    assert first.error is None
    assert run(model, [tmp_path / "a.mhd"], tmp_path / "out")[0].skipped
    volseg.write(volume.with_array(volume.array[::-1]), tmp_path / "b.mha")
    data = (tmp_path / "b.mha").read_bytes()
    (tmp_path / "voxels.zraw").write_bytes(data[data.index(b"\n", data.index(b"ElementDataFile")) + 1 :])
    (second,) = run(model, [tmp_path / "a.mhd"], tmp_path / "out")
    assert "differs in scan files" in str(second.error)


def test_a_plan_says_what_there_is_to_do_and_writes_nothing(model: Model, scan: Volume, tmp_path: Path) -> None:
    for name in "ab":
        volseg.write(scan.with_array(scan.array + ord(name)), tmp_path / f"{name}.nii.gz")
    write_dicom_series(replace(scan, modality="CT"), tmp_path / "c", description="c")
    inputs = [str(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz", "c")]
    cases, out = collect_cases(inputs, channels=1), tmp_path / "out"
    run(model, [tmp_path / "a.nii.gz"], out)
    volseg.write(scan, tmp_path / "a.nii.gz")
    run(model, [tmp_path / "b.nii.gz"], out)
    before = contents(out)
    plans = [plan_case(make_job(model, out), case) for case in cases]
    assert [plan.state for plan in plans] == ["refused", "finished", "to do"]
    assert "a: is there, but differs in scan files" in plans[0].refusal
    meshes = [plan_case(make_job(model, out, settings=OutputSettings(mesh_formats=("stl",))), case) for case in cases]
    assert [plan.state for plan in meshes] == ["refused", "to do", "to do"]
    objects = make_job(model, out, settings=OutputSettings(dicom_forms=("seg",), overwrite=True))
    assert ["is no DICOM scan" in plan_case(objects, case).refusal for case in cases] == [True, True, False]
    assert plan_case(make_job(model, tmp_path / "nowhere"), cases[2]).state == "to do"
    assert contents(out) == before
    assert not (tmp_path / "nowhere").exists()


def test_a_shard_is_a_slice_of_plans(model: Model, scan: Volume, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        volseg.write(scan, tmp_path / name)
    write_dicom_series(replace(scan, modality="CT"), tmp_path / "d", description="d")
    inputs = [str(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz", "d")]
    job = make_job(model, tmp_path / "out", settings=OutputSettings(mesh_formats=("stl",)))
    plans = [plan_case(job, case) for case in collect_cases(inputs, channels=1)]
    for shard in (plans[::2], plans[1::2]):
        for plan in pickle.loads(pickle.dumps(shard)):  # noqa: S301 (our own)
            assert plan.state == "to do"
            assert run_case(job, plan).written
    found = sorted(path.name for path in job.output.iterdir())
    assert found[:3] == ["a", "b", "c"]
    assert len(found) == 4
    assert [run_case(job, plan).skipped for plan in plans] == [True] * 4  # they are old by now
