"""The longest diameters of a body: volseg's search against all pairs of the convex hull's points, CPU seconds.

    python benchmarks/measure_speed.py [LABELS]

LABELS is a label map file; without it, bodies of known shape are measured. The script prints the CPU seconds of the
surface alone, of `measure`, and of `measure` with the longest diameters from all pairs of hull points, and the largest
difference between the two diameters in mm.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from volseg.core.grid import Float, Grid
from volseg.core.labelmap import LabelMap
from volseg.io import read_labels
from volseg.phantoms import Ellipsoid, rasterise
from volseg.surface import extract_surfaces, measure, measurement


def bodies() -> Iterable[tuple[str, LabelMap]]:
    for name, radii, grid in (
        ("ball, 1 mm", (80, 80, 80), Grid.from_spacing((170, 170, 170), (1, 1, 1))),
        ("ball, 0.5 mm", (80, 80, 80), Grid.from_spacing((340, 340, 340), (0.5, 0.5, 0.5))),
        ("ellipsoid, 1 mm", (80, 50, 30), Grid.from_spacing((170, 110, 70), (1, 1, 1))),
        ("disc on 10 mm slices", (11.5, 11.5, 15), Grid.from_spacing((120, 120, 9), (0.2, 0.2, 10))),
        ("needle, 0.5 mm", (80, 4, 4), Grid.from_spacing((340, 24, 24), (0.5, 0.5, 0.5))),
    ):
        yield name, rasterise({"body": Ellipsoid(tuple(grid.corners().mean(axis=0)), radii)}, grid)


def of_all_pairs(points: Float) -> float:
    try:
        ends = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # all in one plane
        centred = points - points.mean(axis=0)
        ends = points[ConvexHull(centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T).vertices]
    return max(float(cdist(ends[n : n + 1000], ends).max()) for n in range(0, len(ends), 1000))


def measure_by_all_pairs(labels: LabelMap) -> list[measurement.Measurement]:
    def within(sets: Iterable[Float]) -> float:
        return max((of_all_pairs(points) for points in sets if len(points)), default=0.0)

    with patch.multiple(measurement, longest_distance=of_all_pairs, longest_within=within):
        return measure(labels)


def timed(function: Callable[[LabelMap], Any], labels: LabelMap) -> tuple[float, Any]:
    start = time.process_time()
    result = function(labels)
    return time.process_time() - start, result


def diameters(measured: list[measurement.Measurement]) -> list[float]:
    extents = [e for entry in measured for e in (entry.by_voxels, entry.by_surface) if e]
    return [mm for extent in extents for mm in (extent.longest_mm, extent.longest_axial_mm)]


def main() -> None:
    given = [(Path(path).name, read_labels(path)) for path in sys.argv[1:]]
    print(f"{'CPU seconds':24} {'surface':>8} {'measure':>8} {'all pairs':>10} {'difference, mm':>16}")
    for name, labels in given or bodies():
        extract_surfaces(labels)  # libraries are loaded
        surface_s, _ = timed(extract_surfaces, labels)
        ours_s, ours = timed(measure, labels)
        all_s, theirs = timed(measure_by_all_pairs, labels)
        worst = np.abs(np.subtract(diameters(ours), diameters(theirs))).max()
        print(f"{name[:24]:24} {surface_s:8.2f} {ours_s:8.2f} {all_s:10.2f} {worst:16.1e}", flush=True)


if __name__ == "__main__":
    main()
