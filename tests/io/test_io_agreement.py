"""The agreement test: one phantom through every door has the same values at the same points of the patient."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from handmade_dicom import write_enhanced, write_mosaic, write_united_imaging
from world import assert_same_in_world, values_at, voxel_centres

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.io import read, read_grid, read_labels, write
from volseg.io.dicom.writing import write_dicom_series

ORIENTATIONS = [
    "".join(pair[flip] for pair, flip in zip(order, flips, strict=True))
    for order in permutations(("RL", "AP", "SI"))
    for flips in product((0, 1), repeat=3)
]
LABELS = (Label(2, "liver", (221, 130, 101), "SCT:10200004"), Label(5, "lesion", (0, 151, 206)))


@pytest.fixture
def scan(oblique_grid: Grid) -> Volume:
    shape = (11, 9, 7)
    array = np.random.default_rng(0).integers(-1000, 3000, shape).astype(np.int16)
    return Volume(array, Grid(shape, oblique_grid.affine), modality="MR")


def _shuffled_series(scan: Volume, folder: Path) -> Path:
    files = write_dicom_series(scan, folder)
    for number, file in zip(np.random.default_rng(1).permutation(len(files)), files, strict=True):
        file.rename(folder / f"IM{number}")
    return folder


SCANS: dict[str, Callable[[Volume, Path], object]] = {
    "scan.nii": write,
    "scan.nii.gz": write,
    "scan.nrrd": write,
    "scan.mha": write,
    "series": _shuffled_series,
    "enhanced.dcm": lambda scan, path: write_enhanced([scan], path, order=[3, 0, 6, 1, 5, 2, 4]),
    "mosaic.dcm": write_mosaic,
    "united.dcm": write_united_imaging,
}


@pytest.mark.parametrize("name", SCANS)
def test_scans_agree(scan: Volume, tmp_path: Path, name: str) -> None:
    SCANS[name](scan, tmp_path / name)
    volume = read(tmp_path / name)
    assert_same_in_world(volume, scan)
    assert read_grid(tmp_path / name).is_close(volume.grid, tolerance_mm=0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_storage_order_agrees(scan: Volume, tmp_path: Path, orientation: str) -> None:
    array, grid = reorient(scan.array, scan.grid, orientation)
    for name in ("scan.nii", "scan.nrrd", "series"):
        SCANS[name](Volume(array, grid, modality="MR"), tmp_path / name)
        assert_same_in_world(read(tmp_path / name), scan)


@pytest.mark.parametrize("source", ["series", "enhanced.dcm"])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "ASR", "SRA", "IPL", "LAI"])
@pytest.mark.parametrize("name", ["l.nii.gz", "l.seg.nrrd", "seg.dcm", "labelmap.dcm", "rtstruct.dcm"])
def test_labels_agree_whatever_the_storage_of_scan_and_labels(
    scan: Volume, tmp_path: Path, source: str, orientation: str, name: str
) -> None:
    SCANS[source](scan, tmp_path / source)
    image = read(tmp_path / source)
    array = np.zeros(scan.grid.shape, np.uint8)
    array[1:6, 2:8, 1:5], array[7:10, 1:4, 3:6], array[3, 4:6, 2:4] = 2, 5, 0
    stored, grid = reorient(array, scan.grid, orientation)
    form = Path(name).stem if name.endswith(".dcm") else None
    write(LabelMap(stored, grid, LABELS), tmp_path / name, image=image if form else None, form=form)
    found = read_labels(tmp_path / name, image=image)
    np.testing.assert_array_equal(values_at(found, voxel_centres(scan.grid)), array.ravel())
    assert [(label.value, label.name) for label in found.labels] == [(2, "liver"), (5, "lesion")]
    assert found.labels[0].code == "SCT:10200004"
    for label, expected in zip(found.labels, LABELS, strict=True):
        assert np.abs(np.subtract(label.colour, expected.colour)).max() <= 3  # through CIELab and 16 bits
