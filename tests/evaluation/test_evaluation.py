from __future__ import annotations

import csv
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, UsageError
from volseg.evaluation import evaluate, scores, summarise
from volseg.io import write
from volseg.phantoms import Ellipsoid, rasterise

GRID = Grid.from_spacing((20, 20, 10), (1.5, 1.5, 3))
SHAPES = {"liver": Ellipsoid((9, 14, 14), (7, 7, 9)), "spleen": Ellipsoid((22, 14, 14), (4, 5, 6))}
REFERENCE = rasterise(SHAPES, GRID)


def shifted(labels: LabelMap, voxels: int = 1) -> LabelMap:
    return LabelMap(np.roll(labels.array, voxels, axis=0), labels.grid, labels.labels)


def without(labels: LabelMap, value: int) -> LabelMap:
    return LabelMap(np.where(labels.array == value, 0, labels.array), labels.grid, labels.labels)


def test_two_label_maps_in_memory() -> None:
    result = evaluate(shifted(REFERENCE), REFERENCE)
    liver, spleen = result.rows
    assert (liver.case, liver.value, liver.label, liver.status) == ("case", 1, "liver", "both")
    first, second = shifted(REFERENCE).array == 1, REFERENCE.array == 1
    assert liver.scores.dice == pytest.approx(2 * (first & second).sum() / (first.sum() + second.sum()))
    assert liver.scores.hd95_mm == pytest.approx(1.5)
    assert liver.scores.reference_ml == pytest.approx(second.sum() * 6.75 / 1000)
    assert result.class_mean_dice.mean == pytest.approx((liver.scores.dice + spleen.scores.dice) / 2)
    assert math.isnan(result.class_mean_dice.low)  # one case has no interval


def test_missed_spurious_and_absent_labels_are_counted() -> None:
    references = {"a": REFERENCE, "b": without(REFERENCE, 2), "c": without(REFERENCE, 2)}
    predictions = {"a": without(REFERENCE, 2), "b": REFERENCE, "c": without(REFERENCE, 2)}
    result = evaluate(predictions, references)
    assert [row.status for row in result.rows if row.label == "spleen"] == ["missed", "spurious", "absent"]
    spleen = result.summary[1]
    assert spleen.counts == {"both": 0, "missed": 1, "spurious": 1, "absent": 1}
    assert (spleen.statistics["dice"].mean, spleen.statistics["dice"].n) == (0, 2)
    diagonal_mm = math.sqrt(30**2 + 30**2 + 30**2)
    assert spleen.statistics["hd95_mm"].mean == pytest.approx(diagonal_mm)
    assert result.class_mean_dice.mean == pytest.approx((0.5 + 0.5 + 1.0) / 3)


def test_large_values_with_gaps_are_compared_like_others() -> None:
    labels = (Label(3, "a", (1, 2, 3)), Label(90_000, "b", (1, 2, 3)))
    array = np.where(REFERENCE.array == 1, 3, np.where(REFERENCE.array == 2, 90_000, 0))
    odd = LabelMap(array, GRID, labels)
    for row, plain in zip(evaluate(shifted(odd), odd).rows, evaluate(shifted(REFERENCE), REFERENCE).rows, strict=True):
        assert row.scores == plain.scores


def test_output_folders_and_flat_files_pair_by_case_name(tmp_path: Path) -> None:
    for case in ("one", "two", "three.v1"):
        write(REFERENCE, tmp_path / "references" / f"{case}.nii.gz")
    write(shifted(REFERENCE), tmp_path / "predictions" / "one" / "labels.nii.gz")
    write(shifted(REFERENCE), tmp_path / "predictions" / "one" / "probabilities.nii.gz")
    write(REFERENCE, tmp_path / "predictions" / "three.v1.seg.nrrd")
    result = evaluate(tmp_path / "predictions", tmp_path / "references")
    assert result.cases == ("one", "three.v1")
    assert result.unpaired == ("two",)
    single = evaluate(tmp_path / "predictions" / "one", tmp_path / "references" / "two.nii.gz")
    assert [row.scores for row in single.rows] == [row.scores for row in result.rows if row.case == "one"]
    assert single.cases == ("one",)


