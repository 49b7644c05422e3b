"""One rule decides what is a label map, for every reader: atlases of thousands of values are, scans are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from typer.testing import CliRunner

from volseg.cli import app
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.errors import InputError
from volseg.io import read_labels
from volseg.io.images.nifti import write_nifti
from volseg.io.labels.files import check_labels, names_volume

GRID = Grid.from_spacing((40, 40, 40))
REGIONS = 260  # more than 8 bits tell apart
Random = np.random.Generator


def regions(random: Random, count: int, radius: float = np.inf) -> np.ndarray:
    """Cells around random points, of the largest radius, with values far apart."""
    seeds = np.zeros(GRID.shape, bool)
    seeds.flat[random.choice(seeds.size, count, replace=False)] = True
    distance, nearest = ndimage.distance_transform_edt(~seeds, return_indices=True)
    values = np.zeros(GRID.shape, np.int32)
    values[seeds] = random.choice(60_000, count, replace=False) + 1
    return np.where(distance < radius, values[tuple(nearest)], 0)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), count=st.integers(60, 1500), radius=st.sampled_from([1.1, 1.6, 3, 8, np.inf]))
def test_any_atlas_is_a_label_map(seed: int, count: int, radius: float) -> None:
    array = regions(np.random.default_rng(seed), count, radius)
    check_labels([LabelMap.from_array(array, GRID)], Path("atlas.nii"))


def head(random: Random) -> np.ndarray:
    return ndimage.gaussian_filter(random.normal(size=GRID.shape), 3) * 2000


SCANS: dict[str, Callable[[Random], np.ndarray]] = {
    "noise": lambda random: random.integers(0, 4000, GRID.shape),
    "8 bit": lambda random: np.clip(head(random) * 0.2 + random.normal(scale=4, size=GRID.shape) + 100, 0, 255),
    "CT and 1024": lambda random: np.clip(head(random) + random.normal(scale=20, size=GRID.shape) + 1024, 0, 4095),
    "smooth": lambda random: np.clip(head(random) + 1024, 0, 4095),
    "in a mask": lambda random: np.where(head(random) > 0, random.integers(0, 300, GRID.shape), 0),
}


@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("seed", range(3))
def test_a_scan_is_none(kind: str, seed: int) -> None:
    array = SCANS[kind](np.random.default_rng(seed)).astype(np.uint16)
    with pytest.raises(InputError, match=r"scan.nii: has \d+ different values, as a scan has; .*--labels"):
        check_labels([LabelMap.from_array(array, GRID)], Path("scan.nii"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    write_nifti(regions(random, REGIONS).astype(np.float32), GRID, tmp_path / "atlas.nii.gz")
    write_nifti(SCANS["CT and 1024"](random).astype(np.uint16), GRID, tmp_path / "scan.nii.gz")
    write_nifti(random.normal(size=GRID.shape).astype(np.float32), GRID, tmp_path / "floats.nii.gz")
    return tmp_path


COMMANDS = {
    "mesh {} -o out.stl --no-smooth": "out.stl",
    "measure {} --csv out.csv": "out.csv",
    "evaluate {0} {0} --csv out.csv": "out.csv",
    "view -s {} --contact-sheet out.png": "out.png",
    "convert {} out.seg.nrrd": "out.seg.nrrd",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_atlas_and_refuses_the_scans(command: str, files: Path) -> None:
    for name in ("scan", "floats"):
        result = CliRunner().invoke(app, command.format(f"{name}.nii.gz").split())
        assert result.exit_code == 1, result.output
        assert ("different values, as a scan has" if name == "scan" else "labels are") in result.stderr
        assert not (files / COMMANDS[command]).exists()
    result = CliRunner().invoke(app, command.format("atlas.nii.gz").split())
    assert result.exit_code == 0, result.output
    assert (files / COMMANDS[command]).stat().st_size > 1000


def test_values_of_an_atlas_are_kept(files: Path) -> None:
    assert len(read_labels(files / "atlas.nii.gz").labels) == REGIONS


@pytest.mark.parametrize(
    ("series", "is_one"),
    [("map_0", True), ("map_2_11", True), ("map", False), ("3", False), ("other_1", False), (None, False)],
)
def test_a_volume_says_of_which_file_it_is(series: str | None, is_one: bool) -> None:
    assert names_volume(Path("folder/map.nii.gz"), series) == is_one
