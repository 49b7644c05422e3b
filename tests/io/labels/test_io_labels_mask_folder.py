"""A folder of masks, one a structure, is one label map; a folder of people's label maps is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.errors import AmbiguousError, InputError
from volseg.io import Catalogue, read_label_layers, read_labels
from volseg.io.images.nifti import write_nifti
from volseg.io.labels.files import find_label_maps, single_label_map
from volseg.io.labels.mask_folder import mask_files
from volseg.io.labels.table import write_label_table

GRID = Grid.from_spacing((6, 5, 4), (1, 2, 3), (7, 8, 9))


def saved(folder: Path, names: Sequence[str], masks: np.ndarray | None = None, grid: Grid = GRID) -> Path:
    for number, name in enumerate(names):
        mask = np.zeros(grid.shape, np.uint8)
        mask[number % grid.shape[0]] = 1
        write_nifti(mask if masks is None else masks[number], grid, folder / name)
    return folder


STRUCTURES = ["aorta", "kidney_left", "liver", "rib_left_7", "spleen"]


@given(masks=arrays(np.uint8, st.tuples(st.just(5), *map(st.just, GRID.shape)), elements=st.sampled_from([0, 0, 0, 1])))
def test_any_masks_come_back_as_labels_named_by_the_files(tmp_path_factory, masks: np.ndarray) -> None:
    folder = saved(tmp_path_factory.getbasetemp() / "segmentations", [f"{name}.nii" for name in STRUCTURES], masks)
    layers = read_label_layers(folder)
    found = {label.name: layer.array == label.value for layer in layers for label in layer.labels}
    assert set(found) == set(STRUCTURES)
    for name, mask in zip(STRUCTURES, masks, strict=True):
        np.testing.assert_array_equal(found[name], mask == 1)
    assert all(layer.grid.is_close(GRID) for layer in layers)
    assert (len(layers) == 1) == (masks.sum(axis=0, dtype=int).max() <= 1)


def test_values_follow_the_names_or_the_table(tmp_path: Path) -> None:
    folder = saved(tmp_path / "case", ["liver.nii.gz", "Left Kidney.nii.gz", "aorta.mha.nii.gz", "spleen.nii"])
    assert {label.name: label.value for label in read_labels(folder).labels} == {
        "Left Kidney": 1, "aorta.mha": 2, "liver": 3, "spleen": 4
    }  # fmt: skip
    table = [Label(9, "left_kidney", (1, 2, 3)), Label(4, "SPLEEN", (4, 5, 6)), Label(5, "heart", (7, 8, 9))]
    found = read_labels(folder, labels=table)
    assert {label.name: label.value for label in found.labels} == {
        "left_kidney": 9, "SPLEEN": 4, "heart": 5, "aorta.mha": 10, "liver": 11
    }  # fmt: skip
    assert next(label for label in found.labels if label.value == 9).colour == (1, 2, 3)
    assert [label.name for label in read_labels(folder, only=["liver", "s*"]).labels] == ["liver", "spleen"]
    with pytest.raises(InputError, match=r"has no label 'brain'; it has 4: Left Kidney, aorta.mha, liver, spleen"):
        read_labels(folder, only=["brain"])


def test_overlaps_become_layers(tmp_path: Path) -> None:
    folder = saved(tmp_path / "case", ["liver.nii", "liver_tumor.nii"], np.ones((2, *GRID.shape), np.uint8))
    assert [[label.name for label in layer.labels] for layer in read_label_layers(folder)] == [
        ["liver"],
        ["liver_tumor"],
    ]
    with pytest.raises(AmbiguousError, match="its labels overlap"):
        read_labels(folder)


@pytest.mark.parametrize(
    "names",
    [
        ["case_001.nii.gz", "case_002.nii.gz"],
        ["liver_0.nii.gz", "liver_1.nii.gz", "liver_12.nii.gz"],  # Decathlon calls its cases so
        ["hippocampus_001.nii.gz", "hippocampus_003.nii.gz"],
        ["anna.nii.gz", "ben.nii.gz", "carla.nii.gz"],
        ["sub-01_dseg.nii.gz", "sub-02_dseg.nii.gz"],
        ["liver.nii.gz", "sub-01.nii.gz"],
        ["liver.nii.gz"],
        ["liver.nii.gz", "liver.nii"],
        ["liver.seg.nrrd.nii", "s1.nii", "s2.nii"],
    ],
)
def test_binary_label_maps_of_several_people_on_one_grid_are_cases(tmp_path: Path, names: list[str]) -> None:
    folder = saved(tmp_path / "labels", names)
    assert mask_files(Catalogue(folder)) == {}
    assert single_label_map(Catalogue(folder)) is None
    if len({name.partition(".")[0] for name in names}) == len(names):
        assert len(find_label_maps(folder)) == len(names)
    with pytest.raises(InputError, match="no DICOM files in this folder"):
        read_labels(folder)


def test_other_grids_several_values_or_tables_beside_are_cases_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["liver.nii", "spleen.nii"]
    folder = saved(tmp_path / "grids", names)
    assert mask_files(Catalogue(folder))
    saved(folder, ["spleen.nii"], grid=Grid.from_spacing((6, 5, 4), (1, 2, 3), (7, 8, 10)))
    assert not mask_files(Catalogue(folder))
    assert "1 of 2 files with names of structures lie on another grid than liver.nii" in caplog.text
    values = np.zeros((2, *GRID.shape), np.uint8)
    values[0, 0], values[0, 1] = 1, 2
    assert not mask_files(Catalogue(saved(tmp_path / "values", names, values)))
    tables = saved(tmp_path / "tables", names)
    write_label_table([Label(1, "tumour", (1, 2, 3))], tables / "spleen.tsv")
    assert not mask_files(Catalogue(tables))
    assert list(find_label_maps(tables)) == ["liver", "spleen"]


def test_names_that_only_a_table_knows(tmp_path: Path) -> None:
    folder = saved(tmp_path / "case", ["GTVp 1.nii.gz", "blob.nii.gz"])
    assert not mask_files(Catalogue(folder))
    assert list(mask_files(Catalogue(folder), known=["gtvp_1", "Blob", "other"])) == ["GTVp 1", "blob"]
    table = [Label(3, "GTVp 1", (1, 2, 3)), Label(1, "blob", (4, 5, 6))]
    assert {label.name: label.value for label in read_labels(folder, labels=table).labels} == {"blob": 1, "GTVp 1": 3}


def test_one_mask_is_a_label_map_if_a_table_names_it(tmp_path: Path) -> None:
    saved(tmp_path / "a", ["Blob.nii.gz"])
    saved(tmp_path / "b", ["blob.nii.gz", "other.nii.gz"])
    assert find_label_maps(tmp_path) == {}
    assert find_label_maps(tmp_path, known=["blob", "other"]) == {"a": tmp_path / "a", "b": tmp_path / "b"}
    assert [label.value for label in read_labels(tmp_path / "a", labels=[Label(4, "blob", (1, 2, 3))]).labels] == [4]
    assert find_label_maps(tmp_path / "a", known=["thing"]) == {"Blob": tmp_path / "a" / "Blob.nii.gz"}


def test_a_scan_among_masks_is_said(tmp_path: Path) -> None:
    folder = saved(tmp_path / "case", ["aorta.nii", "liver.nii", "spleen.nii"])
    scan = np.arange(np.prod(GRID.shape), dtype=np.int16).reshape(GRID.shape)
    write_nifti(scan, GRID, folder / "ct.nii")
    with pytest.raises(
        InputError, match=r"ct.nii: holds 119 values beside 0, among masks; .* move it out of the folder"
    ):
        read_labels(folder)


def test_cases_of_masks_are_found_in_both_layouts_of_totalsegmentator(tmp_path: Path) -> None:
    saved(tmp_path / "out" / "s0001", ["liver.nii.gz", "spleen.nii.gz"])
    saved(tmp_path / "out" / "s0002" / "segmentations", ["liver.nii.gz", "spleen.nii.gz"])
    saved(tmp_path / "out" / "s0002", ["ct.nii.gz"])
    found = find_label_maps(tmp_path / "out")
    assert found == {"s0001": tmp_path / "out/s0001", "s0002": tmp_path / "out/s0002/segmentations"}
    assert find_label_maps(tmp_path / "out/s0002") == {"s0002": tmp_path / "out/s0002/segmentations"}
