"""What every image format must do; each row of the table is run through it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from full_disk import at_most
from world import assert_same_in_world

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import InputError, OutputError, UsageError
from volseg.files.names import CASE_SUFFIXES, IMAGE_FORMATS, SCAN_SUFFIXES, case_name
from volseg.inspection import inspect
from volseg.io import count_volumes, read, read_grid, read_labels, write
from volseg.io.images import open_image, write_image

every_suffix = pytest.mark.parametrize("suffix", SCAN_SUFFIXES)


@pytest.fixture
def scan(oblique_grid: Grid) -> Volume:
    array = np.random.default_rng(0).integers(-1000, 3000, oblique_grid.shape).astype(np.int16)
    return Volume(array, oblique_grid)


def test_the_table() -> None:
    suffixes = [suffix for form in IMAGE_FORMATS for suffix in (*form.suffixes, *form.voxel_suffixes)]
    assert len(suffixes) == len(set(suffixes))
    for form in IMAGE_FORMATS:
        assert set(form.written) <= set(form.suffixes)


@pytest.mark.parametrize("suffix", CASE_SUFFIXES)
def test_a_case_has_the_name_of_its_file(suffix: str) -> None:
    assert case_name(f"scan_v1.2{suffix.upper()}") == "scan_v1.2"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@every_suffix
def test_scans_come_back_in_world_mm(scan: Volume, suffix: str, dtype: type[np.generic], tmp_path: Path) -> None:
    volume = Volume((scan.array % 200).astype(dtype), scan.grid)
    path = tmp_path / f"Aufnahme Ä 1{suffix}"
    assert write(volume, path) == [path]
    back = read(path)
    assert back.array.dtype == dtype
    assert_same_in_world(back, volume)
    assert read_grid(path).is_close(back.grid, tolerance_mm=0)
    assert (count_volumes(path), back.name) == (1, "Aufnahme Ä 1")
    (entry,) = inspect(path, headers=True).entries
    assert (entry.shape, entry.problem) == (volume.grid.shape, None)
    assert entry.dtype in (None, np.dtype(dtype).name)


@every_suffix
def test_label_maps_come_back_with_their_names(oblique_grid: Grid, suffix: str, tmp_path: Path) -> None:
    array = np.zeros(oblique_grid.shape, np.uint8)
    array[2:9, 3:9, 1:5], array[12:15, 3:9, 1:5] = 3, 7
    labels = LabelMap(array, oblique_grid, (Label(3, "liver", (0, 200, 0)), Label(7, "Niere, links", (9, 9, 200))))
    files = write(labels, tmp_path / f"labels{suffix}")
    assert [file.name for file in files] == [f"labels{suffix}", "labels.tsv"]
    back = read_labels(files[0])
    assert back.labels == labels.labels
    np.testing.assert_array_equal(back.array, array)
    assert back.grid.is_close(oblique_grid)


@every_suffix
def test_a_file_cut_short_is_refused(scan: Volume, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write(scan, path)
    content = path.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 20):  # of the last bytes, 8 may be a checksum
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=f"a{suffix}: "):
            read(path)


@every_suffix
def test_noise_is_refused(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(4000)
    for content in (noise, gzip.compress(noise)):
        (tmp_path / f"a{suffix}").write_bytes(content)
        with pytest.raises(InputError, match=f"a{suffix}: "):
            read(tmp_path / f"a{suffix}")


@every_suffix
def test_a_full_disk_leaves_the_old_file(scan: Volume, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write(scan, path)
    before = path.read_bytes()
    noise = Volume(np.random.default_rng(1).integers(-30000, 30000, scan.grid.shape).astype(np.int16), scan.grid)
    with at_most(2000), pytest.raises(OutputError, match=f"a{suffix}: "):
        write(noise, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_names_are_refused(scan: Volume, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected NIfTI, NRRD"):
        open_image(tmp_path / "a.txt")
    with pytest.raises(UsageError, match=r"expected \.nii, "):
        write_image(scan, tmp_path / "a.hdr")
