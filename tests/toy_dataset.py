"""A tiny dataset to train on: a bright ball and a dark bar in noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io import write

LABELS = (Label(2, "ball", (200, 60, 60)), Label(7, "bar", (60, 60, 200)))


def write_case(folder: Path, name: str, *, seed: int, spacing: tuple[float, float, float] = (1.0, 1.0, 3.0)) -> None:
    """Write a scan with a bright ball and a dark bar, and its label map."""
    random = np.random.default_rng(seed)
    shape = (24, 20, 8)
    grid = Grid.from_spacing(shape, spacing, origin=(5, -7, 11))
    index = np.indices(shape)
    centre = np.array([8, 8, 4]) + random.integers(-2, 3, size=3) * (1, 1, 0)
    ball = sum((index[a] - centre[a]) ** 2 * (1, 1, 6)[a] for a in range(3)) < 20
    bar = (index[0] >= 16) & (index[0] < 20) & (index[1] > 4 + seed % 3)
    labels = np.where(ball, 2, np.where(bar, 7, 0)).astype(np.uint8)
    scan = 100 * ball - 80 * bar + random.normal(0, 10, size=shape)
    write(Volume(scan.astype(np.float32), grid), folder / "imagesTr" / f"{name}.nii.gz")
    write(LabelMap(labels, grid, LABELS), folder / "labelsTr" / f"{name}.nii.gz")


def write_dataset(folder: Path, *, cases: int = 6, spacing: tuple[float, float, float] = (1.0, 1.0, 3.0)) -> Path:
    """Write cases in the layout of the Medical Segmentation Decathlon."""
    names = [f"toy_{n}" for n in range(cases)]
    for seed, name in enumerate(names):
        write_case(folder, name, seed=seed, spacing=spacing)
    content = {
        "name": "Toy",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "2": "ball", "7": "bar"},
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names],
    }
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
