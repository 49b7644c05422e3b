"""Read a scan and see where it lies in the patient.

    python examples/01_read_a_scan.py [SCAN]

SCAN is a NIfTI, NRRD or DICOM file or a folder of DICOM slices; without it, a DICOM series is made first.
"""

import sys
import tempfile
from pathlib import Path

import volseg
from volseg.io.dicom.writing import write_dicom_series
from volseg.phantoms import make_ct_phantom


def main(path: Path) -> None:
    scan = volseg.read(path)
    print(f"{scan.name}: {scan.modality}, {scan.array.dtype}, {scan.grid.describe()}")
    middle = [(n - 1) / 2 for n in scan.grid.shape]
    x, y, z = scan.grid.to_world(middle)
    print(f"its middle voxel lies at {x:.1f}, {y:.1f}, {z:.1f} mm (right, front, head of the patient)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_dicom_series(make_ct_phantom(seed=1).volume, Path(folder))
            main(Path(folder))
