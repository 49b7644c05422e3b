"""Planes fused by the likeliest classes of each voxel, as of large scans, against the sums of all classes.

    python benchmarks/fusion.py MODEL SCAN ...

The model has seven classes or more and several planes. Printed are how many of a million voxels have another label if
four or eight classes of a voxel are kept from plane to plane, and if the first plane alone is used as before; and what
the fusing takes: CPU seconds of the whole prediction, and bytes a voxel.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import volseg
from volseg.network.file import Model
from volseg.prediction import answers, inference
from volseg.prediction.candidates import BYTES


def run(model: Model, scan: volseg.Volume) -> tuple[NDArray[np.integer], float]:
    start = time.process_time()
    found = volseg.predict(model, scan, device="cpu").labels.array
    return found, time.process_time() - start


def compare(model: Model, scan: volseg.Volume) -> str:
    classes = len(model.labels) + 1
    expected, seconds = run(model, scan)
    cells = [f"{classes}, {2 * classes} bytes, {seconds:.1f} s"]
    usual_bytes, usual_weights = answers._MOST_BYTES, inference.plane_weights
    for count in (8, 4):
        answers._MOST_BYTES = count * BYTES * scan.array.size
        found, seconds = run(model, scan)
        apart = 1e6 * (found != expected).mean()
        cells.append(f"{apart:.0f} ppm, {count * BYTES} bytes, {seconds:.1f} s")
    answers._MOST_BYTES = usual_bytes
    inference.plane_weights = lambda config, _grid: {config.planes[0]: 1.0}
    cells.append(f"{1e6 * (run(model, scan)[0] != expected).mean():.0f} ppm")
    inference.plane_weights = usual_weights
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("scans", type=Path, nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| scan | all classes | 8 of a voxel | 4 of a voxel | one plane |")
    print("|---|---|---|---|---|")
    model = volseg.load_model(options.model)
    for path in options.scans:
        print(f"| {path.name} | {compare(model, volseg.read(path))} |", flush=True)


if __name__ == "__main__":
    main()