def test_predictions_without_reference_are_failures_and_the_rest_is_scored() -> None:
    maps = dict.fromkeys(("a", "b", "c"), REFERENCE)
    result = evaluate(maps, {"b": REFERENCE, "d": REFERENCE})
    assert result.cases == ("b",)
    assert result.unpaired == ("d",)
    assert list(result.failures) == ["a", "c"]
    assert result.failures["c"] == "no reference; references are found by case name, here b, d"
    with pytest.raises(InputError, match=r"no reference for any of 3 predictions: a, b, c; .* here d, e"):
        evaluate(maps, {"d": REFERENCE, "e": REFERENCE})


def test_one_file_pairs_with_the_only_case_of_a_folder_whatever_its_name(tmp_path: Path) -> None:
    write(REFERENCE, tmp_path / "out" / "one" / "labels.nii.gz")
    write(REFERENCE, tmp_path / "references" / "other.nii.gz")
    file = tmp_path / "references" / "other.nii.gz"
    assert evaluate(tmp_path / "out", file).cases == ("one",)
    assert evaluate(file, tmp_path / "out").cases == ("other",)
    # Two folders are matched by name, even of one case each.
    with pytest.raises(InputError, match="no reference for any of 1 predictions: one"):
        evaluate(tmp_path / "out", tmp_path / "references")


