"""Scans and a model to outputs on disk. The model here is a threshold, so that what must come out is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from torch import Tensor, nn

import volseg
from volseg.config import CleanupConfig, parse_config
from volseg.errors import InputError, UsageError
from volseg.geometry import Grid
from volseg.io.dicom_write import write_dicom_series
from volseg.io.inputs import collect_cases
from volseg.io.mesh_reading import read_meshes
from volseg.io.nifti import write_nifti
from volseg.labelmap import Label
from volseg.model.file import Model
from volseg.pipeline import OutputSettings, process_cases
from volseg.volume import Volume

BRIGHT = Label(5, "bright", (200, 50, 50))


class Threshold(nn.Module):
    """Logits that say `bright` where the middle slice is above 0 after normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        value = x[:, x.shape[1] // 2] * 20
        return torch.stack([-value, value], dim=1)


@pytest.fixture
def model() -> Model:
    window = {"kind": "window", "low": 0, "high": 200, "mean": 100, "std": 50}
    config = parse_config(
        {"preparation": {"planes": ["axial"], "spacing_mm": [0.8, 0.9, 3], "normalisation": [window], "neighbours": 0}}
    )
    return Model(config, (BRIGHT,), ("CT",), {"axial.0": Threshold()}, fingerprint="f", sha256="s")  # type: ignore[dict-item]


@pytest.fixture
def scan(oblique_grid: Grid) -> Volume:
    index = np.indices(oblique_grid.shape)
    array = np.where((index[0] > 4) & (index[0] < 15) & (index[1] > 8) & (index[2] > 2), 180, 20).astype(np.int16)
    array[1, 1, 1] = 180  # a speck
    return Volume(array, oblique_grid)


def run(model: Model, inputs: list[str], output: Path, **settings: object) -> list[volseg.pipeline.CaseResult]:  # type: ignore[name-defined]
    cases = collect_cases(inputs, channels=len(model.channel_names))
    return list(process_cases(model, cases, output, settings=OutputSettings(**settings)))  # type: ignore[arg-type]


def test_outputs_lie_on_the_scans_own_grid(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    (result,) = run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out", probabilities=True, mesh_formats=("stl",))
    assert result.error is None
    case = tmp_path / "out" / "scan"
    labels = volseg.read_labels(case / "labels.nii.gz")
    assert labels.grid.is_close(scan.grid)
    np.testing.assert_array_equal(labels.array, np.where(scan.array > 100, 5, 0))
    assert [(label.value, label.name) for label in labels.labels] == [(5, "bright")]
    (probability,) = volseg.read_all(case / "probabilities.nii.gz").values()
    np.testing.assert_array_equal(probability.array > 0.5, labels.array == 5)
    assert (case / "meshes" / "bright.stl").is_file()
    content = json.loads((case / "run.json").read_text(encoding="utf-8"))
    assert content["format"] == 1
    assert set(content["files"]) == {str(f.relative_to(case).as_posix()) for f in result.files}
    expected_ml = np.count_nonzero(scan.array > 100) * scan.grid.voxel_volume_mm3 / 1000
    assert content["volumes_ml"]["bright"] == pytest.approx(expected_ml, abs=1e-3)
    assert set(content["seconds"]) == {"read", "predict", "cleanup", "write", "mesh"}
    assert not list(case.rglob(".volseg-*"))


def test_probabilities_and_surfaces_follow_the_label_table_not_the_models_order(
    model: Model, scan: Volume, tmp_path: Path
) -> None:
    class Never(Threshold):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return torch.cat([logits, torch.full_like(logits[:, :1], -100.0)], dim=1)

    never = Label(2, "never", (0, 0, 200))
    unsorted = replace(model, labels=(BRIGHT, never), networks={"axial.0": Never()})  # type: ignore[dict-item]
    volseg.write(scan, tmp_path / "scan.nii.gz")
    run(unsorted, [str(tmp_path / "scan.nii.gz")], tmp_path / "out", probabilities=True, mesh_formats=("stl",))
    case = tmp_path / "out" / "scan"
    assert [label.name for label in volseg.read_labels(case / "labels.nii.gz").labels] == ["never", "bright"]
    nothing, bright = volseg.read_all(case / "probabilities.nii.gz").values()
    assert nothing.array.max() < 1e-3
    np.testing.assert_array_equal(bright.array > 0.5, scan.array > 100)
    (mesh,) = read_meshes(case / "meshes" / "bright.stl")
    expected_mm3 = bright.array.sum() * scan.grid.voxel_volume_mm3
    assert mesh.volume_mm3 == pytest.approx(expected_mm3, rel=5e-3)


def test_cleanup_is_the_models_unless_given(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    cleanup = {"bright": CleanupConfig(largest_component=True)}
    run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out", cleanup=cleanup)
    labels = volseg.read_labels(tmp_path / "out" / "scan" / "labels.nii.gz")
    assert labels.array[1, 1, 1] == 0
    assert np.count_nonzero(labels.array) == np.count_nonzero(scan.array > 100) - 1


def test_finished_cases_are_skipped_unless_they_differ(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    inputs = [str(tmp_path / "scan.nii.gz")]
    (first,) = run(model, inputs, tmp_path / "out")
    (second,) = run(model, inputs, tmp_path / "out")
    assert second.skipped
    assert second.files == first.files
    (other,) = run(model, inputs, tmp_path / "out", mesh_formats=("stl",))
    assert "is there, but mesh_formats differ; add --overwrite" in str(other.error)
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
    inputs, out = [str(tmp_path / "scan.nii.gz")], tmp_path / "out"
    run(model, inputs, out)
    monkeypatch.setattr("volseg.pipeline.INFERENCE", 1000)
    (other,) = run(model, inputs, out)
    assert "is there, but version of inference differ; add --overwrite" in str(other.error)


def test_surfaces_in_another_space_are_not_finished(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    inputs, out = [str(tmp_path / "scan.nii.gz")], tmp_path / "out"
    formats = ("stl", "obj", "vtm", "3mf")
    (first,) = run(model, inputs, out, mesh_formats=formats)
    assert {file.suffix for file in first.files} >= {".stl", ".obj", ".mtl", ".vtm", ".vtp", ".3mf"}
    run_json = out / "scan" / "run.json"
    content = json.loads(run_json.read_text(encoding="utf-8"))
    assert content["made_by"].pop("mesh_space") == "lps"
    run_json.write_text(json.dumps(content), encoding="utf-8")  # of before there was a choice
    assert run(model, inputs, out, mesh_formats=formats)[0].skipped
    (other,) = run(model, inputs, out, mesh_formats=formats, mesh_space="ras")
    assert "is there, but mesh_space differ; add --overwrite" in str(other.error)
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
    inputs = [str(tmp_path / "scan.nii.gz")]
    (first,) = run(model, inputs, tmp_path / "out")
    first.files[0].unlink()
    (second,) = run(model, inputs, tmp_path / "out")
    assert not second.skipped
    assert first.files[0].is_file()
    volseg.write(scan.with_array(scan.array + 1), tmp_path / "scan.nii.gz")
    (third,) = run(model, inputs, tmp_path / "out")
    assert "is there, but scan files differ" in str(third.error)


def test_an_unfinished_case_is_redone(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out")
    (tmp_path / "out" / "scan" / "run.json").unlink()
    (again,) = run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out")
    assert not again.skipped
    assert again.error is None


def test_same_name_from_another_folder_gets_its_own_outputs(model: Model, scan: Volume, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        volseg.write(scan, tmp_path / folder / "scan.nii.gz")
    run(model, [str(tmp_path / "a" / "scan.nii.gz")], tmp_path / "out")
    (second,) = run(model, [str(tmp_path / "b" / "scan.nii.gz")], tmp_path / "out")
    assert not second.skipped
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == "scan"
    assert len(names[1]) == len("scan-") + 8
    together = collect_cases([str(tmp_path / f / "scan.nii.gz") for f in "ab"], channels=1)
    assert len({case.name for case in together}) == 2


def test_one_bad_scan_does_not_stop_the_others(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes((tmp_path / "good.nii.gz").read_bytes()[:200])
    results = run(model, [str(tmp_path / name) for name in ("bad.nii.gz", "good.nii.gz")], tmp_path / "out")
    assert [result.error is None for result in results] == [False, True]
    assert not (tmp_path / "out" / "bad").exists()


def test_dicom_folder_is_named_by_its_series(model: Model, scan: Volume, tmp_path: Path) -> None:
    write_dicom_series(scan, tmp_path / "slices", description="T1 axial")
    (result,) = run(model, [str(tmp_path / "slices")], tmp_path / "out")
    assert result.error is None
    assert result.case.name == "T1_axial"
    labels = volseg.read_labels(result.files[0])
    source = volseg.read(tmp_path / "slices")
    assert labels.grid.is_close(source.grid)
    np.testing.assert_array_equal(labels.array == 5, source.array > 100)


def test_single_slice_is_segmented(model: Model, tmp_path: Path) -> None:
    array = np.full((12, 10, 1), 20, np.int16)
    array[3:7, 2:8] = 180
    volseg.write(Volume(array, Grid.from_spacing(array.shape, (0.8, 0.9, 5))), tmp_path / "slice.nii.gz")
    (result,) = run(model, [str(tmp_path / "slice.nii.gz")], tmp_path / "out")
    np.testing.assert_array_equal(volseg.read_labels(result.files[0]).array == 5, array == 180)


def test_inputs_are_grouped_into_cases(tmp_path: Path) -> None:
    for name in ("p1_0000", "p1_0001", "p2_0000", "p2_0001"):
        (tmp_path / f"{name}.nii.gz").touch()
    cases = collect_cases([str(tmp_path)], channels=2)
    assert [(case.name, [path.name for path in case.paths]) for case in cases] == [
        ("p1", ["p1_0000.nii.gz", "p1_0001.nii.gz"]),
        ("p2", ["p2_0000.nii.gz", "p2_0001.nii.gz"]),
    ]
    joined = f"{tmp_path / 'p2_0001.nii.gz'},{tmp_path / 'p1_0000.nii.gz'}"
    (case,) = collect_cases([joined], channels=2)
    assert [path.name for path in case.paths] == ["p2_0001.nii.gz", "p1_0000.nii.gz"]  # the order given, not sorted
    single = collect_cases([str(tmp_path)], channels=1)
    assert [case.name for case in single] == ["p1", "p1_0001", "p2", "p2_0001"]
    (tmp_path / "p2_0000.nii.gz").unlink()
    with pytest.raises(UsageError, match="p2: has channels 0001; expected 0000, 0001"):
        collect_cases([str(tmp_path)], channels=2)
    with pytest.raises(UsageError, match=r"p1_0000.nii.gz: given twice"):
        collect_cases([str(tmp_path / "p1_0000.nii.gz")] * 2, channels=2)


def test_channels_in_one_4d_image_are_predicted(model: Model, scan: Volume, tmp_path: Path) -> None:
    both = np.stack([scan.array, scan.array.max() - scan.array], axis=-1)
    write_nifti(both, scan.grid, tmp_path / "both.nii.gz")
    preparation = model.config.preparation
    doubled = preparation.model_copy(update={"normalisation": (preparation.normalisation or ()) * 2})
    two = replace(
        model, config=model.config.model_copy(update={"preparation": doubled}), channel_names=("first", "second")
    )
    (result,) = run(two, [str(tmp_path / "both.nii.gz")], tmp_path / "out")
    assert result.error is None
    # The network here looks at the last of its two input channels.
    np.testing.assert_array_equal(volseg.read_labels(result.files[0]).array == 5, scan.array <= 100)
    (wrong,) = run(model, [str(tmp_path / "both.nii.gz")], tmp_path / "wrong")
    assert "2 channels were given; the model was trained with 1" in str(wrong.error)


def test_two_series_of_a_folder_have_their_own_outputs(model: Model, scan: Volume, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_dicom_series(scan, tmp_path / "study" / name, description=name)
    for name in ("first", "second"):
        cases = collect_cases([str(tmp_path / "study")], channels=1, series=name)
        (result,) = process_cases(model, cases, tmp_path / "out")
        assert result.error is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first", "second"]


def test_another_modality_is_warned_of(
    model: Model, scan: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dicom_series(replace(scan, modality="MR"), tmp_path / "slices", description="T1")
    trained_on_ct = replace(model, modalities=("CT",))
    run(trained_on_ct, [str(tmp_path / "slices")], tmp_path / "out")
    assert "T1: is MR, the model's channel CT was trained on CT" in caplog.text


def test_finding_nothing_is_warned_of(
    model: Model, scan: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volseg.io.write(replace(scan, array=np.full_like(scan.array, 20)), tmp_path / "dark.nii.gz")
    run(model, [str(tmp_path / "dark.nii.gz")], tmp_path / "out")
    assert "dark: the model has found none of its labels (bright)" in caplog.text


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(InputError, match=r"nothing.nii.gz: no such file or folder"):
        collect_cases([str(tmp_path / "nothing.nii.gz")], channels=1)
    with pytest.raises(UsageError, match="2 channels, the model takes 3; join the channels"):
        collect_cases([f"{tmp_path / 'a.nii.gz'},{tmp_path / 'a.nii.gz'}"], channels=3)
    with pytest.raises(UsageError, match=r"a.nii.gz: given twice"):
        collect_cases([str(tmp_path / "a.nii.gz")] * 2, channels=1)


def test_dicom_objects_lie_on_the_scans_slices(model: Model, scan: Volume, tmp_path: Path) -> None:
    write_dicom_series(scan, tmp_path / "slices", description="T1")
    forms = ("seg", "labelmap", "rtstruct", "fractional")
    (result,) = run(model, [str(tmp_path / "slices")], tmp_path / "out", dicom_forms=forms)
    assert result.error is None
    case, image = tmp_path / "out" / "T1", volseg.read(tmp_path / "slices")
    assert not (case / "probabilities.nii.gz").exists()
    expected = volseg.read_labels(case / "labels.nii.gz")
    for form in forms:
        labels = volseg.read_labels(case / f"labels_{form}.dcm", image=image)
        assert labels.grid.is_close(image.grid)
        np.testing.assert_array_equal(labels.array, expected.array)
        assert [(label.value, label.name) for label in labels.labels] == [(5, "bright")]


def test_dicom_objects_need_a_dicom_scan(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    (result,) = run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out", dicom_forms=("seg",))
    assert "is no DICOM scan, so there are no files that a DICOM object could refer to" in str(result.error)
    assert not (tmp_path / "out" / "scan").exists()


def test_a_tilted_series_is_segmented_and_results_return_onto_its_slices(
    model: Model, scan: Volume, tmp_path: Path
) -> None:
    for k, path in enumerate(write_dicom_series(scan, tmp_path / "slices", description="tilted")):
        dataset = pydicom.dcmread(path)
        # Each slice 1.5 mm further along its columns: the stack leans, the slices stay as they are.
        step = 1.5 * k * np.array(dataset.ImageOrientationPatient[3:], dtype=float)
        dataset.ImagePositionPatient = [f"{x:.8f}" for x in np.array(dataset.ImagePositionPatient, dtype=float) + step]
        dataset.save_as(path)
    (refused,) = run(model, [str(tmp_path / "slices")], tmp_path / "strict", strict=True)
    assert "the stack is tilted by 26.6 degrees; refused, as repairs are switched off (--strict)" in str(refused.error)
    (result,) = run(model, [str(tmp_path / "slices")], tmp_path / "out", dicom_forms=("labelmap",))
    assert result.error is None
    image = volseg.read(tmp_path / "slices")
    segmentation = pydicom.dcmread(tmp_path / "out" / "tilted" / "labels_labelmap.dcm")
    by_source = {}
    for group, frame in zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        by_source[source] = frame
    assert len(by_source) == scan.grid.shape[2]
    for frame in image.source.frames:
        stored = pydicom.dcmread(frame.file.path)
        expected = np.where(stored.pixel_array * stored.RescaleSlope + stored.RescaleIntercept > 100, 5, 0)
        # Interpolation across the tilt moves an edge by at most half a pixel.
        inside = expected == by_source[frame.sop_instance_uid]
        assert inside.mean() > 0.95
