"""Write a dataset of made-up vessel trees, thin and branching, in noise: where a network tends to leave gaps.

    python benchmarks/vessel_phantoms.py FOLDER [--cases 50]

FOLDER is a dataset for `volseg train FOLDER`. The scans have 48 x 48 x 48 voxels of 1 mm, and vessels of radius 0.9 to
2.4 mm. The vessels are 100 above a background that varies smoothly by 20 (one standard deviation), blurred by 0.6
voxels, with noise of 25. Every reference is one piece without tunnels and cavities, so each further piece, tunnel or
cavity of a prediction is an error.
"""

import argparse
from pathlib import Path

import numpy as np
from accuracy import count_errors
from numpy.typing import NDArray
from scipy import ndimage

from volseg import Grid, Label, LabelMap, Volume, write
from volseg.io.labels.table import write_label_table
from volseg.phantoms.shapes import Capsule, touched_box

SIZE, STEP_MM = 48, 4.0
LARGEST_MM, SMALLEST_MM = 2.4, 0.9  # at 0.87 mm and more, no piece of a vessel can pass between voxel centres
GRID = Grid.from_spacing((SIZE, SIZE, SIZE), (1, 1, 1), (0, 0, 0))
VESSEL = Label(1, "vessel", (220, 60, 50))


def grow(random: np.random.Generator) -> list[Capsule]:
    """Grow a tree from the foot of the volume: it bends, becomes thinner and forks, until it leaves or is too thin."""
    start = np.array([*random.uniform(0.3, 0.7, 2) * SIZE, 2.0])
    waiting, pieces = [(start, np.array([0.0, 0.0, 1.0]), LARGEST_MM)], []
    while waiting:
        place, direction, radius = waiting.pop()
        direction = direction + random.normal(0, 0.3, 3)
        direction /= np.linalg.norm(direction)
        end = place + STEP_MM * direction
        if radius < SMALLEST_MM or (end < 2).any() or (end > SIZE - 3).any():
            continue
        pieces.append(Capsule(tuple(place), tuple(end), radius))
        waiting.append((end, direction, 0.95 * radius))
        if random.random() < 0.35:
            waiting.append((end, direction + random.normal(0, 0.9, 3), 0.8 * radius))
    return pieces


def distance_mm(pieces: list[Capsule]) -> NDArray[np.float64]:
    """Signed distance of every voxel centre to the tree, negative inside; at most 3 mm outside."""
    distance = np.full(GRID.shape, 3.0)
    for piece in pieces:
        around = Capsule(piece.start_mm, piece.end_mm, piece.radius_mm + 3)
        box = touched_box(around, GRID)
        points = GRID.to_world(np.moveaxis(np.mgrid[box], 0, -1))
        distance[box] = np.minimum(distance[box], piece.distance_mm(points))
    return distance


def make_case(seed: int) -> tuple[Volume, LabelMap]:
    random = np.random.default_rng(seed)
    while True:  # trees whose branches touch, or that are too small to matter, are drawn again
        distance = distance_mm(grow(random))
        labels = LabelMap((distance <= 0).astype(np.uint8), GRID, [VESSEL])
        if labels.array.sum() >= 1500 and count_errors(labels) == (0, 0):
            break
    texture = ndimage.gaussian_filter(random.normal(size=GRID.shape), 3)
    clean = 100 * np.clip(0.5 - distance, 0, 1) + 20 * texture / texture.std()
    scan = ndimage.gaussian_filter(clean, 0.6) + random.normal(0, 25, GRID.shape)
    return Volume(np.round(scan).astype(np.int16), GRID), labels


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=50)
    options = parser.parse_args()
    for number in range(options.cases):
        scan, labels = make_case(number)
        write(scan, options.folder / "imagesTr" / f"vessels_{number:03d}.nii.gz")
        write(labels, options.folder / "labelsTr" / f"vessels_{number:03d}.nii.gz")
    write_label_table([VESSEL], options.folder / "labels.tsv")
