"""Write the dataset "spine": five lumbar vertebrae in 50 sagittal MR scans with slices of 4 mm.

    python benchmarks/prepare_spine.py REPOSITORY FOLDER

REPOSITORY is github.com/JonathanRamos/fastcleverseg, whose folder VB3 has the scans and manual labels of the database
MyoSegmenTUM (doi 10.1186/s12891-019-2528-x). It has them in voxels of 1 mm, interpolated linearly between slices of
4 mm: three of four slices are a mean of their neighbours. Only the measured slices are written, each fourth, with the
values as they are (8 bits). Four files repeat the scan of another one, and are left out. The repository does not tell
left from right.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np
import scipy.io
from public_sets import SetWriter, arguments

FOLDER = "ImageDatasets/VBs/VB3/Isotropic/Matlab"
LABELS = {"L1": 1, "L2": 2, "L3": 3, "L4": 4, "L5": 5}
STEP = 4
# Rows run downwards, columns from front to back; the direction of the slices is chosen, for right-handed axes.
AFFINE = np.array([[0, 0, -STEP, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]], float)


def check_steps(scan: np.ndarray) -> None:
    """Raise if the slices between each fourth are not their linear interpolation, but for rounding."""
    measured = scan[:, :, ::STEP].astype(float)
    for place in range(1, STEP):
        between = scan[:, :, place::STEP]
        share = place / STEP
        expected = (1 - share) * measured[:, :, :-1] + share * measured[:, :, 1:]
        if between.shape != expected.shape or np.abs(between - expected).max() > 1:
            raise ValueError(f"expected slices that are interpolated between each {STEP}th; got others")


def main() -> None:
    repository, folder = arguments(__doc__)
    writer, seen = SetWriter(folder, LABELS), set[str]()
    for name in repository.names(FOLDER):
        case = scipy.io.loadmat(io.BytesIO(repository.read(f"{FOLDER}/{name}")))
        digest = hashlib.sha256(case["I"].tobytes()).hexdigest()
        if digest in seen:
            print(f"{name}: left out, as another file has the same scan")
            continue
        seen.add(digest)
        check_steps(case["I"])
        scan, labels = (np.ascontiguousarray(case[key][:, :, ::STEP]) for key in ("I", "GT"))
        writer.add(f"spine_{name.removesuffix('.mat')}", scan, labels, AFFINE)
    writer.finish()


if __name__ == "__main__":
    main()
