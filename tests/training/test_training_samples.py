"""Which slices are looked at, and that they are what the network gets and gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from toy_dataset import write_dataset

import volseg
from volseg.config import PreparationConfig, load_config
from volseg.core.labelmap import LabelMap
from volseg.core.slices import stack_slices
from volseg.datasets import read_dataset
from volseg.io import write
from volseg.training import samples
from volseg.training.events import Sampled, Validated
from volseg.training.facts import find_facts
from volseg.training.loop import iterate_training, train
from volseg.training.plan import make_plan
from volseg.training.sample_choice import Candidates, choose_slices
from volseg.watching.sample_picture import read_samples

TINY = ("network.width=4", "network.levels=2", "training.batch_size=4", "training.epochs=1", "training.validations=3")


def table(slices: int, **labels: range) -> np.ndarray:
    """Pixels of labels in slices: ten wherever a label is."""
    counts = np.zeros((slices, len(labels)), np.int64)
    for column, where in enumerate(labels.values()):
        counts[list(where), column] = 10
    return counts


def test_slices_show_all_labels_that_can_be_shown() -> None:
    counts = {
        "a": table(20, liver=range(3, 9), rib=range(0), spine=range(0)),
        "b": table(20, liver=range(0), rib=range(12, 13), spine=range(0)),
        "c": table(20, liver=range(0), rib=range(0), spine=range(5, 18)),
    }
    chosen = choose_slices(counts, most=8)
    assert len(chosen) == 4
    shown = np.any([counts[case][index] > 0 for case, index in chosen], axis=0)
    assert shown.all()
    assert {case for case, _ in chosen} == {"a", "b", "c"}


def test_more_slices_are_taken_where_four_lack_a_label() -> None:
    counts = {"a": table(60, **{f"l{n}": range(10 * n, 10 * n + 2) for n in range(6)})}
    assert len(choose_slices(counts, most=8)) == 6
    assert len(choose_slices(counts, most=3)) == 3


def test_slices_of_one_case_lie_apart() -> None:
    chosen = [index for _, index in choose_slices({"a": table(40, ball=range(40))}, most=8)]
    assert len(chosen) == 4
    assert min(np.diff(chosen)) > 3


def test_a_case_without_labels_has_none() -> None:
    assert choose_slices({"a": table(5, ball=range(0))}, most=8) == []


def test_samples_are_slices_of_held_out_cases_as_they_are_predicted(tmp_path: Path) -> None:
    dataset, run = write_dataset(tmp_path / "set", spacing=(1.0, 1.0, 1.2)), tmp_path / "run"
    events = list(iterate_training(dataset, run, config=load_config(overrides=TINY), device="cpu"))
    sampled = [event for event in events if isinstance(event, Sampled)]
    assert [event.step for event in sampled] == [event.step for event in events if isinstance(event, Validated)]
    files = read_samples(run / "samples")
    assert [file.path for file in files] == [path for event in sampled for path in event.files]
    held_out = {case for event in events if isinstance(event, Validated) for case in event.result.by_case}
    seen = {(view.case, view.index) for view in files[0].views}
    for file in files:
        assert {view.case for view in file.views} <= held_out
        if file.plane == files[0].plane:
            assert {(view.case, view.index) for view in file.views} == seen
    last = [file for file in files if file.step == files[-1].step]
    assert len(last) == len(volseg.load_model(run).networks)


def test_a_run_of_one_plane_shows_what_its_model_predicts(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=load_config(overrides=TINY), device="cpu")
    model, file = volseg.load_model(run), read_samples(run / "samples")[-1]
    for view in file.views:
        scan = volseg.read(dataset_folder / "imagesTr" / f"{view.case}.nii.gz")
        reference = volseg.read_labels(dataset_folder / "labelsTr" / f"{view.case}.nii.gz")
        predicted = volseg.predict(model, scan, device="cpu").labels
        one, other = (stack_slices(labels.array, file.plane)[view.index] for labels in (predicted, reference))
        assert view.score.differing == np.count_nonzero(one != other)


def test_samples_do_not_depend_on_the_order_of_storage(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    case, labels = dataset.cases[0], tuple(dataset.labels)
    config = load_config(overrides=("preparation.planes=[axial]", "preparation.spacing_mm=[1, 1, 3]"))
    config = make_plan(config, dataset, [find_facts(case)])
    run = SimpleNamespace(config=config, dataset=dataset)
    places = {"axial": [(case.name, 4)]}
    (before,) = samples._prepare(case, places, run)
    # Columns run to the patient's left and rows to the back; pixels have 1 mm.
    rows, columns = np.nonzero(before.seen.reference == 1)
    reference = volseg.read_labels(case.label)
    ball = np.argwhere(reference.array == labels[0].value)
    ball = ball[ball[:, 2] == 4]
    x, y = (ball @ reference.grid.affine[:3, :3].T + reference.grid.affine[:3, 3])[:, :2].mean(axis=0)
    middle = reference.grid.affine[:2] @ [*(np.array(reference.grid.shape) - 1) / 2, 1]
    height, width = before.seen.reference.shape
    assert columns.mean() - (width - 1) / 2 == pytest.approx(middle[0] - x)
    assert rows.mean() - (height - 1) / 2 == pytest.approx(middle[1] - y)
    for order in ("LPS", "PSR"):
        for path in (case.images[0], case.label):
            image = nibabel.load(path)
            turn = nibabel.orientations.ornt_transform(
                nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(order)
            )
            nibabel.save(image.as_reoriented(turn), path)
        (after,) = samples._prepare(case, places, run)
        np.testing.assert_array_equal(after.seen.grey, before.seen.grey)
        np.testing.assert_array_equal(after.seen.reference, before.seen.reference)
        assert after.seen.pixel_mm == pytest.approx(before.seen.pixel_mm)


def test_without_held_out_cases_training_cases_are_looked_at(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=load_config(overrides=TINY), fold="all", device="cpu")
    assert read_samples(run / "samples")
    assert "slices of training cases" in (run / "progress.html").read_text(encoding="utf-8")


def test_cases_without_any_label_show_nothing_and_end_no_training(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    for case in dataset.cases:
        reference = volseg.read_labels(case.label)
        write(LabelMap.from_array(0 * reference.array, reference.grid), case.label)
    candidates = Candidates(
        tuple(dataset.cases), tuple(dataset.labels), PreparationConfig(planes=("axial",), spacing_mm=(1, 1, 3))
    )
    assert candidates.choose({"axial": 4}) == {}


def test_a_resumed_run_keeps_its_slices_and_its_pictures(dataset_folder: Path, tmp_path: Path) -> None:
    run, config = tmp_path / "run", load_config(overrides=TINY)
    for event in iterate_training(dataset_folder, run, config=config, device="cpu"):
        if isinstance(event, Sampled):
            break  # as if the machine had gone down
    before = read_samples(run / "samples")
    text = (run / "progress.html").read_text(encoding="utf-8")
    assert 'data-state="training"' in text
    train(dataset_folder, run, device="cpu", resume=True)
    after = read_samples(run / "samples")
    assert after[: len(before)] == before
    assert len({(file.step, file.plane) for file in after}) == len(after) == 3
    longer = load_config(overrides=(*TINY, "training.epochs=2"))
    train(dataset_folder, run, config=longer, device="cpu", resume=True)
    assert read_samples(run / "samples")[:3] == after
    assert 'data-state="finished"' in (run / "progress.html").read_text(encoding="utf-8")


def test_a_new_run_removes_the_pictures_of_one_that_left_no_checkpoint(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(dataset_folder, run, config=load_config(overrides=TINY), device="cpu")
    (run / "checkpoint.pt").unlink()
    (run / "samples" / "step_999999_axial.png").write_bytes(b"old")
    train(dataset_folder, run, config=load_config(overrides=TINY), device="cpu")
    assert not (run / "samples" / "step_999999_axial.png").exists()


@pytest.mark.parametrize("signal", [KeyboardInterrupt])
def test_the_page_of_an_interrupted_run_says_so(
    signal: type[BaseException], dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise signal

    monkeypatch.setattr("volseg.training.loop.validate", interrupt)
    with pytest.raises(signal):
        train(dataset_folder, tmp_path / "run", config=load_config(overrides=TINY), device="cpu")
    assert 'data-state="stopped"' in (tmp_path / "run" / "progress.html").read_text(encoding="utf-8")
