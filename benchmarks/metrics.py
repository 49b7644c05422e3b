"""Metrics of every organ of a phantom, predicted one voxel off: volseg against MONAI, in turns in one process.

    python benchmarks/metrics.py [--size N] [--repeats N]

Prints the median seconds of both, their ratio, and the largest difference between their numbers.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from monai import metrics as monai_metrics

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.evaluation import evaluate
from volseg.phantoms import make_ct_phantom

Scores = list[tuple[float, ...]]


def score_with_volseg(prediction: LabelMap, reference: LabelMap) -> Scores:
    rows = evaluate(prediction, reference).rows
    return [(s.dice, s.iou, s.hd95_mm, s.assd_mm, s.surface_dice) for s in (row.scores for row in rows)]


def score_with_monai(prediction: LabelMap, reference: LabelMap) -> Scores:
    values = [label.value for label in reference.labels]
    ours, theirs = (
        torch.from_numpy(np.stack([labels.array == value for value in values])[None]).float()
        for labels in (prediction, reference)
    )
    how = {"include_background": True, "spacing": reference.grid.spacing}
    columns = (
        monai_metrics.compute_dice(ours, theirs),
        monai_metrics.compute_iou(ours, theirs),
        monai_metrics.compute_hausdorff_distance(ours, theirs, percentile=95, **how),
        monai_metrics.compute_average_surface_distance(ours, theirs, symmetric=True, **how),
        monai_metrics.compute_surface_dice(
            ours, theirs, class_thresholds=[1.0] * len(values), use_subvoxels=True, **how
        ),
    )
    return [tuple(row) for row in torch.stack([column[0] for column in columns], dim=1).tolist()]


def timed(score: Callable[[LabelMap, LabelMap], Scores], *maps: LabelMap) -> tuple[float, Scores]:
    start = time.perf_counter()
    scores = score(*maps)
    return time.perf_counter() - start, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=192, help="voxels along x and y; z has a quarter")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    size = arguments.size
    grid = Grid.from_spacing((size, size, size // 4), (288 / size, 288 / size, 576 / size))
    reference = make_ct_phantom(seed=0, grid=grid).labels
    prediction = LabelMap(np.roll(reference.array, 1, axis=0), grid, reference.labels)
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    seconds: dict[str, list[float]] = {"volseg": [], "MONAI": []}
    for _ in range(arguments.repeats):
        ours_s, ours = timed(score_with_volseg, prediction, reference)
        theirs_s, theirs = timed(score_with_monai, prediction, reference)
        seconds["volseg"].append(ours_s)
        seconds["MONAI"].append(theirs_s)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{len(reference.labels)} labels, {grid.describe()}, {arguments.repeats} repeats, median seconds")
    for name, median in medians.items():
        print(f"{name:8} {median:8.3f}")
    print(f"MONAI takes {medians['MONAI'] / medians['volseg']:.1f} times as long")
    print(f"largest difference between the numbers: {np.abs(np.array(ours) - np.array(theirs)).max():.1e}")


if __name__ == "__main__":
    main()
