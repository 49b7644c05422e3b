"""Cross-validation on the toy dataset."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon
from toy_dataset import write_case

import volseg
from volseg.config import CleanupConfig, Config, load_config
from volseg.crossvalidation import compare_runs, iterate_crossvalidation
from volseg.crossvalidation.doubt import join_surface_fits
from volseg.datasets import Dataset, forget_patients, read_dataset, split
from volseg.errors import DatasetError, InputError, PartialError, UsageError, VolsegError
from volseg.network.description import CleanupDecision
from volseg.network.doubt_fit import SurfaceFit
from volseg.network.file import save_model
from volseg.training.events import StepsMade
from volseg.training.folds import FoldTrainer, is_trained
from volseg.training.journal import read_events
from volseg.training.loop import iterate_training, train
from volseg.training.planning import iterate_planning
from volseg.watching.curves import Event

TINY = ("network.width=4", "training.batch_size=4", "training.epochs=1", "training.validations=1")


def cross_validate(
    folder: Path, output: Path, *, folds: list[int] | None = None, config: Config | None = None, devices: str = "cpu"
) -> list[Event]:
    trainer = FoldTrainer([str(folder)], output, devices.split(","))
    return list(iterate_crossvalidation(read_dataset(folder), trainer, config=config, folds=folds))


def train_here(source: Path | Dataset, output: Path, *folds: int, config: Config | None = None) -> None:
    """Train folds as their own processes would, without the seconds that it takes to start those."""
    dataset = source if isinstance(source, Dataset) else read_dataset(source)
    list(iterate_planning(dataset, output, config=config or load_config(overrides=TINY), fold="all"))
    plan = load_config(output / "plan.yaml")
    for fold in folds:
        train(dataset, output / f"fold_{fold}", config=plan, fold=fold, device="cpu")


def interrupt(folder: Path, output: Path, fold: int) -> None:
    """Begin to train a fold, and stop."""
    plan = load_config(output / "plan.yaml")
    events = iterate_training(folder, output / f"fold_{fold}", config=plan, fold=fold, device="cpu")
    while not isinstance(next(events), StepsMade):
        pass
    with pytest.raises(KeyboardInterrupt, match="here"):
        events.throw(KeyboardInterrupt("here"))  # type: ignore[attr-defined]
    assert (output / f"fold_{fold}" / "checkpoint.pt").is_file()


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fold can be trained; those that are trained need not be."""

    def impossible(*_: object, **__: object) -> None:
        raise OSError(11, "there are enough")

    monkeypatch.setattr("volseg.training.folds.subprocess.Popen", impossible)


