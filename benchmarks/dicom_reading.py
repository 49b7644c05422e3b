"""Read a CT series of 300 slices of 512 x 512: volseg against SimpleITK and a plain pydicom loop, in turns.

    python benchmarks/dicom_reading.py [--slices N] [--repeats N] [--syntax NAME ...]

The series is a made-up CT (volseg.phantoms), written in shuffled order to a temporary folder, uncompressed and
compressed without loss. The three read the same values, which is checked. volseg decodes compressed pixels in processes
of their own, whose start is counted. The pydicom loop is the usual one: read, sort by position, stack
`pixel_array * slope + intercept`.
Prints medians and the peers' times as multiples of volseg's.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

import volseg
from volseg.core.grid import Grid
from volseg.io.dicom.writing import write_dicom_series
from volseg.phantoms import make_ct_phantom

SYNTAXES = {"uncompressed": None, "RLE": RLELossless, "JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless}


def write_series(folder: Path, slices: int) -> None:
    scan = make_ct_phantom(seed=0, grid=Grid.from_spacing((512, 512, slices), (0.75, 0.75, 1.0))).volume
    files = write_dicom_series(scan, folder)
    names = [f"{number:06d}.dcm" for number in range(len(files))]
    random.Random(0).shuffle(names)
    for file, name in zip(files, names, strict=True):
        file.rename(file.with_name(f"IM{name}"))


def compress(folder: Path, source: Path, syntax: str) -> None:
    folder.mkdir()
    for file in source.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.compress(syntax)
        dataset.save_as(folder / file.name)


def by_volseg(folder: Path) -> NDArray[Any]:
    return volseg.read(folder).array


def by_simpleitk(folder: Path) -> NDArray[Any]:
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return sitk.GetArrayFromImage(sitk.ReadImage(names)).T


def by_pydicom(folder: Path) -> NDArray[Any]:
    slices = [pydicom.dcmread(file) for file in folder.iterdir()]
    slices.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    values = [dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept for dataset in slices]
    return np.stack(values, axis=-1).transpose(1, 0, 2)


METHODS: dict[str, Callable[[Path], NDArray[Any]]] = {
    "volseg": by_volseg,
    "SimpleITK": by_simpleitk,
    "pydicom loop": by_pydicom,
}


def measure(folder: Path, repeats: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(repeats):
        arrays = {}
        for name, method in METHODS.items():
            start = time.perf_counter()
            arrays[name] = method(folder)
            seconds[name].append(time.perf_counter() - start)
        for name, array in arrays.items():
            if not np.array_equal(array, arrays["volseg"]):
                raise SystemExit(f"{name} reads other values")
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--syntax", nargs="+", choices=SYNTAXES, default=list(SYNTAXES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain"
        write_series(plain, options.slices)
        print(f"{options.slices} slices of 512x512, {options.repeats} repeats; seconds, and as multiples of volseg's")
        for name in options.syntax:
            folder = plain
            if SYNTAXES[name] is not None:
                folder = Path(scratch) / name
                compress(folder, plain, SYNTAXES[name])
            medians = measure(folder, options.repeats)
            cells = [f"{peer} {median:6.2f} ({median / medians['volseg']:4.2f})" for peer, median in medians.items()]
            print(f"{name:14} {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
