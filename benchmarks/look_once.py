"""CPU seconds of commands that look at a study, in this checkout and in an older one, in turns.

    python benchmarks/look_once.py OLDER_CHECKOUT [--repeats N]

The study is a made-up CT series of 200 slices of 256 x 256 with a structure set, and the series as NIfTI. Every command
runs in a process of its own, with one thread. Printed are medians of its CPU seconds, imports included.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parents[1]
STUDY = """
import numpy as np, volseg
grid = volseg.Grid.from_spacing((256, 256, 200), (1, 1, 2), (0, 0, 0))
array = np.random.default_rng(0).integers(-1000, 1000, grid.shape).astype(np.int16)
volseg.write(volseg.Volume(array, grid, modality="CT"), "ct")
scan = volseg.read("ct")
volseg.write(scan, "scan.nii.gz")
labels = np.zeros(grid.shape, np.uint8)
labels[50:100, 50:100, 20:150] = 1
cube = volseg.LabelMap(labels, scan.grid, (volseg.Label(1, "cube", (200, 0, 0)),))
volseg.write(cube, "ct/RS.dcm", image=scan, form="rtstruct")
"""
COMMANDS = {
    "import volseg": "import volseg",
    "volseg --help": "import sys; sys.argv = ['volseg', '--help']; from volseg.cli import main; main()",
    "read DICOM": "import volseg; volseg.read('ct')",
    "read NIfTI": "import volseg; volseg.read('scan.nii.gz')",
    "convert": "import volseg; volseg.convert('ct', 'labels.nii.gz', image='ct', overwrite=True)",
    "verify": "import volseg; volseg.verify('ct', 'ct/RS.dcm')",
    "inspect headers": "import volseg; volseg.inspect('ct', headers=True)",
}


def cpu_seconds(checkout: Path, code: str, folder: str) -> float:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("older", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    older = arguments.older.resolve()
    print(f"{'command':16} {'older':>6} {'here':>6} {'ratio':>6}")
    with TemporaryDirectory() as folder:
        cpu_seconds(older, STUDY, folder)
        for name, code in COMMANDS.items():
            seconds: dict[Path, list[float]] = {older: [], HERE: []}
            for _ in range(arguments.repeats):
                for checkout, taken in seconds.items():
                    taken.append(cpu_seconds(checkout, code, folder))
            before, now = (statistics.median(taken) for taken in seconds.values())
            print(f"{name:16} {before:6.2f} {now:6.2f} {now / before:6.2f}", flush=True)


if __name__ == "__main__":
    main()