@pytest.mark.parametrize(
    ("files", "message"),
    [(("x.nii.gz", "x.nrrd"), r"are both case 'x'; keep one"), (("notes.txt",), r"no label maps here; expected files")],
)
def test_folders_that_cannot_be_paired(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        evaluate(tmp_path, {"x": REFERENCE})
    with pytest.raises(InputError, match="no such file or folder"):
        evaluate(tmp_path / "missing", {"x": REFERENCE})


def test_another_grid_is_refused_with_the_distance() -> None:
    moved = LabelMap(REFERENCE.array, Grid.from_spacing(GRID.shape, GRID.spacing, (0, 0, 2.5)), REFERENCE.labels)
    with pytest.raises(GeometryError, match=r"different grids, corners up to 2\.5 mm apart.*nearest neighbour"):
        evaluate(moved, REFERENCE)
    cropped = LabelMap(REFERENCE.array[1:], GRID.crop((1, 0, 0), GRID.shape), REFERENCE.labels)
    with pytest.raises(GeometryError, match=r"prediction 19x20x10 voxels.*reference 20x20x10 voxels"):
        evaluate(cropped, REFERENCE)


def test_the_same_voxels_stored_in_another_order_are_the_same() -> None:
    array, grid = reorient(REFERENCE.array, REFERENCE.grid, "PIR")
    turned = LabelMap(array, grid, REFERENCE.labels)
    assert [row.scores.dice for row in evaluate(turned, REFERENCE).rows] == [1, 1]
    assert [row.scores.dice for row in evaluate(REFERENCE, turned).rows] == [1, 1]


def test_one_bad_case_does_not_stop_the_others(tmp_path: Path) -> None:
    for case in ("bad", "good"):
        write(REFERENCE, tmp_path / "p" / f"{case}.nii.gz")
        write(REFERENCE, tmp_path / "r" / f"{case}.nii.gz")
    (tmp_path / "p" / "bad.nii.gz").write_bytes((tmp_path / "p" / "bad.nii.gz").read_bytes()[:200])
    seen: list[tuple[int, int]] = []
    result = evaluate(tmp_path / "p", tmp_path / "r", progress=lambda what, done, total: seen.append((done, total)))
    assert result.cases == ("good",)
    assert list(result.failures) == ["bad"]
    assert "bad.nii.gz" in result.failures["bad"]
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(InputError, match=r"bad\.nii\.gz"):
        evaluate(tmp_path / "p" / "bad.nii.gz", tmp_path / "r" / "good.nii.gz")


def test_a_scan_is_no_reference(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2000, GRID.shape).astype(np.int16)
    write(LabelMap.from_array((noise > 1000).astype(np.uint8), GRID), tmp_path / "labels.nii.gz")
    write(Volume(noise, GRID), tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match=r"scan.nii.gz: has \d+ different values, as a scan has"):
        evaluate(tmp_path / "labels.nii.gz", tmp_path / "scan.nii.gz")
    (tmp_path / "two.tsv").write_text("index\tname\n1\tliver\n2\tspleen\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"scan.nii.gz: has \d+ different values, as a scan has"):
        evaluate(tmp_path / "labels.nii.gz", tmp_path / "scan.nii.gz", labels=tmp_path / "two.tsv")
    rows = "".join(f"{value}\tcell {value}\n" for value in range(1, 2000))
    (tmp_path / "all.tsv").write_text(f"index\tname\n{rows}", encoding="utf-8")
    assert evaluate(tmp_path / "labels.nii.gz", tmp_path / "scan.nii.gz", labels=tmp_path / "all.tsv").rows


def test_when_no_case_can_be_compared_every_reason_is_given() -> None:
    moved = LabelMap(REFERENCE.array, Grid.from_spacing(GRID.shape, (1, 1, 1)), REFERENCE.labels)
    with pytest.raises(InputError, match=r"(?s)none of 2 cases.*\na: prediction and.*\nb: prediction and"):
        evaluate({"a": moved, "b": moved}, {"a": REFERENCE, "b": REFERENCE})


def test_names_come_from_the_table_then_the_reference_then_the_dataset_then_the_prediction(tmp_path: Path) -> None:
    nameless = LabelMap.from_array(REFERENCE.array, GRID)
    assert [row.label for row in evaluate(nameless, nameless).rows] == ["label_1", "label_2"]
    assert [row.label for row in evaluate(REFERENCE, nameless).rows] == ["liver", "spleen"]
    write(nameless, tmp_path / "labelsTr" / "x.nii.gz")
    dataset = {"labels": {"background": 0, "Leber": 1, "Milz": 2, "Niere": 3}}
    (tmp_path / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    rows = evaluate({"x": REFERENCE}, tmp_path / "labelsTr").rows
    assert [(row.label, row.status) for row in rows] == [("Leber", "both"), ("Milz", "both"), ("Niere", "absent")]
    table = tmp_path / "names.tsv"
    table.write_text("index\tname\n1\tfoie\n2\trate\n", encoding="utf-8")
    assert [r.label for r in evaluate({"x": REFERENCE}, tmp_path / "labelsTr", labels=table).rows] == ["foie", "rate"]


def test_names_that_contradict_each_other_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    swapped = LabelMap(REFERENCE.array, GRID, (Label(1, "spleen", (1, 1, 1)), Label(2, "liver", (2, 2, 2))))
    with caplog.at_level(logging.WARNING):
        rows = evaluate({"a": swapped, "b": swapped}, {"a": REFERENCE, "b": REFERENCE}).rows
    assert [row.label for row in rows] == ["liver", "spleen"] * 2
    assert len(caplog.messages) == 2
    assert "label 1 is 'liver' in the references and 'spleen' in the predictions" in caplog.messages[0]


@pytest.mark.parametrize("tolerance_mm", [-1.0, math.nan, math.inf])
def test_an_impossible_tolerance_is_refused(tolerance_mm: float) -> None:
    with pytest.raises(UsageError, match=r"tolerance is .* expected a number of at least 0"):
        evaluate(REFERENCE, REFERENCE, tolerance_mm=tolerance_mm)


def test_statistics_by_hand() -> None:
    found = summarise([1.0, 2.0, math.nan, 6.0])
    assert (found.n, found.mean, found.median) == (3, 3.0, 2.0)
    assert found.std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert summarise([]).n == 0


def test_bootstrap_interval_is_that_of_a_plain_bootstrap_and_always_the_same() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.1, 30)
    random = np.random.default_rng(2)
    means = values[random.integers(30, size=(20_000, 30))].mean(axis=1)
    found = summarise(list(values))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=0.002)
    assert summarise(list(values)) == found
    constant = summarise([0.9] * 5)
    assert (constant.low, constant.high) == (constant.mean, constant.mean)
    assert math.isnan(summarise([0.9] * 4).low)


def test_csv_and_json_hold_everything_and_no_formulas(tmp_path: Path) -> None:
    risky = LabelMap(REFERENCE.array, GRID, (Label(1, "=1+1", (1, 1, 1)), Label(2, "Kühn", (2, 2, 2))))
    result = evaluate({"@case": without(risky, 2)}, {"@case": without(risky, 2)})
    with result.to_csv(tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["case"], first["label"], first["dice"]) == ("'@case", "'=1+1", "1")
    assert (second["label"], second["status"], second["dice"], second["reference_ml"]) == ("Kühn", "absent", "", "0")
    content = json.loads(result.to_json(tmp_path / "all.json").read_text(encoding="utf-8"))
    assert content["cases"][0]["label"] == "=1+1"
    assert content["cases"][1]["dice"] is None
    assert content["labels"][1]["counts"]["absent"] == 1
    assert content["class_mean_dice"]["mean"] == 1


def test_real_references_against_themselves_moved_by_a_voxel(shared_data: Path) -> None:
    folder = shared_data / "hippocampus" / "labelsTr"
    from volseg.io import read_labels

    paths = sorted(folder.glob("*.nii.gz"))[:5]
    result = evaluate({p.name.removesuffix(".nii.gz"): shifted(read_labels(p)) for p in paths}, folder)
    assert [entry.label for entry in result.summary] == ["Anterior", "Posterior"]
    assert len(result.unpaired) == 255
    assert 0.8 < result.class_mean_dice.low < result.class_mean_dice.mean < result.class_mean_dice.high < 0.95
    assert all(entry.statistics["hd95_mm"].mean == pytest.approx(1.0, abs=1e-4) for entry in result.summary)


def test_a_case_that_does_not_fit_into_memory_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(prediction: np.ndarray, *arguments: object, **options: object) -> object:
        if prediction.all():
            raise MemoryError
        return scores.compare(prediction, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("volseg.evaluation.cases.compare", compare)
    full = LabelMap(np.ones_like(REFERENCE.array), REFERENCE.grid, REFERENCE.labels)
    references = {"a": REFERENCE, "b": REFERENCE}
    found = evaluate({"a": full, "b": REFERENCE}, references)
    assert found.cases == ("b",)
    assert found.failures == {"a": "does not fit into memory; compare it on a machine with more"}
    with pytest.raises(InputError, match="does not fit into memory"):
        evaluate(full, REFERENCE)


def test_a_case_is_also_found_by_what_its_scan_was_called(tmp_path: Path) -> None:
    """As DICOM cases are called by their series, and references by patient."""
    inputs = {
        "head-0123abcd": "anna",
        "head-4567abcd": "bert.zip",
        "head-89ababcd": "carl_0000",
        "T1-00000000": "DICOM",
    }
    for case, scan in [*inputs.items(), ("T1-11111111", "DICOM")]:
        write(REFERENCE, tmp_path / "out" / case / "labels.nii.gz")
        record = {"files": ["labels.nii.gz"], "input": [scan]}
        (tmp_path / "out" / case / "run.json").write_text(json.dumps(record), encoding="utf-8")
    for name in ("anna", "bert", "carl", "DICOM", "dora"):
        write(REFERENCE, tmp_path / "refs" / f"{name}.nii.gz")
    found = evaluate(tmp_path / "out", tmp_path / "refs")
    assert {row.case for row in found.rows} == set(list(inputs)[:3])
    assert set(found.failures) == {"T1-00000000", "T1-11111111"}  # both were called DICOM
    assert found.unpaired == ("DICOM", "dora")
