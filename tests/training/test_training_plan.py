"""Planning from the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from volseg.config import load_config
from volseg.errors import DatasetError
from volseg.io.datasets import read_dataset
from volseg.slices import in_plane
from volseg.training.plan import CaseFacts, find_facts, fingerprint, make_plan


def facts(
    *,
    shape: tuple[int, int, int] = (40, 50, 30),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    extent: tuple[float, float, float] = (10.0, 30.0, 12.0),
    lowest: float = 0.0,
) -> CaseFacts:
    return CaseFacts(shape, spacing, extent, (np.linspace(-100, 300, 1001),), (lowest,))


def test_facts_are_in_ras_order_and_mm(dataset_folder: Path) -> None:
    found = [find_facts(case) for case in read_dataset(dataset_folder).cases]
    assert len(found) == 6
    assert found[0].shape == (24, 20, 8)
    np.testing.assert_allclose(found[0].spacing, (1, 1, 3), atol=1e-6)
    # The bar reaches through all 8 slices of 3 mm, and along x from the ball's left edge to its own right edge.
    np.testing.assert_allclose(found[0].extent_mm[2], 24, atol=1e-5)
    assert found[0].foreground[0].size > 100


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1.0, 1.0, 3.0), "axial"), ((1.0, 4.0, 1.0), "coronal"), ((5.0, 1.0, 1.0), "sagittal")],
)
def test_thick_slices_are_cut_across_the_coarse_axis(
    dataset_folder: Path, spacing: tuple[float, float, float], plane: str
) -> None:
    plan = make_plan(load_config(), read_dataset(dataset_folder), [facts(spacing=spacing)])
    assert plan.preparation.plane == plane


def test_isotropic_scans_are_cut_across_the_longest_labels(dataset_folder: Path) -> None:
    plan = make_plan(load_config(), read_dataset(dataset_folder), [facts()])
    assert plan.preparation.plane == "coronal"
    assert plan.preparation.spacing_mm == (1.0, 1.0)
    assert plan.network.levels == 2  # the short side, 30 pixels, halved to about 5
    assert plan.training.slice_size == (40, 32)
    assert plan.training.batch_size == 16


def test_large_slices_are_trained_on_crops(dataset_folder: Path) -> None:
    plan = make_plan(
        load_config(), read_dataset(dataset_folder), [facts(shape=(512, 512, 30), spacing=(0.7, 0.7, 5.0))]
    )
    assert plan.training.slice_size == (256, 256)
    assert plan.training.batch_size == 4
    assert plan.network.levels == 5


def test_mr_is_normalised_scan_by_scan_and_ct_by_the_labels(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    assert dataset.modalities == ("MR",)
    (mr,) = make_plan(load_config(), dataset, [facts()]).preparation.normalisation or ()
    assert mr.kind == "zscore"
    ct_dataset = type(dataset)(**{**vars(dataset), "modalities": ("CT",)})
    (ct,) = make_plan(load_config(), ct_dataset, [facts()]).preparation.normalisation or ()
    assert ct.kind == "window"
    assert (ct.low, ct.high) == (pytest.approx(-98), pytest.approx(298))
    assert ct.mean == pytest.approx(100)
    unknown = type(dataset)(**{**vars(dataset), "modalities": (None,)})
    for lowest, kind in ((-1024.0, "window"), (0.0, "zscore")):
        (entry,) = make_plan(load_config(), unknown, [facts(lowest=lowest)]).preparation.normalisation or ()
        assert entry.kind == kind


def test_what_the_user_set_is_kept(dataset_folder: Path) -> None:
    config = load_config(overrides=("preparation.plane=sagittal", "training.batch_size=3", "network.levels=1"))
    plan = make_plan(config, read_dataset(dataset_folder), [facts()])
    assert (plan.preparation.plane, plan.training.batch_size, plan.network.levels) == ("sagittal", 3, 1)


def test_wrong_number_of_normalisations_is_refused(dataset_folder: Path) -> None:
    config = load_config(overrides=("preparation.normalisation=[{kind: zscore}, {kind: zscore}]",))
    with pytest.raises(DatasetError, match=r"has 2 entries, the dataset 1 channels"):
        make_plan(config, read_dataset(dataset_folder), [facts()])


def test_fingerprint_changes_with_the_cases(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    plan = make_plan(load_config(), dataset, [facts()])
    fewer = type(dataset)(**{**vars(dataset), "cases": dataset.cases[1:]})
    assert fingerprint(dataset, plan) == fingerprint(dataset, plan)
    assert fingerprint(dataset, plan) != fingerprint(fewer, plan)


@pytest.mark.parametrize(("plane", "mirrored"), [("axial", True), ("coronal", True), ("sagittal", False)])
def test_mirroring_swaps_left_and_right_or_nothing(dataset_folder: Path, plane: str, mirrored: bool) -> None:
    config = load_config(overrides=("augmentation.mirror=true", f"preparation.plane={plane}"))
    plan = make_plan(config, read_dataset(dataset_folder), [facts()])
    assert plan.augmentation.mirror == mirrored
    # The first axis of a slice, which augmentation mirrors, is the patient's left-right axis.
    assert (in_plane(plane)[0] == 0) == mirrored  # type: ignore[arg-type]


def test_scans_of_one_slice_are_never_cut_into_lines(dataset_folder: Path) -> None:
    for axis, plane in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
        shape = [24, 20, 22]
        shape[axis] = 1
        flat = facts(shape=(shape[0], shape[1], shape[2]), spacing=(1, 1, 1), extent=(9.0, 9.0, 9.0))
        assert make_plan(load_config(), read_dataset(dataset_folder), [flat]).preparation.plane == plane


def test_clean_up_is_planned_for_each_label(dataset_folder: Path) -> None:
    config = load_config(overrides=("cleanup.*.largest_component=true", "cleanup.ball.fill_holes=true"))
    plan = make_plan(config, read_dataset(dataset_folder), [facts()])
    assert {name: (c.largest_component, c.fill_holes) for name, c in plan.cleanup.items()} == {
        "ball": (True, True),
        "bar": (True, False),
    }
