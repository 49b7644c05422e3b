"""How far surfaces of thinned label maps lie from those of the fine ones: volseg, scikit-image, Slicer, SurfaceNets.

    python benchmarks/surfaces_thinned.py LABELS... [--every 3,4,5] [--most N] [--json FILE]

Every third, fourth and fifth slice of each label map (files, or folders of them) along its third axis is kept, as in a
scan with thicker slices. The reference is scikit-image's marching cubes of all slices, cut to the box of the thick
ones. The script prints means over labels: mm from the surface to the reference (mean, 95th percentile by area), the
largest distance both ways, and the number of labels whose surface has another number of pieces than their voxels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy import ndimage
from surfaces import METHODS

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.surface.smooth import connected_pieces

FEWEST_VOXELS = 20
COMPARED = ("volseg", "skimage", "Slicer", "SurfaceNets")
COLUMNS = ("mean mm", "p95 mm", "max mm", "other pieces")


def thinned(labels: LabelMap, every: int) -> tuple[LabelMap, LabelMap]:
    """Return the middle slice of each `every` slices as a label map, and the fine one cut to the same box."""
    count = labels.grid.shape[2] // every
    first = every // 2
    array = labels.array[:, :, first : count * every : every]
    affine = labels.grid.affine @ np.diag([1.0, 1.0, every, 1.0])
    affine[:3, 3] = labels.grid.to_world((0, 0, first))
    shape = (*array.shape[:2], count)
    # If `every` is even, the kept slice lies half a fine slice off the middle, and so does the box.
    low = first - (every - 1) // 2 if every % 2 else first - every // 2
    high = low + count * every
    fine = labels.array[:, :, low:high]
    box = labels.grid.crop((0, 0, low), (*labels.grid.shape[:2], high))
    return LabelMap(array, Grid(shape, affine), labels.labels), LabelMap(fine, box, labels.labels)


def pieces_of(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the number of pieces connected by faces, and by corners too."""
    return ndimage.label(mask)[1], ndimage.label(mask, np.ones((3, 3, 3)))[1]


def outer_shells(mesh: Mesh) -> int:
    """Return how many connected surfaces enclose something."""
    numbers = connected_pieces(mesh.faces, len(mesh.vertices))[mesh.faces[:, 0]]
    a, b, c = (mesh.vertices[mesh.faces[:, n]] for n in range(3))
    volumes = np.bincount(numbers, weights=np.einsum("ij,ij->i", a, np.cross(b, c)) / 6)
    return int(np.count_nonzero(volumes > 0))


def away(mesh: Mesh, other: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances from the middles of triangles to another surface, and their areas."""
    corners = mesh.vertices[mesh.faces]
    middles = corners.mean(axis=1)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    surface = pv.PolyData.from_regular_faces(other.vertices, other.faces)
    _, nearest = surface.find_closest_cell(middles, return_closest_point=True)
    return np.linalg.norm(np.asarray(nearest) - middles, axis=1), areas


def grade(mesh: Mesh, reference: Mesh, mask: NDArray[np.bool_]) -> list[float]:
    there, areas = away(mesh, reference)
    back, _ = away(reference, mesh)
    order = np.argsort(there)
    p95 = there[order][np.searchsorted(np.cumsum(areas[order]), 0.95 * areas.sum())]
    few, many = sorted(pieces_of(mask))
    other = not few <= outer_shells(mesh) <= many
    return [(there * areas).sum() / areas.sum(), p95, max(there.max(), back.max()), float(other)]


def rows_of(labels: LabelMap, every: int) -> Iterator[tuple[str, dict[str, list[float]]]]:
    thick, fine = thinned(labels, every)
    for label in labels.labels:
        mask = thick.mask(label)
        if np.count_nonzero(mask) < FEWEST_VOXELS or not fine.mask(label).any():
            continue
        alone = LabelMap(mask.astype(np.uint8), thick.grid, (volseg.Label(1, label.name, label.colour),))
        full = LabelMap(fine.mask(label).astype(np.uint8), fine.grid, alone.labels)
        (reference,) = METHODS["skimage"](full, ())
        yield label.name, {name: grade(METHODS[name](alone, ())[0], reference, mask) for name in COMPARED}


def files_of(paths: list[Path], most: int | None) -> list[Path]:
    found = [file for path in paths for file in (sorted(path.glob("*.nii*")) if path.is_dir() else [path])]
    if most is None or len(found) <= most:
        return found
    return [found[n] for n in np.linspace(0, len(found) - 1, most).astype(int)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, nargs="+")
    parser.add_argument("--every", default="3,4,5")
    parser.add_argument("--most", type=int, help="number of files, spread evenly")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    maps = [volseg.read_labels(file) for file in files_of(options.labels, options.most)]
    rows = []
    print(f"{'every':>5} {'label':12} {'method':12}" + "".join(f"{name:>14}" for name in COLUMNS))
    for every in (int(n) for n in options.every.split(",")):
        grades: dict[str, list[list[float]]] = {name: [] for name in COMPARED}
        for labels in maps:
            for _, found in rows_of(labels, every):
                for name, values in found.items():
                    grades[name].append(values)
        for name, values in grades.items():
            means = np.mean(values, axis=0)
            means[3] *= len(values)
            rows.append(
                {"every": every, "method": name, "labels": len(values)}
                | dict(zip(COLUMNS, means.round(4).tolist(), strict=True))
            )
            print(f"{every:5} {len(values):12} {name:12}" + "".join(f"{value:14.3f}" for value in means), flush=True)
    if options.json:
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.json.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
