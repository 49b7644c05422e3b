"""Predicted cases without a network: a folder as `volseg predict` writes it, of a bright ball and a bar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io.case_record import state_of
from volseg.io.scan_files import find_scan_files

LABELS = (Label(1, "ball", (200, 60, 60)), Label(2, "bar", (60, 60, 200)))
SHAPE = (40, 36, 24)


def ball_and_bar(shift: int = 0) -> tuple[Volume, LabelMap]:
    """Return a noisy scan and its labels; the bar lies `shift` voxels further to the front."""
    grid = Grid.from_spacing(SHAPE, (1.0, 1.0, 2.0))
    i, j, k = np.indices(SHAPE)
    array = np.zeros(SHAPE, np.uint8)
    array[(i - 12) ** 2 + (j - 12) ** 2 + 4 * (k - 10) ** 2 < 64] = 1
    array[26:32, 10 + shift : 20 + shift, 6:16] = 2
    noise = np.random.default_rng(1).normal(0, 8, SHAPE)
    scan = np.where(array > 0, 120, 40) + noise
    return Volume(scan.astype(np.float32), grid), LabelMap(array, grid, LABELS)


def doubt(expected: float | None, *, percentile: float = 40.0) -> dict[str, Any]:
    """Return the entry of run.json about how well the labels are expected to be."""
    slices = [{"plane": "axial", "index": index, "agreement": 0.5 + index / 100} for index in range(6, 16)]
    known = {"interval_ml": [0.5, 3.0], "training_range_ml": [0.5, 3.0], "plane_agreement": 0.9, "soft_dice": 0.9}
    return {
        "expected_dice": expected,
        "interval": None if expected is None else [expected - 0.1, expected + 0.05],
        "coverage": 0.9,
        "held_out_cases": 52,
        "soft_dice": 0.9,
        "plane_agreement": 0.9,
        "percentile": percentile,
        "reasons": [],
        "slices": [{"plane": "sagittal", "index": 29, "agreement": 0.4}, *slices],
        "labels": {"ball": {**known, "surface_sd_mm": [0.3, 0.981]}, "bar": {**known, "training_range_ml": [2.0, 3.0]}},
    }


def unsure_at_the_bar(labels: LabelMap) -> Volume:
    """Return how unsure each voxel is: 0.9 within the bar, and nothing elsewhere."""
    return Volume(np.where(labels.array == 2, 0.9, 0).astype(np.float32), labels.grid)


def write_case(
    output: Path,
    name: str,
    scan: Volume,
    labels: LabelMap,
    *,
    input_: Path | None = None,
    unsure: Volume | None = None,
    **facts: Any,
) -> Path:
    """Write the folder of a case, and its scan beside the output folder unless that is there."""
    path = input_ or output.parent / "scans" / f"{name}.nii.gz"
    if input_ is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        volseg.write(scan, path)
    folder = output / name
    folder.mkdir(parents=True)
    volseg.write(labels, folder / "labels.nii.gz")
    if unsure is not None:
        volseg.write(unsure, folder / "doubt.nii.gz")
    written = {file.name: state_of(file).model_dump() for file in sorted(folder.iterdir())}
    record = {
        "case": name,
        "input": [f"scans/{path.name}"],
        "made_by": {"strict": False, "only": None, "model": ["f", "0123456789abcdef", 1.0]},
        "scan": find_scan_files([path]).record().model_dump(),
        "versions": {"volseg": "0.1.0"},
        "model": "model.safetensors",
        "channels": [{"name": "PATIENT^NAME", "modality": "MR"}],
        "files": [*written, "run.json"],
        "written": written,
        **facts,
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
