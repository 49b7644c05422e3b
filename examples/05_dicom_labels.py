"""Label a DICOM series and give the labels back as DICOM objects on its own slices.

    python examples/05_dicom_labels.py [OUTPUT] [SERIES]

OUTPUT is a folder; without it, a new temporary one.
SERIES is a folder or zip archive with a CT series; without it, one is made. Voxels brighter than 150 HU are labelled.
The labels are written as a DICOM SEG and an RTSTRUCT, and read back.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import volseg
from volseg.io.dicom.writing import write_dicom_series
from volseg.phantoms import make_ct_phantom


def main(output: Path, series: Path) -> None:
    scan = volseg.read(series)
    bone = volseg.Label(1, "bone", (230, 215, 170), code="SCT:272673000")
    labels = volseg.LabelMap((scan.array > 150).astype(np.uint8), scan.grid, (bone,))
    for form in ("seg", "rtstruct"):
        (path,) = volseg.write(labels, output / f"{form}.dcm", image=scan, form=form)
        back = volseg.read_labels(path, image=scan)
        print(f"{form}: {back.labels[0].name}, same voxels again: {np.array_equal(back.array, labels.array)}")
        print("wrote", path)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="volseg-"))
    if len(sys.argv) < 3:
        write_dicom_series(make_ct_phantom(seed=1).volume, target / "series")
    main(target, Path(sys.argv[2]) if len(sys.argv) > 2 else target / "series")
