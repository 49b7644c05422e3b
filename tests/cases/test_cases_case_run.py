"""The stages of one case: outputs on disk. The model here is a threshold, so that what must come out is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import pyvista as pv
import torch
from threshold_model import BRIGHT, Threshold, run
from torch import Tensor

import volseg
from volseg.cases import case_run
from volseg.config import CleanupConfig
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.volume import Volume
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.images.nifti import write_nifti
from volseg.io.mesh.reading import read_meshes
from volseg.network.description import CleanupDecision
from volseg.network.doubt_fit import DiceFit, DoubtFit, SurfaceFit, VolumeFit
from volseg.network.file import Model


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
    assert mesh.volume_mm3 == pytest.approx(expected_mm3, rel=0.01)  # thick slices: moved by 0.2 pixels at most


def test_cleanup_is_the_models_unless_given(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    cleanup = {"bright": CleanupConfig(largest_component=True)}
    run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out", cleanup=cleanup)
    labels = volseg.read_labels(tmp_path / "out" / "scan" / "labels.nii.gz")
    assert labels.array[1, 1, 1] == 0
    assert np.count_nonzero(labels.array) == np.count_nonzero(scan.array > 100) - 1


def test_a_decided_cleanup_is_applied_and_told_unless_settings_say_otherwise(
    model: Model, scan: Volume, tmp_path: Path
) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    decided = {"bright": CleanupDecision(True, 0.0, False, cases=7, dice_before=0.8, dice_after=0.9)}
    cleaning, off = replace(model, cleanup=decided), {"*": CleanupConfig(largest_component=False)}
    step = {"largest_component": True, "minimum_mm3": 0.0, "fill_holes": False}

    def run_json(used: Model, name: str, **settings: object) -> dict[str, Any]:
        run(used, [str(tmp_path / "scan.nii.gz")], tmp_path / name, **settings)
        there = bool(volseg.read_labels(tmp_path / name / "scan" / "labels.nii.gz").array[1, 1, 1])
        content = json.loads((tmp_path / name / "scan" / "run.json").read_text(encoding="utf-8"))
        return {"speck": there, "made_by": content["made_by"]["cleanup"], **content["cleanup"]}

    evidence = {"held_out_cases": 7, "dice_before": 0.8, "dice_after": 0.9}
    told = {**step, "decided_by": "held-out cases", **evidence}
    assert run_json(cleaning, "decided") == {"speck": False, "made_by": {"bright": step}, "bright": told}
    step = {**step, "largest_component": False}
    told = {**step, "decided_by": "settings"}
    assert run_json(cleaning, "off", cleanup=off) == {"speck": True, "made_by": {"bright": step}, "bright": told}
    assert run_json(model, "none") == {"speck": True, "made_by": {}}
    nothing = {"bright": CleanupDecision(False, 0.0, False, cases=3, dice_before=0.8, dice_after=0.8)}
    told = {**step, "decided_by": "held-out cases", **evidence, "held_out_cases": 3, "dice_after": 0.8}
    assert run_json(replace(model, cleanup=nothing), "few") == {"speck": True, "made_by": {}, "bright": told}


def test_how_far_labels_are_in_doubt_is_recorded(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    fit = DoubtFit(30, (0.0,), dice=DiceFit(0.8, 0.9, 0.1, 0.05), volumes={"bright": VolumeFit(30, 0.5, 2.0)})
    fitted = replace(model, doubt=fit)

    def doubt_of(used: Model, name: str, **settings: object) -> dict[str, Any]:
        (result,) = run(used, [str(tmp_path / "scan.nii.gz")], tmp_path / name, **settings)
        content = json.loads((tmp_path / name / "scan" / "run.json").read_text(encoding="utf-8"))
        assert result.doubt is not None
        assert content["doubt"] == result.doubt.to_json()
        told: dict[str, Any] = content["doubt"]
        volume = told["labels"]["bright"]["volume_ml"]
        assert volume == content["volumes_ml"]["bright"]
        labels = volseg.read_labels(tmp_path / name / "scan" / "labels.nii.gz").array
        assert {one["index"] for one in told["slices"]} == set(np.flatnonzero(labels.any(axis=(0, 1))))
        return told

    found = doubt_of(fitted, "fitted")
    assert (found["expected_dice"], found["interval"], found["held_out_cases"]) == (0.9, [0.8, 0.95], 30)
    volume = found["labels"]["bright"]["volume_ml"]
    assert found["labels"]["bright"]["interval_ml"] == pytest.approx([volume / 2, 2 * volume], abs=1e-4)
    nothing = doubt_of(model, "older")
    assert (nothing["expected_dice"], nothing["percentile"]) == (None, None)
    assert nothing["reasons"][-1] == "the model knows no held-out cases to compare with"
    # Of another clean-up than that of the held-out cases nothing is known.
    largest = {"bright": CleanupConfig(largest_component=True)}
    changed = doubt_of(fitted, "changed", cleanup=largest)
    assert (changed["expected_dice"], changed["interval"], changed["percentile"]) == (None, None, 100)
    assert changed["labels"]["bright"]["interval_ml"] is None
    assert changed["reasons"][-2:] == [
        "no expected Dice: held-out cases had another clean-up of bright",
        "no interval of the volume of bright: held-out cases had another clean-up",
    ]
    decided = {"bright": CleanupDecision(True, 0.0, False, cases=30, dice_before=0.8, dice_after=0.9)}
    cleaned = doubt_of(replace(fitted, cleanup=decided), "cleaned")
    assert cleaned["labels"]["bright"]["interval_ml"] is not None
    assert len(cleaned["slices"]) < len(found["slices"])  # without the speck


def test_doubt_is_written_for_each_voxel_where_it_is_asked_for(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out")
    assert not (tmp_path / "out" / "scan" / "doubt.nii.gz").exists()
    run(model, [str(tmp_path / "scan.nii.gz")], tmp_path / "out", doubt=True)
    found = volseg.read(tmp_path / "out" / "scan" / "doubt.nii.gz")
    assert found.grid.is_close(scan.grid)
    assert found.array.max() < 0.01  # a threshold is sure
    assert not (tmp_path / "out" / "scan" / "probabilities.nii.gz").exists()


def test_surfaces_say_how_far_they_may_be_off(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    told = {}
    for factor in (1.0, 3.0, None):
        fitted = replace(model, doubt=DoubtFit(30, (0.0,), surface=SurfaceFit(40, factor)))
        out = tmp_path / str(factor)
        (result,) = run(fitted, [str(tmp_path / "scan.nii.gz")], out, doubt=True, mesh_formats=("vtp", "stl"))
        assert result.doubt is not None
        told[factor] = result.doubt.labels["bright"].surface_sd_mm
        written = pv.read(out / "scan" / "meshes" / "bright.vtp").point_data
        assert ("sd_mm" in written) == (factor is not None)
        if factor is not None:
            expected = np.percentile(written["sd_mm"], [50, 95])
            assert told[factor] == pytest.approx(expected, rel=1e-4)
            content = json.loads((out / "scan" / "run.json").read_text(encoding="utf-8"))["doubt"]["labels"]["bright"]
            assert content["surface_sd_mm"] == pytest.approx(expected, abs=1e-4)
    assert told[None] is None
    assert told[1.0] is not None
    assert told[3.0] == pytest.approx([3 * mm for mm in told[1.0]])
    below = replace(model, doubt=DoubtFit(30, (1.0,) * 2, surface=SurfaceFit(40, 1.0)))
    (result,) = run(below, [str(tmp_path / "scan.nii.gz")], tmp_path / "below", doubt=True, mesh_formats=("vtp",))
    assert result.doubt is not None
    assert (result.doubt.percentile, result.doubt.labels["bright"].surface_sd_mm) == (0, None)
    (result,) = run(fitted, [str(tmp_path / "scan.nii.gz")], tmp_path / "unasked", mesh_formats=("vtp",))
    assert result.doubt is not None
    assert result.doubt.labels["bright"].surface_sd_mm is None


def test_surfaces_that_are_added_say_it_too(model: Model, scan: Volume, tmp_path: Path) -> None:
    volseg.write(scan, tmp_path / "scan.nii.gz")
    fitted = replace(model, doubt=DoubtFit(30, (0.0,), surface=SurfaceFit(40, 1.0)))
    out = tmp_path / "out"
    for settings in ({"doubt": True}, {"mesh_formats": ("vtp",)}, {"mesh_formats": ("vtp", "stl")}):
        run(fitted, [str(tmp_path / "scan.nii.gz")], out, **settings)
    assert "sd_mm" in pv.read(out / "scan" / "meshes" / "bright.vtp").point_data
    content = json.loads((out / "scan" / "run.json").read_text(encoding="utf-8"))
    assert content["doubt"]["labels"]["bright"]["surface_sd_mm"] is not None


def test_single_slice_is_segmented(model: Model, tmp_path: Path) -> None:
    array = np.full((12, 10, 1), 20, np.int16)
    array[3:7, 2:8] = 180
    volseg.write(Volume(array, Grid.from_spacing(array.shape, (0.8, 0.9, 5))), tmp_path / "slice.nii.gz")
    (result,) = run(model, [str(tmp_path / "slice.nii.gz")], tmp_path / "out")
    np.testing.assert_array_equal(volseg.read_labels(result.files[0]).array == 5, array == 180)


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


def test_dicom_objects_lie_on_the_scans_slices(model: Model, scan: Volume, tmp_path: Path) -> None:
    write_dicom_series(scan, tmp_path / "slices", description="T1")
    forms = ("seg", "labelmap", "rtstruct", "fractional")
    (result,) = run(model, [str(tmp_path / "slices")], tmp_path / "out", dicom_forms=forms)
    assert result.error is None
    case, image = result.files[0].parent, volseg.read(tmp_path / "slices")
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


def test_a_scan_that_no_object_can_name_is_refused_before_it_is_predicted(
    model: Model, scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in write_dicom_series(scan, tmp_path / "slices"):
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    predicted: list[Model] = []
    monkeypatch.setattr(case_run, "predict_scan", lambda model, *_, **__: predicted.append(model))
    for form in ("seg", "rtstruct"):
        (result,) = run(model, [str(tmp_path / "slices")], tmp_path / "out", dicom_forms=(form,))
        assert "has no FrameOfReferenceUID" in str(result.error)
    assert predicted == []


def test_a_tilted_series_is_segmented_and_results_return_onto_its_slices(
    model: Model, scan: Volume, tmp_path: Path
) -> None:
    for k, path in enumerate(write_dicom_series(scan, tmp_path / "slices", description="tilted")):
        dataset = pydicom.dcmread(path)
        # Each slice lies 1.5 mm further along its columns: the stack leans, the slices do not change.
        step = 1.5 * k * np.array(dataset.ImageOrientationPatient[3:], dtype=float)
        dataset.ImagePositionPatient = [f"{x:.8f}" for x in np.array(dataset.ImagePositionPatient, dtype=float) + step]
        dataset.save_as(path)
    (refused,) = run(model, [str(tmp_path / "slices")], tmp_path / "strict", strict=True)
    assert "the stack is tilted by 26.6 degrees; refused, as repairs are switched off (--strict)" in str(refused.error)
    (result,) = run(model, [str(tmp_path / "slices")], tmp_path / "out", dicom_forms=("labelmap",))
    assert result.error is None
    image = volseg.read(tmp_path / "slices")
    segmentation = pydicom.dcmread(result.files[0].with_name("labels_labelmap.dcm"))
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
