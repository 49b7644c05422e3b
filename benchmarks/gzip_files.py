"""Reading and writing of gzipped NIfTI with ISA-L and with zlib, in turns in one process.

    python benchmarks/gzip_files.py [--shape I J K] [--rounds N]

The scan is a made-up CT with noise (volseg.phantoms), the labels are its organs. Printed are the median CPU
milliseconds of `volseg.write` and `volseg.read`, and the sizes of the files. That both, SimpleITK and nibabel read what
both write is checked.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk  # noqa: N813
from isal.igzip import IGzipFile

import volseg
from volseg.core.volume import Volume
from volseg.files import streams
from volseg.phantoms import make_ct_phantom

CODECS = {"zlib": gzip.GzipFile, "ISA-L": IGzipFile}


def cpu_ms(task: Callable[[], Any]) -> float:
    start = time.process_time()
    task()
    return 1000 * (time.process_time() - start)


def make_things(shape: tuple[int, ...]) -> dict[str, Volume]:
    spacing = [384 / shape[0], 384 / shape[1], 180 / shape[2]]
    phantom = make_ct_phantom(seed=1, grid=volseg.Grid.from_spacing(shape, spacing))
    return {"scan": phantom.volume, "labels": Volume(phantom.labels.array, phantom.labels.grid)}


def check(path: Path, thing: Volume) -> None:
    expected = thing.array
    assert (np.asarray(nibabel.load(path).dataobj) == expected).all()
    assert (expected == sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T).all()
    for codec in CODECS.values():
        streams.GzipFile = codec
        assert (volseg.read(path).array == expected).all()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 256, 60))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| file | write, zlib | ISA-L | ratio | read, zlib | ISA-L | ratio | MB, zlib | ISA-L |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind, thing in make_things(tuple(options.shape)).items():
            taken: dict[str, list[float]] = {}
            paths = {name: Path(folder) / f"{kind}-{name}.nii.gz" for name in CODECS}
            for _ in range(options.rounds):
                for name, codec in CODECS.items():
                    streams.GzipFile = codec
                    taken.setdefault(f"write {name}", []).append(cpu_ms(partial(volseg.write, thing, paths[name])))
                    taken.setdefault(f"read {name}", []).append(cpu_ms(partial(volseg.read, paths[name])))
            cells = []
            for verb in ("write", "read"):
                old, new = (statistics.median(taken[f"{verb} {name}"]) for name in CODECS)
                cells.append(f"{old:.0f} | {new:.0f} | {old / new:.1f}")
            for name in CODECS:
                check(paths[name], thing)
                cells.append(f"{paths[name].stat().st_size / 1e6:.2f}")
            print(f"| {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
