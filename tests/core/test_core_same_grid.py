"""Wherever two files must lie on the same grid, it is one rule that says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from volseg.cases.surfaces import kept_probabilities
from volseg.conversion import convert
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.datasets import read_dataset
from volseg.datasets.check import check_dataset
from volseg.errors import VolsegError
from volseg.evaluation import evaluate
from volseg.io import write
from volseg.io.images.itk import write_seg_nrrd
from volseg.io.images.nifti import write_nifti
from volseg.prediction.prepare import common_grid
from volseg.verification import verify
from volseg.verification.placement import compare_grids
from volseg.view.sheet_slices import select_slices

SHAPE = (6, 7, 8)
BODY = np.zeros(SHAPE, dtype=np.uint8)
BODY[2:4, 2:5, 3:6] = 1


def accepts(door: Callable[..., object], *arguments: object) -> bool:
    try:
        door(*arguments)
    except VolsegError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    degrees=st.sampled_from((0, 10, 45, 45.00001)),
    part=st.sampled_from((1e-6, 0.01, 0.045, 0.049, 0.051, 0.055, 0.4)),
    orientation=st.sampled_from(("RAS", "LPS", "PIR")),
)
def test_grids_that_one_door_accepts_all_accept(seed: int, degrees: float, part: float, orientation: str) -> None:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() @ np.diag(10 ** rng.uniform(-1, 1, 3))
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    grid, step = Grid(SHAPE, affine), rng.normal(size=3)
    affine[:3, 3] += part * min(grid.spacing) * step / np.linalg.norm(step)
    # So little that near 45 degrees the axes may be called otherwise.
    affine[:3, :3] = Rotation.from_euler("z", 1e-9 * rng.normal()).as_matrix() @ affine[:3, :3]
    other = Grid(SHAPE, affine)
    same = grid.is_close(other)
    assert same == (part < 0.05) == other.is_close(grid)
    scan, channel = Volume(BODY, grid, name="a"), Volume(BODY, other, name="b")
    assert accepts(common_grid, [scan, channel]) == accepts(common_grid, [channel, scan]) == same
    assert (compare_grids(grid, other).relation == "same grid") == same
    ours, theirs = LabelMap.from_array(BODY, grid), LabelMap.from_array(BODY, other)
    turned = LabelMap.from_array(*reorient(BODY, other, orientation))
    for pair in ((ours, theirs), (theirs, ours), (ours, turned), (turned, ours)):
        assert accepts(evaluate, *pair) == same
    for labels in (theirs, turned):
        assert accepts(partial(select_slices, count=3), scan, [labels]) == same


@pytest.mark.parametrize(("off_mm", "same"), [(0.006, True), (0.014, True), (0.016, False), (0.2, False)])
def test_files_that_one_command_accepts_all_accept(
    tmp_path: Path, off_mm: float, same: bool, caplog: pytest.LogCaptureFixture
) -> None:
    grid = Grid.from_spacing(SHAPE, (0.3, 0.3, 0.5), (-80, 100, -40))
    other = Grid.from_spacing(SHAPE, grid.spacing, np.add(grid.origin, [0, off_mm, 0]))
    scan, label = tmp_path / "set/imagesTr/a.nii.gz", tmp_path / "set/labelsTr/a.nii.gz"
    write(Volume(100 * BODY, grid), scan)
    write(LabelMap.from_array(BODY, other), label)
    assert accepts(check_dataset, read_dataset(tmp_path / "set")) == same
    write(LabelMap.from_array(BODY, grid), tmp_path / "predicted.nii.gz")
    assert accepts(evaluate, tmp_path / "predicted.nii.gz", label) == same
    assert verify(scan, label).agrees == verify(label, scan).agrees == same
    layers = [LabelMap.from_array(BODY, g) for g in (grid, other)]
    assert accepts(write_seg_nrrd, layers, tmp_path / "layers.seg.nrrd") == same
    with caplog.at_level(logging.WARNING):
        convert(label, tmp_path / "moved.nii.gz", image=scan)
    assert ("lies on another grid than the image" not in caplog.text) == same
    write_nifti(BODY[..., None].astype(np.float32), other, tmp_path / "case/probabilities.nii.gz")
    found = kept_probabilities(tmp_path / "case/labels.nii.gz", LabelMap.from_array(BODY, grid))
    assert (found is not None) == same