def written(folder: Path) -> dict[Path, int]:
    """When each file of a folder was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_folds_are_trained_continued_and_summed_up(dataset_folder: Path, tmp_path: Path) -> None:
    output, dataset = tmp_path / "cv", read_dataset(dataset_folder)
    first = cross_validate(dataset_folder, output, folds=[0, 2], config=load_config(overrides=TINY), devices="cpu,cpu")
    summary = first[-1]
    assert summary["missing_folds"] == [1, 3, 4]
    held_out = {fold: {case.name for case in split(dataset, fold)[1]} for fold in (0, 2, 4)}
    assert {(row["case"], row["fold"]) for row in summary["rows"]} == {(c, f) for f in (0, 2) for c in held_out[f]}
    assert json.loads((output / "crossval.json").read_text(encoding="utf-8"))["rows"] == summary["rows"]
    predicting = [(event["fold"], event["done"], event["total"]) for event in first if event["event"] == "predicting"]
    assert predicting == [(0, 1, 2), (0, 2, 2), (2, 1, 1)]
    finished = {fold: written(output / f"fold_{fold}") for fold in (0, 2)}

    # Without settings the existing plan is continued, and finished folds do not change.
    interrupt(dataset_folder, output, 4)
    summary = cross_validate(dataset_folder, output, folds=[4])[-1]
    assert summary["missing_folds"] == [1, 3]
    assert {fold: written(output / f"fold_{fold}") for fold in (0, 2)} == finished
    steps = [event["step"] for event in read_events(output / "fold_4" / "log.jsonl") if event["event"] == "steps"]
    assert steps == list(range(1, 11))  # 5 cases of 8 slices in batches of 4; none twice
    assert len(summary["rows"]) == 2 * len(set.union(*held_out.values()))
    for fold, cases in held_out.items():
        assert {path.name for path in (output / f"fold_{fold}" / "predictions").iterdir()} == cases
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
    assert ensemble.doubt is not None
    scores = []
    for fold, cases in held_out.items():
        for name in cases:
            record = json.loads((output / f"fold_{fold}/predictions/{name}/run.json").read_text(encoding="utf-8"))
            scores.append(record["doubt"]["soft_dice"])
    assert ensemble.doubt.soft_dice == pytest.approx(sorted(score for score in scores if score is not None))
    volumes = [row["reference_volume_ml"] for row in summary["rows"] if row["label"] == "bar"]
    low, high = ensemble.doubt.training_ml["bar"]
    assert low <= min(volumes) < max(volumes) <= high  # every case trains some fold


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        ((SurfaceFit(24, 1.0), SurfaceFit(30, 2.0)), SurfaceFit(54, 1.5)),
        ((SurfaceFit(24, 1.0), SurfaceFit(8)), SurfaceFit(32)),
        ((SurfaceFit(24, 1.0), None), SurfaceFit(24)),
        ((None, None), None),
    ],
)
def test_an_ensemble_has_the_mean_factor_of_its_folds(
    fits: tuple[SurfaceFit | None, ...], expected: SurfaceFit | None
) -> None:
    assert join_surface_fits(fits) == expected


def test_a_fold_that_fails_is_named_and_the_others_count(dataset_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "cv"
    train_here(dataset_folder, output, 0)
    (output / "fold_1").mkdir()
    (output / "fold_1" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    shutil.copy(output / "plan.yaml", output / "fold_1" / "plan.yaml")
    with pytest.raises(PartialError, match=r"^fold 1: .*checkpoint.pt: is not a usable checkpoint"):
        cross_validate(dataset_folder, output, folds=[0, 1])
    assert json.loads((output / "crossval.json").read_text(encoding="utf-8"))["missing_folds"] == [1, 2, 3, 4]
    assert not is_trained(output / "fold_1")
    with pytest.raises(UsageError, match=r"plan.yaml: is another plan"):
        cross_validate(dataset_folder, output, config=load_config())


@pytest.mark.usefixtures("no_process")
def test_where_every_fold_fails_the_first_reason_is_the_error(dataset_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VolsegError, match=r"^fold 2: its process cannot be started \(there are enough\)$"):
        cross_validate(dataset_folder, tmp_path / "cv", folds=[2, 3], config=load_config(overrides=TINY))
    assert not (tmp_path / "cv" / "crossval.json").exists()


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("trained", [True, False], ids=["trained", "interrupted"])
def test_a_fold_that_was_trained_by_another_plan_does_not_count(
    trained: bool, dataset_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "cv"
    train_here(dataset_folder, output, *([1] if trained else []))
    if not trained:
        interrupt(dataset_folder, output, 1)
    (output / "plan.yaml").unlink()
    wider = load_config(overrides=(*TINY, "network.width=8"))
    before = written(output / "fold_1")
    with pytest.raises(UsageError, match=r"fold_1: was trained by another plan than .*plan.yaml; delete one of them"):
        cross_validate(dataset_folder, output, folds=[0, 2], config=wider)
    assert written(output / "fold_1") == before
    assert not (output / "fold_0").exists()  # said before anything is trained


@pytest.mark.usefixtures("no_process")
def test_a_fold_that_was_trained_on_other_cases_does_not_count(dataset_folder: Path, tmp_path: Path) -> None:
    """Cases that its network has learnt from may be held out now."""
    output, names = tmp_path / "cv", [f"toy_{n}" for n in range(6)]

    def hold_out(*folds: list[str]) -> None:
        splits = [{"train": [name for name in names if name not in fold], "val": fold} for fold in folds]
        (dataset_folder / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")

    hold_out(names[:2], names[2:4])
    train_here(dataset_folder, output, 0, 1)
    assert cross_validate(dataset_folder, output)[-1]["missing_folds"] == []
    hold_out(names[:2], names[3:5])
    with pytest.raises(UsageError, match=r"fold_1: was trained on other cases than fold 1 has now; delete it to train"):
        cross_validate(dataset_folder, output, folds=[0])
    hold_out(names[:2], names[2:4], names[4:])  # one fold more changes nothing for the others
    summary = cross_validate(dataset_folder, output, folds=[])[-1]
    assert summary["missing_folds"] == [2]
    assert {(row["case"], row["fold"]) for row in summary["rows"]} == {(f"toy_{n}", n // 2) for n in range(4)}


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        ((["toy_0"], [], ["toy_1"], []), r"splits_final\.json: fold 1, 3 holds no case out; give it some"),
        ((["toy_0", "toy_1"], ["toy_1", "toy_2"]), r"splits_final\.json: \['toy_1'\] are held out by several folds"),
        ((["toy_0", "toy_0"], ["toy_2"]), r"\['toy_0'\] are held out by several folds; expected one"),
    ],
    ids=["none", "twice", "twice in one"],
)
def test_splits_that_score_no_case_or_one_twice_are_refused(
    held_out: tuple[list[str], ...], message: str, dataset_folder: Path, tmp_path: Path
) -> None:
    splits = [{"train": ["toy_4", "toy_5"], "val": names} for names in held_out]
    (dataset_folder / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        cross_validate(dataset_folder, tmp_path / "cv", folds=[0])
    assert not (tmp_path / "cv").exists()


@pytest.mark.usefixtures("no_process")
def test_a_case_that_cannot_be_predicted_is_named_and_the_others_count(dataset_folder: Path, tmp_path: Path) -> None:
    output, dataset = tmp_path / "cv", read_dataset(dataset_folder)
    train_here(dataset_folder, output, 0, 1, 2)
    held_out = [[case.name for case in split(dataset, fold)[1]] for fold in range(3)]
    assert [len(names) for names in held_out] == [2, 1, 1]
    for name in (held_out[0][0], held_out[1][0]):
        image = dataset_folder / "imagesTr" / f"{name}.nii.gz"
        grid = volseg.read(image).grid
        volseg.write(volseg.Volume(np.full(grid.shape, np.nan, dtype=np.float32), grid), image)
    lines = rf"^fold 0: {held_out[0][0]}: .*{held_out[0][0]}.nii.gz.*\nfold 1: {held_out[1][0]}: .*"
    with pytest.raises(PartialError, match=lines):
        cross_validate(dataset_folder, output, folds=[0, 1, 2])
    summary = json.loads((output / "crossval.json").read_text(encoding="utf-8"))
    assert {row["case"] for row in summary["rows"]} == {held_out[0][1], held_out[2][0]}
    assert summary["missing_folds"] == [1, 3, 4]  # of fold 1 there is nothing to sum up
    assert sorted(volseg.load_model(output / "ensemble.safetensors").networks) == ["axial.0", "axial.2"]


@pytest.mark.usefixtures("no_process")
def test_predictions_are_redone_where_they_were_made_in_another_way(dataset_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "cv"
    train_here(dataset_folder, output, 0)
    run = output / "fold_0"
    cross_validate(dataset_folder, output, folds=[0])
    first = written(run / "predictions")
    cross_validate(dataset_folder, output, folds=[0])
    assert written(run / "predictions") == first
    trainer = FoldTrainer([str(dataset_folder)], output, ["cpu"])
    list(iterate_crossvalidation(read_dataset(dataset_folder), trainer, folds=[0], probabilities=True))
    second = written(run / "predictions")
    assert second.keys() - first.keys() == {path.with_name("probabilities.nii.gz") for path in first} & second.keys()
    assert all(second[path] > first[path] for path in first)
    # The same weights with another temperature are another model.
    model = volseg.load_model(run)
    save_model(replace(model, temperature=model.temperature + 1), run / "model.safetensors")
    cross_validate(dataset_folder, output, folds=[0])
    third = written(run / "predictions")
    assert third.keys() == first.keys()
    assert all(third[path] > second[path] for path in third)
    # And so is another training of the same fold.
    for file in (output / "plan.yaml", run / "plan.yaml", run / "checkpoint.pt"):
        file.unlink()
    train_here(dataset_folder, output, 0, config=load_config(overrides=(*TINY, "training.seed=1")))
    assert {row["seed"] for row in cross_validate(dataset_folder, output, folds=[0])[-1]["rows"]} == {1}
    assert all(stamp > third[path] for path, stamp in written(run / "predictions").items())


@pytest.mark.usefixtures("no_process")
def test_clean_up_that_a_fold_decided_by_itself_is_replaced(dataset_folder: Path, tmp_path: Path) -> None:
    """It was decided on the very cases that are scored."""
    output = tmp_path / "cv"
    train_here(dataset_folder, output, 0, 1)
    before = cross_validate(dataset_folder, output, folds=[])[-1]
    everything = CleanupDecision(False, 1e6, False, cases=9, dice_before=0.5, dice_after=0.6)
    for fold in (0, 1):
        file = output / f"fold_{fold}" / "model.safetensors"
        save_model(replace(volseg.load_model(file), cleanup={"ball": everything, "bar": everything}), file)
    events = cross_validate(dataset_folder, output, folds=[])
    after = events[-1]
    assert after["rows"] == before["rows"] == after["cleanup"]["rows"]  # three cases decide nothing
    assert after["cleanup"]["class_mean_dice"] == after["class_mean_dice"]
    ensemble = volseg.load_model(output / "ensemble.safetensors")
    assert {name: asdict(found) for name, found in ensemble.cleanup.items()} == after["cleanup"]["decided"]
    assert {name: found.cases for name, found in ensemble.cleanup.items()} == {"ball": 3, "bar": 3}
    assert {found.settings for found in ensemble.cleanup.values()} == {CleanupConfig()}
    cleaning = [(event["done"], event["total"]) for event in events if event["event"] == "cleaning"]
    assert cleaning == [(done, 6) for done in range(1, 7)]


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("older", [False, True])
def test_folds_are_by_patient_unless_an_older_version_began(older: bool, tmp_path: Path) -> None:
    folder, output = tmp_path / "set", tmp_path / "cv"
    for seed in range(10):
        write_case(folder, f"patient{seed % 5:03}_frame{seed:02}", seed=seed)
    dataset = forget_patients(read_dataset(folder)) if older else read_dataset(folder)
    train_here(dataset, output, 0)
    trainer = FoldTrainer([str(folder)], output, ["cpu"])
    summary = list(iterate_crossvalidation(read_dataset(folder), trainer, folds=[0]))[-1]
    told = "5 patients of 10 scans, by names like patient001_frame01"
    assert summary.get("patients") == (None if older else told)
    assert trainer.over_cases == older
    assert {row["case"] for row in summary["rows"]} == {case.name for case in split(dataset, 0)[1]}


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
    with pytest.raises(InputError, match=r"crossval.json: no such file"):
        compare_runs(tmp_path, ours)
