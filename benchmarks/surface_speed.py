"""Surfaces of every label of a label map: volseg against scikit-image's marching cubes, in turns in one process.

    python benchmarks/surface_speed.py [LABELS] [--shape I J K] [--repeats N] [--only METHOD ...]

LABELS is a label map file; without it, the organs of a phantom. With --shape its voxels are repeated to that many.
scikit-image gets each label's mask of the whole scan, as its examples do, and also the crop that volseg makes; neither
is smoothed. The script prints medians and ratios, of time on the clock and of CPU time, which says more where other
programs run: volseg takes up to four cores, a label on each, and scikit-image one. VTK runs on one core; with
VTK_SMP_BACKEND_IN_USE=STDThread in the environment it runs on all, as in volseg's commands. --only takes the methods
whose names hold one of the texts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage.measure import marching_cubes

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.io import read_labels
from volseg.io.mesh import write_meshes
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


def write_stl_files(labels: LabelMap) -> int:
    meshes = extract_surfaces(labels)
    with tempfile.TemporaryDirectory() as folder:
        write_meshes(meshes, folder)
    return sum(len(mesh.faces) for mesh in meshes)


def repeated(labels: LabelMap, shape: tuple[int, int, int]) -> LabelMap:
    """Return a label map of another shape in the same place, by its nearest voxels."""
    places = [np.arange(count) * old // count for count, old in zip(shape, labels.grid.shape, strict=True)]
    sizes = np.divide(labels.grid.shape, shape)
    to_old = np.diag([*sizes, 1.0])
    to_old[:3, 3] = (sizes - 1) / 2
    grid = Grid(shape, labels.grid.affine @ to_old)
    return LabelMap(np.asfortranarray(labels.array[np.ix_(*places)]), grid, labels.labels)


METHODS: dict[str, Callable[[LabelMap], int]] = {
    "volseg, unsmoothed": lambda labels: count_faces(labels, SurfaceSettings(smooth=False)),
    "skimage, cropped": march_crops,
    "skimage, whole scan": march_whole_scan,
    "volseg, smoothed": lambda labels: count_faces(labels, SurfaceSettings()),
    "volseg, smoothed, STL files": write_stl_files,
    "volseg, smoothed and graded": lambda labels: count_faces(labels, SurfaceSettings(report=True)),
    "volseg, smoothed, a tenth kept": lambda labels: count_faces(labels, SurfaceSettings(simplify=0.1)),
    "volseg, shared walls": lambda labels: count_faces(labels, SurfaceSettings(shared_walls=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path)
    parser.add_argument("--shape", nargs=3, type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[""])
    options = parser.parse_args()
    labels = read_labels(options.labels) if options.labels else phantom_labels()
    if options.shape:
        labels = repeated(labels, tuple(options.shape))
    methods = {name: method for name, method in METHODS.items() if any(text in name for text in options.only)}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    faces = {}
    for _ in range(options.repeats):
        for name, method in methods.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            faces[name] = method(labels)
            seconds[name].append((time.perf_counter() - start, time.process_time() - cpu_start))
    print(f"{labels.grid.describe()}; {sum(1 for _ in crop_labels(labels))} labels; {options.repeats} repeats")
    print(f"{'':32} {'clock':>8}      {'CPU':>8}   times the first")
    first = None
    for name, times in seconds.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        first = first or cpu
        print(f"{name:32} {wall:8.2f} s  {cpu:8.2f} s   {cpu / first:6.1f} x   {faces[name]:9d} triangles")


if __name__ == "__main__":
    main()
