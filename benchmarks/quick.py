"""The quick version of the speed benchmarks, one after the other: small inputs, one round, a few minutes in all.

    python benchmarks/quick.py [--nnunet PYTHON]

It shows that they run, and rough ratios; figures worth quoting need their full sizes and a machine at rest. Nothing is
needed but volseg with its `test` extra. PYTHON is that of an environment with nnU-Net v2, whose predictor is left out
otherwise.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
COMMANDS = (
    "end_to_end.py --side 192 --slices 8",
    "losses.py 1",
    "threads.py 2",
    "gzip_files.py --shape 128 128 40 --rounds 1",
    "dicom_reading.py --slices 20 --repeats 1 --syntax uncompressed",
    "surface_speed.py --repeats 1",
    "metrics.py --size 96 --repeats 1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nnunet", help="Python of an environment with nnU-Net v2")
    options = parser.parse_args()
    failed = []
    for command in COMMANDS:
        script, *arguments = command.split()
        if options.nnunet and script == "end_to_end.py":
            arguments += ["--nnunet", options.nnunet]
        print(f"\n== {command}\n", flush=True)
        start = time.monotonic()
        # `threads.py` chooses the number of threads itself.
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        if subprocess.run([sys.executable, str(HERE / script), *arguments], env=environment).returncode:
            failed.append(script)
        print(f"\n({time.monotonic() - start:.0f} s)", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
