"""Surfaces of every label of a label map: volseg against scikit-image's marching cubes, in turns in one process.

    python benchmarks/surface_speed.py [LABELS] [--repeats N]

LABELS is a label map file; without it, three organs of a phantom. scikit-image gets each label's mask of the whole
scan, as its examples do, and also the crop that volseg makes; neither is smoothed. The script prints medians and
ratios. VTK runs on one core; with VTK_SMP_BACKEND_IN_USE=STDThread in the environment it runs on all, as in volseg's
commands.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage.measure import marching_cubes

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.io import read_labels
from volseg.phantoms import make_ct_phantom
from volseg.surface import SurfaceSettings, extract_surfaces
from volseg.surface.extract import crop_labels


def phantom_labels() -> LabelMap:
    return make_ct_phantom(seed=0, grid=Grid.from_spacing((180, 180, 90), (2, 2, 3))).labels


def march_whole_scan(labels: LabelMap) -> int:
    present = [crop.label for crop in crop_labels(labels)]
    return sum(len(marching_cubes(np.pad(labels.mask(label), 1).astype(np.float32), 0.5)[1]) for label in present)


def march_crops(labels: LabelMap) -> int:
    masks = (np.pad(crop.mask, 1).astype(np.float32) for crop in crop_labels(labels))
    return sum(len(marching_cubes(mask, 0.5)[1]) for mask in masks)


def count_faces(labels: LabelMap, settings: SurfaceSettings) -> int:
    return sum(len(mesh.faces) for mesh in extract_surfaces(labels, settings))


METHODS: dict[str, Callable[[LabelMap], int]] = {
    "volseg, unsmoothed": lambda labels: count_faces(labels, SurfaceSettings(smooth=False)),
    "skimage, cropped": march_crops,
    "skimage, whole scan": march_whole_scan,
    "volseg, smoothed": lambda labels: count_faces(labels, SurfaceSettings()),
    "volseg, smoothed, a tenth kept": lambda labels: count_faces(labels, SurfaceSettings(simplify=0.1)),
    "volseg, shared walls": lambda labels: count_faces(labels, SurfaceSettings(shared_walls=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    labels = read_labels(options.labels) if options.labels else phantom_labels()
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    faces = {}
    for _ in range(options.repeats):
        for name, method in METHODS.items():
            start = time.perf_counter()
            faces[name] = method(labels)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{labels.grid.describe()}; {sum(1 for _ in crop_labels(labels))} labels; {options.repeats} repeats")
    first = medians["volseg, unsmoothed"]
    for name, median in medians.items():
        print(f"{name:32} {1000 * median:8.0f} ms   {median / first:6.1f} x   {faces[name]:9d} triangles")


if __name__ == "__main__":
    main()
