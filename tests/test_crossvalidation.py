"""Cross-validation on the toy dataset: through processes of its own, as users run it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

import volseg
from volseg.config import Config, load_config
from volseg.crossvalidation import compare_runs, iterate_crossvalidation
from volseg.errors import InputError, PartialError, UsageError, VolsegError
from volseg.io.datasets import read_dataset, split
from volseg.training.folds import FoldTrainer, is_trained
from volseg.training.journal import Event

TINY = ("network.width=4", "training.batch_size=4", "training.epochs=1", "training.validations=1")


def cross_validate(
    folder: Path, output: Path, *, folds: list[int] | None = None, config: Config | None = None, devices: str = "cpu"
) -> list[Event]:
    trainer = FoldTrainer([str(folder)], output, devices.split(","))
    return list(iterate_crossvalidation(read_dataset(folder), trainer, config=config, folds=folds))


def test_folds_are_trained_continued_and_summed_up(dataset_folder: Path, tmp_path: Path) -> None:
    output, dataset = tmp_path / "cv", read_dataset(dataset_folder)
    first = cross_validate(dataset_folder, output, folds=[0, 2], config=load_config(overrides=TINY), devices="cpu,cpu")
    summary = first[-1]
    assert summary["missing_folds"] == [1, 3, 4]
    held_out = {fold: {case.name for case in split(dataset, fold)[1]} for fold in (0, 2, 4)}
    assert {(row["case"], row["fold"]) for row in summary["rows"]} == {(c, f) for f in (0, 2) for c in held_out[f]}
    assert json.loads((output / "crossval.json").read_text(encoding="utf-8"))["rows"] == summary["rows"]
    stamps = {fold: (output / f"fold_{fold}" / "model.safetensors").stat().st_mtime_ns for fold in (0, 2)}

    # Without settings the plan that is there is gone on with, and what is finished stays as it is.
    summary = cross_validate(dataset_folder, output, folds=[4])[-1]
    assert summary["missing_folds"] == [1, 3]
    assert {fold: (output / f"fold_{fold}" / "model.safetensors").stat().st_mtime_ns for fold in stamps} == stamps
    cases = set.union(*held_out.values())
    assert len(summary["rows"]) == 2 * len(cases)
    assert {path.name for path in (output / "predictions").iterdir()} == cases
    # The figures are those of the files: each case by the model of its own fold.
    row = next(row for row in summary["rows"] if row["fold"] == 4)
    case = next(case for case in dataset.cases if case.name == row["case"])
    model = volseg.load_model(output / "fold_4")
    predicted, reference = volseg.predict(model, volseg.read(case.images[0])).labels, volseg.read_labels(case.label)  # type: ignore[arg-type]
    (label,) = (label for label in reference.labels if label.name == row["label"])
    ours, theirs = predicted.mask(label), reference.mask(label)
    assert row["dice"] == pytest.approx(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()), abs=1e-6)
    assert row["reference_volume_ml"] == pytest.approx(theirs.sum() * 0.003, abs=1e-6)

    ensemble = volseg.load_model(output / "ensemble.safetensors")
    assert sorted(ensemble.networks) == ["axial.0", "axial.2", "axial.4"]
    temperatures = [volseg.load_model(output / f"fold_{fold}").temperature for fold in (0, 2, 4)]
    assert ensemble.temperature == pytest.approx(np.mean(temperatures))


def test_a_fold_that_fails_is_named_and_the_others_count(dataset_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "cv"
    cross_validate(dataset_folder, output, folds=[0], config=load_config(overrides=TINY))
    (output / "fold_1").mkdir()
    (output / "fold_1" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    shutil.copy(output / "plan.yaml", output / "fold_1" / "plan.yaml")
    with pytest.raises(PartialError, match=r"fold 1: .*checkpoint.pt: is not a usable checkpoint"):
        cross_validate(dataset_folder, output, folds=[0, 1])
    assert json.loads((output / "crossval.json").read_text(encoding="utf-8"))["missing_folds"] == [1, 2, 3, 4]
    assert not is_trained(output / "fold_1")
    with pytest.raises(UsageError, match=r"plan.yaml: is another plan"):
        cross_validate(dataset_folder, output, config=load_config())


def test_where_every_fold_fails_the_first_reason_is_the_error(dataset_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VolsegError, match=r"fold 0: .*--device nowhere: cannot be used here"):
        cross_validate(dataset_folder, tmp_path, folds=[0], config=load_config(overrides=TINY), devices="nowhere")


def test_an_unknown_fold_is_refused(dataset_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no fold 5; expected 0 to 4"):
        cross_validate(dataset_folder, tmp_path, folds=[5])


def write_rows(path: Path, dices: dict[str, tuple[float | None, float]]) -> Path:
    rows = [{"case": c, "label": n, "dice": d} for c, pair in dices.items() for n, d in zip("ab", pair, strict=True)]
    path.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return path


def test_runs_are_compared_case_by_case(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    theirs = {f"case_{n}": (float(a), float(b)) for n, (a, b) in enumerate(random.uniform(0.5, 0.8, (20, 2)))}
    gains = random.normal(0.02, 0.01, 20)
    ours = {case: (a + g, b + g) for (case, (a, b)), g in zip(theirs.items(), gains, strict=True)}
    found = compare_runs(write_rows(tmp_path / "a.json", ours), write_rows(tmp_path / "b.json", theirs | {"x": (0, 0)}))
    assert found["n"] == 20
    assert found["mean"] == pytest.approx(gains.mean())
    assert found["low"] < gains.mean() < found["high"]
    assert found["p"] == pytest.approx(wilcoxon(gains).pvalue)


def test_an_absent_label_is_left_out_of_a_comparison(tmp_path: Path) -> None:
    ours = write_rows(tmp_path / "a.json", {"one": (None, 0.5)})
    assert compare_runs(ours, write_rows(tmp_path / "b.json", {"one": (0.9, 0.7)}))["mean"] == pytest.approx(-0.3)


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    ours = write_rows(tmp_path / "a.json", {"one": (0.5, 0.5)})
    with pytest.raises(InputError, match=r"has no case in common with"):
        compare_runs(ours, write_rows(tmp_path / "b.json", {"two": (0.5, 0.5)}))
    with pytest.raises(InputError, match=r"crossval.json: is not the result of a cross-validation"):
        compare_runs(tmp_path, ours)
