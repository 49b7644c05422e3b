"""The scores of the held-out cases, and their calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from toy_dataset import LABELS

from volseg.config import CleanupConfig, parse_config
from volseg.core.labelmap import LabelMap
from volseg.datasets import Case, read_dataset, read_images
from volseg.io import read, read_labels, write
from volseg.network.doubt_fit import SurfaceFit
from volseg.network.file import Model
from volseg.prediction.answers import SOFTENING, Answers
from volseg.prediction.calibration import calibration_error, fit_temperature, soften
from volseg.prediction.inference import answer_scan, predict
from volseg.training import validation
from volseg.training.cleanup_choice import CleanupTrial
from volseg.training.validation import Calibration, Voxels, fit_calibration, validate


def drawn(temperature: float, *, seed: int = 0, count: int = 4000) -> Voxels:
    """Voxels of one case with probabilities sharpened by a temperature."""
    random = np.random.default_rng(seed)
    true = random.dirichlet([1.0] * 3, count).T
    classes = (random.random(count) > true.cumsum(axis=0)).sum(axis=0)
    return soften(true, 1 / temperature).astype(np.float16), classes


def test_the_temperature_is_that_of_all_cases() -> None:
    cases = [drawn(1.8, seed=seed) for seed in range(4)]
    found = fit_calibration(cases)
    everything = np.concatenate([p for p, _ in cases], axis=1), np.concatenate([c for _, c in cases])
    assert found.temperature == fit_temperature(*everything) == pytest.approx(1.8, rel=0.1)
    assert found.before == calibration_error(*everything)
    assert found.after < 0.03 < found.before


def test_each_half_of_the_cases_is_softened_by_the_temperature_of_the_other() -> None:
    """If the halves differ, the error after softening shows it: neither is measured on the voxels it was fitted to."""
    even, odd = drawn(3.0, seed=0), drawn(0.5, seed=1)
    found = fit_calibration([even, odd])
    temperatures = [fit_temperature(*even), fit_temperature(*odd)]
    softened = np.concatenate([soften(even[0], temperatures[1]), soften(odd[0], temperatures[0])], axis=1)
    assert found.after == pytest.approx(calibration_error(softened, np.concatenate([even[1], odd[1]])), abs=1e-6)
    assert found.after > found.before


def test_a_single_case_is_calibrated_by_itself() -> None:
    probabilities, classes = drawn(2.0)
    found = fit_calibration([(probabilities, classes)])
    temperature = fit_temperature(probabilities, classes)
    assert found.temperature == temperature
    expected = calibration_error(soften(probabilities, temperature), classes)
    assert found.after == pytest.approx(expected, abs=1e-6)


def test_cases_that_tell_nothing_change_nothing() -> None:
    nothing = np.zeros((3, 0), dtype=np.float16), np.zeros(0, dtype=np.int64)
    case = drawn(2.0)
    assert fit_calibration([nothing, case]).temperature == fit_calibration([case]).temperature


class Bright(nn.Module):
    """Stands in for a network: sure of dark voxels, unsure of bright ones."""

    def forward(self, x: Tensor) -> Tensor:
        dark, bright = (
            SOFTENING * torch.tensor(p).log()[None, :, None, None] for p in ((0.998, 0.001, 0.001), (0.3, 0.6, 0.1))
        )
        return torch.where(x[:, :1] > 50, bright, dark)


def bright_model(*planes: str, **cleanup: CleanupConfig) -> Model:
    as_it_is = {"kind": "window", "low": -1000, "high": 1000, "mean": 0, "std": 1}
    used = planes or ("axial",)
    preparation = {"planes": used, "spacing_mm": [1, 1, 3], "normalisation": [as_it_is], "neighbours": 0}
    config = parse_config({"preparation": preparation, "cleanup": cleanup})
    return Model(config, LABELS, ("MR",), {f"{plane}.0": Bright() for plane in used})  # type: ignore[misc]


def is_bright(case: Case) -> NDArray[np.bool_]:
    return np.asarray(read(case.images[0]).array > 50)


def voxels_to_calibrate_with(cases: Sequence[Case], monkeypatch: pytest.MonkeyPatch) -> list[Voxels]:
    seen: list[Voxels] = []

    def watched(voxels: Sequence[Voxels], heed: Callable[[], None]) -> Calibration:
        seen.extend(voxels)
        return fit_calibration(voxels, heed)

    monkeypatch.setattr(validation, "fit_calibration", watched)
    assert validate(bright_model(), cases, device="cpu", fit=True).calibration is not None
    return seen


def test_only_who_asks_for_a_calibration_gets_one(dataset_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_dataset(dataset_folder).cases[:2]
    asked: list[bool] = []

    def watched(*arguments: Any, probabilities: bool, **settings: Any) -> Answers:
        asked.append(probabilities)
        return answer_scan(*arguments, probabilities=probabilities, **settings)

    monkeypatch.setattr(validation, "answer_scan", watched)
    plain = validate(bright_model(), cases, device="cpu")
    assert plain.calibration is None
    assert asked == [False, False]  # parts that are not needed are not kept
    calibrated = validate(bright_model(), cases, device="cpu", fit=True)
    assert asked[2:] == [True, True]
    assert calibrated.calibration is not None
    assert (calibrated.mean, calibrated.per_label, calibrated.by_case) == (plain.mean, plain.per_label, plain.by_case)
    assert plain.per_label["bar"] == 0


def add_specks(cases: Sequence[Case]) -> None:
    """Make a few voxels bright that are no ball."""
    for case in cases:
        scan = read(case.images[0])
        array = scan.array.copy()
        array[22, 1:19:2, 0] = 100
        write(scan.with_array(array), case.images[0])


def test_clean_up_is_decided_where_it_is_asked_for(dataset_folder: Path) -> None:
    cases = read_dataset(dataset_folder).cases
    add_specks(cases)
    plain, fitted = (validate(bright_model(), cases, device="cpu", fit=fit) for fit in (False, True))
    assert plain.cleanup is None
    assert fitted.cleanup is not None
    assert (fitted.mean, fitted.per_label, fitted.by_case) == (plain.mean, plain.per_label, plain.by_case)
    ball, bar = fitted.cleanup.decided["ball"], fitted.cleanup.decided["bar"]
    assert ball.settings == CleanupConfig(largest_component=True)
    assert bar.settings == CleanupConfig()
    assert (ball.cases, bar.cases, bar.dice_before, bar.dice_after) == (6, 6, 0, 0)
    assert ball.dice_before == pytest.approx(fitted.per_label["ball"], abs=1e-6)
    assert ball.dice_after == pytest.approx(1, abs=1e-6)  # five others decide the same for each
    assert fitted.cleanup.per_label == {"ball": pytest.approx(1), "bar": 0}
    assert fitted.cleanup.mean == pytest.approx(0.5)


def test_clean_up_that_is_set_is_not_decided(dataset_folder: Path) -> None:
    cases = read_dataset(dataset_folder).cases
    add_specks(cases)
    found = validate(bright_model(ball=CleanupConfig(largest_component=False)), cases, device="cpu", fit=True)
    assert found.cleanup is not None
    assert set(found.cleanup.decided) == {"bar"}
    assert found.cleanup.per_label["ball"] == found.per_label["ball"]
    largest = CleanupConfig(largest_component=True)
    found = validate(bright_model(ball=largest, bar=largest), cases, device="cpu", fit=True)
    assert found.cleanup is not None
    assert found.cleanup.decided == {}
    assert found.cleanup.per_label["ball"] == pytest.approx(1)  # as `predict` cleans it


@pytest.mark.parametrize("temperature", [None, 0.7])
def test_doubt_is_fitted_on_what_users_get(temperature: float | None, dataset_folder: Path) -> None:
    """With the temperature that is only known in the end, and the clean-up that the others decide."""
    cases = read_dataset(dataset_folder).cases
    add_specks(cases)
    model = bright_model("axial", "coronal")
    training = model.config.training.model_copy(update={"temperature": temperature})
    model = replace(model, config=model.config.model_copy(update={"training": training}))
    assert validate(model, cases[:2], device="cpu").doubt is None
    found = validate(model, cases, device="cpu", fit=True)
    assert found.doubt is not None
    assert found.calibration is not None
    calibrated = replace(model, temperature=temperature or found.calibration.temperature)
    scores = []
    for case in cases:
        doubt = predict(calibrated, read_images(case), device="cpu").doubt
        assert doubt is not None
        scores.append(doubt.soft_dice)
    assert found.doubt.soft_dice == pytest.approx(sorted(scores), abs=3e-3)  # type: ignore[type-var]
    assert found.doubt.plane_agreement == (1.0,) * 6
    assert (found.doubt.cases, found.doubt.dice) == (6, None)
    assert {name: volume.cases for name, volume in found.doubt.volumes.items()} == {"ball": 6, "bar": 0}
    assert found.doubt.surface == SurfaceFit(6)  # too few for a factor


def test_the_time_to_decide_is_kept_free(dataset_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_dataset(dataset_folder).cases
    monkeypatch.setattr(CleanupTrial, "seconds", property(lambda _: 1000.0, lambda *_: None), raising=False)
    assert validate(bright_model(), cases, device="cpu", fit=True, allowance_seconds=900).cases == 2
    assert validate(bright_model(), cases, device="cpu", allowance_seconds=900).cases == 6


def test_without_a_labelled_voxel_there_is_no_score_and_no_calibration(dataset_folder: Path) -> None:
    case = read_dataset(dataset_folder).cases[0]
    reference, scan = read_labels(case.label or ""), read(case.images[0])
    write(LabelMap(0 * reference.array, reference.grid, reference.labels), case.label or "")
    found = validate(bright_model(), [case], device="cpu", fit=True)
    assert (found.mean, found.calibration) == (0.0, None)  # the result there is wrong
    write(scan.with_array(0 * scan.array), case.images[0])
    found = validate(bright_model(), [case], device="cpu", fit=True)
    assert (found.mean, found.by_case, found.calibration) == (None, {case.name: None}, None)


def test_scans_whose_probabilities_are_too_large_are_scored_as_they_are_predicted(
    dataset_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cases, model = read_dataset(dataset_folder).cases[:2], bright_model("axial", "coronal")
    dull = Bright()
    dull.forward = lambda x: 0 * Bright.forward(dull, x)  # type: ignore[method-assign]
    model.networks["coronal.0"] = dull  # type: ignore[index]
    fused = validate(model, cases, device="cpu", fit=True)
    assert fused.calibration is not None
    for room in ("training.validation", "prediction.answers"):
        monkeypatch.setattr(f"volseg.{room}.can_hold", lambda _model, _shape: False)
    found = validate(model, cases, device="cpu", fit=True)
    assert found.calibration is None
    assert "those of the held-out scans would take too much memory" in caplog.text
    assert found.by_case == validate(model, cases, device="cpu").by_case


def test_voxels_are_chosen_by_the_prediction_whatever_the_reference_says(
    dataset_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = read_dataset(dataset_folder).cases[:2]
    chosen = [np.count_nonzero(is_bright(case)) for case in cases]
    assert [classes.tolist() for _, classes in voxels_to_calibrate_with(cases, monkeypatch)] == [
        [1] * n for n in chosen
    ]
    for case in cases:
        reference = read_labels(case.label)  # type: ignore[arg-type]
        write(LabelMap(reference.array[::-1], reference.grid, reference.labels), case.label)  # type: ignore[arg-type]
    for case, (probabilities, classes) in zip(cases, voxels_to_calibrate_with(cases, monkeypatch), strict=True):
        turned = read_labels(case.label).array  # type: ignore[arg-type]
        # Most labelled voxels are dark now: the network is sure that there is nothing, and is not asked.
        assert np.count_nonzero(turned[~is_bright(case)]) > np.count_nonzero(turned[is_bright(case)])
        expected = np.select([turned == label.value for label in LABELS], [1, 2])[is_bright(case)]
        np.testing.assert_array_equal(classes, expected)
        assert {0, 2} <= set(classes.tolist())
        np.testing.assert_allclose(probabilities, np.tile([[0.3], [0.6], [0.1]], len(classes)), atol=1e-3)


def test_cases_share_the_voxels_to_calibrate_with(dataset_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_dataset(dataset_folder).cases
    monkeypatch.setattr(validation, "_VOXELS", 6 * 20 + 5)
    counts = [len(classes) for _, classes in voxels_to_calibrate_with(cases, monkeypatch)]
    assert all(10 < count <= 20 for count in counts)
    monkeypatch.setattr(validation, "_VOXELS", 1)
    assert [len(classes) for _, classes in voxels_to_calibrate_with(cases, monkeypatch)] == [1] * 6
