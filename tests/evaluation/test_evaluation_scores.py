from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from volseg.cli.tables import print_evaluation
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.evaluation import evaluate, metrics
from volseg.evaluation.scores import METRICS, compare

GRID = Grid.from_spacing((14, 12, 10), (1, 2, 3))


def block(*corner: int) -> np.ndarray:
    """A block of 4 x 4 x 4 voxels."""
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[tuple(slice(n, n + 4) for n in corner)] = True
    return mask


PREDICTION, REFERENCE = block(2, 2, 2), block(3, 2, 4)


def test_each_row_computes_the_metric_of_its_name() -> None:
    distances = metrics.surface_distances(PREDICTION, REFERENCE, GRID)
    expected = {
        "dice": metrics.dice(PREDICTION, REFERENCE),
        "iou": metrics.iou(PREDICTION, REFERENCE),
        "hd95_mm": metrics.hd95_mm(distances),
        "assd_mm": metrics.assd_mm(distances),
        "surface_dice": metrics.surface_dice(PREDICTION, REFERENCE, GRID, tolerance_mm=2),
        "prediction_ml": 64 * 6 / 1000,
        "reference_ml": 64 * 6 / 1000,
    }
    found = compare(PREDICTION, REFERENCE, GRID, tolerance_mm=2)
    assert vars(found) == pytest.approx(expected)
    assert len(set(expected.values())) == len(METRICS) - 1  # a row that computes another's number is seen


def test_distances_are_measured_once_for_all_metrics_that_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, measure = [], metrics.surface_distances

    def counted(*arguments: object) -> metrics.SurfaceDistances:
        calls.append(arguments)
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(metrics, "surface_distances", counted)
    compare(PREDICTION, REFERENCE, GRID)
    assert len(calls) == 1


def test_files_and_the_printed_table_have_a_column_for_each_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = (Label(1, "block", (1, 2, 3)),)
    ours, theirs = (LabelMap(mask.astype(np.uint8), GRID, labels) for mask in (PREDICTION, REFERENCE))
    found = evaluate(ours, theirs)
    header = next(csv.reader(found.to_csv(tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()))
    assert header == ["case", "label", "value", "status", *METRICS]
    content = json.loads(found.to_json(tmp_path / "a.json").read_text(encoding="utf-8"))
    assert list(content["labels"][0]["statistics"]) == list(METRICS)
    assert set(content["definitions"]) < set(METRICS)
    print_evaluation(found)
    lines = capsys.readouterr().out.splitlines()
    heading, cells = " ".join(lines[:2]), lines[3].split()
    for metric in METRICS.values():
        assert all(word in heading for word in (*metric.heading.split(), metric.unit))
    # Metrics of one unit stand together: shares, then millimetres, then millilitres.
    assert lines[1].split()[-5:] == ["mm", "mm", "ml", "ml", "n"]
    assert cells[:3] == ["block", "0.375", "0.231"]
    assert cells[-3:] == ["0.384", "0.384", "1"]
    assert len(cells) == 1 + len(METRICS) + 1
