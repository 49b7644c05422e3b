"""Planning from the dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_dataset import write_dataset

from volseg.config import Config, load_config
from volseg.core.planes import PLANES
from volseg.core.slices import in_plane
from volseg.datasets import read_dataset, split
from volseg.errors import DatasetError
from volseg.io import read, read_labels, write
from volseg.training.facts import CaseFacts, find_facts
from volseg.training.plan import fingerprint, make_plan


def facts(
    *,
    shape: tuple[int, int, int] = (40, 50, 30),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    lowest: float = 0.0,
    extreme: dict[int, float] | None = None,
) -> CaseFacts:
    return CaseFacts(shape, spacing, (np.linspace(-100, 300, 1001),), (lowest,), (extreme or {},))


def padded_facts(share: float, **inside: Any) -> CaseFacts:
    """Facts of a scan of which a part along one axis is not empty."""
    x, y, z = 80, 100, 60
    return replace(facts(shape=(x, y, z)), inside=facts(shape=(x, round(share * y), z), **inside))


def test_facts_are_in_ras_order_and_mm(dataset_folder: Path) -> None:
    found = [find_facts(case) for case in read_dataset(dataset_folder).cases]
    assert len(found) == 6
    assert found[0].shape == (24, 20, 8)
    np.testing.assert_allclose(found[0].spacing, (1, 1, 3), atol=1e-6)
    assert found[0].foreground[0].size > 100


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1.0, 1.0, 3.0), "axial"), ((1.0, 4.0, 1.0), "coronal"), ((5.0, 1.0, 1.0), "sagittal")],
)
def test_thick_slices_are_cut_across_the_coarse_axis(
    dataset_folder: Path, spacing: tuple[float, float, float], plane: str
) -> None:
    plan = make_plan(load_config(), read_dataset(dataset_folder), [facts(spacing=spacing)])
    assert plan.preparation.planes == (plane,)
    assert plan.preparation.spacing_mm == spacing


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.2, 1.5)], ids=str)
def test_near_isotropic_scans_are_cut_in_all_three_planes(
    dataset_folder: Path, spacing: tuple[float, float, float]
) -> None:
    plan = make_plan(load_config(), read_dataset(dataset_folder), [facts(spacing=spacing)])
    assert plan.preparation.planes == PLANES
    assert plan.preparation.spacing_mm == spacing
    assert plan.network.levels == 3  # of axial slices, whose shorter side is the longest: 40 pixels
    assert plan.training.slice_size == (40, 48, 32)  # 40 x 50 x 30, in multiples of 8
    large = make_plan(load_config(), read_dataset(dataset_folder), [facts(shape=(256, 256, 256), spacing=spacing)])
    assert (plan.training.batch_size or 0) > (large.training.batch_size or 0)


def test_the_spacing_is_the_median_axis_by_axis(dataset_folder: Path) -> None:
    found = [facts(spacing=spacing) for spacing in ((1.0, 1.0, 1.2), (0.8, 1.1, 1.3), (0.9, 1.4, 1.0))]
    plan = make_plan(load_config(), read_dataset(dataset_folder), found)
    assert plan.preparation.spacing_mm == (0.9, 1.1, 1.2)
    assert all(size % 2 ** (plan.network.levels or 0) == 0 for size in plan.training.slice_size or ())


@pytest.mark.parametrize(("shape", "size"), [((128, 128, 128), 128), ((256, 256, 256), 256)], ids=str)
def test_a_network_whose_deepest_level_may_have_one_pixel_gets_no_padding_for_more(
    dataset_folder: Path, shape: tuple[int, int, int], size: int
) -> None:
    config = load_config(overrides=("network.block=pix2pix",))
    plan = make_plan(config, read_dataset(dataset_folder), [facts(shape=shape)])
    assert plan.training.slice_size == (size, size, size)
    assert 2 ** (plan.network.levels or 0) == size


@pytest.mark.parametrize(
    ("shape", "finer"),
    [((48, 70, 64), 2.0), ((35, 51, 36), 2.0), ((64, 100, 70), 1.5), ((96, 150, 130), 1.0)],
    ids=str,
)
def test_small_slices_are_enlarged_for_a_network_that_halves_them_at_once(
    dataset_folder: Path, shape: tuple[int, int, int], finer: float
) -> None:
    dataset, found = read_dataset(dataset_folder), [facts(shape=shape, spacing=(1.0, 1.2, 0.9))]
    for block, expected in (("double", 1.0), ("pix2pix", finer)):
        plan = make_plan(load_config(overrides=(f"network.block={block}",)), dataset, found)
        assert plan.preparation.spacing_mm == pytest.approx((1 / expected, 1.2 / expected, 0.9 / expected), abs=1e-4)
        least = np.array(shape) * expected
        assert np.all(np.array(plan.training.slice_size) >= 0.95 * least)
    set_by_hand = load_config(overrides=("network.block=pix2pix", "preparation.spacing_mm=[1,1,1]"))
    assert make_plan(set_by_hand, dataset, found).preparation.spacing_mm == (1, 1, 1)


def test_how_long_a_training_is_stays_as_it_was_set(dataset_folder: Path) -> None:
    """Steps are counted when it starts; a number of epochs in the plan would be of the cases of one fold."""
    dataset = read_dataset(dataset_folder)
    assert make_plan(load_config(), dataset, [facts()]).training.epochs is None
    assert make_plan(load_config(overrides=("training.epochs=3",)), dataset, [facts()]).training.epochs == 3


@pytest.mark.parametrize(
    ("shape", "planes"),
    [
        ((150, 150, 30), ("axial",)),  # strips of 30 beside slices of 150
        ((30, 150, 150), ("sagittal",)),
        ((150, 31, 150), ("coronal",)),
        ((150, 150, 32), PLANES),  # no strip any more
        ((90, 90, 30), PLANES),  # a third is not by far narrower
        ((12, 20, 10), PLANES),  # all are small
        ((256, 20, 24), PLANES),  # the widest is a strip as well
    ],
    ids=str,
)
def test_narrow_strips_are_no_plane(dataset_folder: Path, shape: tuple[int, int, int], planes: tuple[str, ...]) -> None:
    plan = make_plan(load_config(), read_dataset(dataset_folder), [facts(shape=shape)])
    assert plan.preparation.planes == planes


@pytest.mark.parametrize(("block", "levels"), [("double", 5), ("pix2pix", 7)])
def test_the_depth_is_that_of_the_largest_plane(dataset_folder: Path, block: str, levels: int) -> None:
    as_scanned = ("preparation.spacing_mm=[1,1,1]", f"network.block={block}")
    config, dataset = load_config(overrides=as_scanned), read_dataset(dataset_folder)
    plan = make_plan(config, dataset, [facts(shape=(128, 128, 48))])
    assert plan.preparation.planes == PLANES
    alone = make_plan(config, dataset, [facts(shape=(128, 128, 128))])
    assert plan.network.levels == alone.network.levels == levels
    assert all(size % 2**levels == 0 for size in plan.training.slice_size or ())


def test_a_few_anisotropic_scans_do_not_change_the_planes(dataset_folder: Path) -> None:
    found = [facts(), facts(), facts(spacing=(1.0, 1.0, 6.0))]
    assert make_plan(load_config(), read_dataset(dataset_folder), found).preparation.planes == PLANES


def test_sizes_and_depth_follow_the_planes_in_use(dataset_folder: Path) -> None:
    """The coarse axis of thick slices is never one of them, however few slices there are."""
    thick = facts(shape=(128, 160, 8), spacing=(1.0, 1.0, 6.0))
    plan = make_plan(load_config(), read_dataset(dataset_folder), [thick])
    wide = make_plan(load_config(), read_dataset(dataset_folder), [facts(shape=(128, 160, 400), spacing=(1, 1, 6))])
    assert plan.network.levels == wide.network.levels
    assert plan.training.batch_size == wide.training.batch_size
    assert (plan.training.slice_size or ())[:2] == (128, 160)


def test_large_slices_are_trained_on_crops(dataset_folder: Path) -> None:
    plan = make_plan(
        load_config(), read_dataset(dataset_folder), [facts(shape=(512, 512, 30), spacing=(0.7, 0.7, 5.0))]
    )
    assert (plan.training.slice_size or ())[:2] == (256, 256)
    assert plan.training.batch_size == 2
    assert plan.network.levels == 5


def test_slices_grow_from_patches_to_whole_slices(dataset_folder: Path) -> None:
    plan = make_plan(load_config(), read_dataset(dataset_folder), [facts(shape=(216, 256, 10), spacing=(1.4, 1.4, 10))])
    assert (plan.training.first_size or ())[:2] == (64, 64)
    assert (plan.training.slice_size or ())[:2] == (224, 256)


def test_what_is_nearly_whole_has_no_frame_of_padding(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    sizes = []
    for side in (256, 165, 170, 33):
        found = [facts(shape=(256, 256, side), spacing=(1.0, 1.0, 1.0))]
        config = load_config(overrides=("preparation.planes=[axial]", "network.levels=5"))
        sizes.append((make_plan(config, dataset, found).training.slice_size or ())[2])
    assert sizes == [256, 160, 192, 64]  # the deepest level has two pixels at least


def test_slices_that_are_small_already_do_not_grow(dataset_folder: Path) -> None:
    for shape in ((36, 50, 36), (80, 64, 70)):
        training = make_plan(load_config(), read_dataset(dataset_folder), [facts(shape=shape)]).training
        assert training.first_size == training.slice_size


def test_a_size_that_was_set_is_that_of_the_whole_training(dataset_folder: Path) -> None:
    """As in the plans of older versions."""
    dataset = read_dataset(dataset_folder)
    given = load_config(overrides=("training.slice_size=[256, 256, 64]",))
    assert make_plan(given, dataset, [facts()]).training.first_size is None
    both = load_config(overrides=("training.slice_size=[256, 256, 64]", "training.first_size=[32, 32, 64]"))
    assert make_plan(both, dataset, [facts()]).training.first_size == (32, 32, 64)


def test_slices_do_not_shrink_to_their_last_size(dataset_folder: Path) -> None:
    wanted = load_config(overrides=("training.slice_size=[96, 96, 32]", "training.first_size=[64, 64, 64]"))
    assert make_plan(wanted, read_dataset(dataset_folder), [facts()]).training.first_size == (64, 64, 32)


def test_no_patch_is_smaller_than_what_the_discriminator_judges_at_once(dataset_folder: Path) -> None:
    config = load_config(overrides=("loss.adversarial_weight=1",))
    plan = make_plan(config, read_dataset(dataset_folder), [facts(shape=(256, 256, 10), spacing=(1, 1, 5))])
    assert (plan.training.first_size or ())[:2] == (160, 160)  # 142 pixels, in multiples of 32


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


def test_scans_are_not_clipped_where_that_would_take_away_a_label(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    for shares, kind in (((0.0, 0.0, 0.9), "zscore"), ((0.0, 0.6, 0.9), "zscore_unclipped")):
        # Label 2 is inside, and two scans have no label 7.
        some = [facts(extreme={2: 0.0, 7: share}) for share in shares]
        plan = make_plan(load_config(), dataset, [*some, facts(extreme={2: 0.0}), facts()])
        assert [entry.kind for entry in plan.preparation.normalisation or ()] == [kind]


def test_the_share_of_each_label_among_the_extremes_is_noted(dataset_folder: Path) -> None:
    case = read_dataset(dataset_folder).cases[0]
    (before,) = find_facts(case).extreme
    assert 0 < before[7] < before[2] < 0.2
    scan, reference = read(case.images[0]), read_labels(case.label or "")
    few = np.argwhere(reference.array == 2)[:6]
    scan.array[tuple(few.T)] = 5000  # as bright as nothing else, in a label of their own
    reference.array[reference.array == 2] = 7
    reference.array[tuple(few.T)] = 2
    write(scan, case.images[0])
    write(reference, case.label or "")
    (after,) = find_facts(case).extreme
    assert after[2] == 1
    assert after[7] < 0.2


def test_ct_whose_labels_lie_on_one_value_has_a_window_all_the_same(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    ct_dataset = type(dataset)(**{**vars(dataset), "modalities": ("CT",)})
    for values, window in (
        (np.array([250, 250 + 1e-6]), (250, 251, 250, 1)),
        (np.array([0.25, 0.75]), (0.2525, 0.7475, 0.5, 0.2475)),
    ):
        known = CaseFacts((40, 50, 30), (1.0, 1.0, 1.0), (values,), (-1000.0,), ({},))
        (entry,) = make_plan(load_config(), ct_dataset, [known]).preparation.normalisation or ()
        assert (entry.low, entry.high, entry.mean, entry.std) == window


def test_what_the_user_set_is_kept(dataset_folder: Path) -> None:
    config = load_config(overrides=("preparation.planes=[sagittal]", "training.batch_size=3", "network.levels=1"))
    plan = make_plan(config, read_dataset(dataset_folder), [facts()])
    assert (plan.preparation.planes, plan.training.batch_size, plan.network.levels) == (("sagittal",), 3, 1)


def test_wrong_number_of_normalisations_is_refused(dataset_folder: Path) -> None:
    config = load_config(overrides=("preparation.normalisation=[{kind: zscore}, {kind: zscore}]",))
    with pytest.raises(DatasetError, match=r"has 2 entries, the dataset 1 channels"):
        make_plan(config, read_dataset(dataset_folder), [facts()])


def test_fingerprint_is_of_the_cases_that_were_learnt_from_and_of_the_plan(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    plan = make_plan(load_config(), dataset, [facts()])
    training, held_out = split(dataset, 0)
    assert fingerprint(dataset, plan, training) == fingerprint(dataset, plan, training)
    longer = make_plan(load_config(overrides=("training.epochs=7",)), dataset, [facts()])
    assert fingerprint(dataset, longer, training) == fingerprint(dataset, plan, training)
    # Nothing was learnt from the other cases of the dataset or from held-out cases.
    fewer = replace(dataset, cases=training)
    assert fingerprint(fewer, plan, training) == fingerprint(dataset, plan, training)
    renamed = replace(dataset, labels=tuple(replace(label, name=f"{label.name}s") for label in dataset.labels))
    coarser = make_plan(load_config(), dataset, [facts(spacing=(2.0, 2.0, 2.0))])
    growing = make_plan(load_config(overrides=("training.first_size=[8, 8, 8]",)), dataset, [facts()])
    others = [
        fingerprint(dataset, plan, training[1:]),
        fingerprint(dataset, plan, (*training[1:], held_out[0])),
        fingerprint(renamed, plan, training),
        fingerprint(dataset, coarser, training),
        fingerprint(dataset, with_crop(plan, crop=True), training),
        fingerprint(dataset, growing, training),
    ]
    assert len({fingerprint(dataset, plan, training), *others}) == 7
    for crop in (False, None):  # runs that do not know it are resumed
        assert fingerprint(dataset, with_crop(plan, crop=crop), training) == fingerprint(dataset, plan, training)


def with_crop(plan: Config, *, crop: bool | None) -> Config:
    return plan.model_copy(update={"preparation": plan.preparation.model_copy(update={"crop": crop})})


@pytest.mark.parametrize(
    ("shares", "crops"), [((0.5,), True), ((0.75,), True), ((0.8,), False), ((0.2, 0.9, 1.0), False)], ids=str
)
def test_empty_borders_are_left_out_where_half_of_the_cases_lose_a_quarter(
    dataset_folder: Path, shares: tuple[float, ...], crops: bool
) -> None:
    found = [facts(shape=(80, 100, 60)) if share == 1 else padded_facts(share) for share in shares]
    plan = make_plan(load_config(), read_dataset(dataset_folder), found)
    assert plan.preparation.crop is crops
    inside = [case.inside or case for case in found] if crops else [replace(case, inside=None) for case in found]
    expected = with_crop(make_plan(load_config(), read_dataset(dataset_folder), inside), crop=crops)
    assert plan == expected


def test_whether_borders_are_left_out_can_be_set(dataset_folder: Path) -> None:
    dataset = read_dataset(dataset_folder)
    for given in (True, False):
        config = load_config(overrides=(f"preparation.crop={str(given).lower()}",))
        plan = make_plan(config, dataset, [padded_facts(0.5 if not given else 0.95)])
        assert plan.preparation.crop is given
    whole = make_plan(load_config(), dataset, [facts()])
    assert make_plan(with_crop(whole, crop=None), dataset, ()).preparation.crop is None  # a plan of before


def test_facts_of_a_padded_scan_are_those_of_the_scan_before_it_was_padded(tmp_path: Path) -> None:
    dataset = read_dataset(write_dataset(tmp_path, cases=1))
    (case,) = dataset.cases
    before = find_facts(case)
    assert before.inside is None
    image, labels = read(case.images[0]), read_labels(case.label)  # type: ignore[arg-type]
    grid = image.grid.pad(5)
    write(replace(image, array=np.pad(image.array, 5, constant_values=-1024), grid=grid), case.images[0])
    write(replace(labels, array=np.pad(labels.array, 5), grid=grid), case.label)  # type: ignore[arg-type]
    after = find_facts(case)
    assert after.shape == tuple(n + 10 for n in before.shape)
    assert after.inside is not None
    assert after.inside.shape == before.shape
    np.testing.assert_array_equal(np.sort(after.inside.foreground[0]), np.sort(before.foreground[0]))
    assert after.inside.extreme == before.extreme
    assert after.inside.lowest == (-1024,)
    config = make_plan(load_config(), dataset, [after])
    assert config.preparation.crop
    assert config.preparation.planes == ("axial",)


@pytest.mark.parametrize("planes", ["[axial]", "[sagittal]", "null"])
@pytest.mark.parametrize("mirror", [True, False])
def test_mirroring_is_planned_as_asked_and_swaps_left_and_right_or_nothing(
    dataset_folder: Path, planes: str, mirror: bool
) -> None:
    config = load_config(overrides=(f"augmentation.mirror={str(mirror).lower()}", f"preparation.planes={planes}"))
    plan = make_plan(config, read_dataset(dataset_folder), [facts()])
    assert plan.augmentation.mirror == mirror
    for plane in plan.preparation.planes or ():
        assert plan.augmentation_at(0, plane).mirror == (mirror and in_plane(plane)[0] == 0)


def test_scans_of_one_slice_are_never_cut_into_lines(dataset_folder: Path) -> None:
    for axis, plane in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
        shape = [24, 20, 22]
        shape[axis] = 1
        flat = facts(shape=(shape[0], shape[1], shape[2]), spacing=(1, 1, 1))
        assert make_plan(load_config(), read_dataset(dataset_folder), [flat]).preparation.planes == (plane,)


def test_clean_up_is_planned_for_each_label(dataset_folder: Path) -> None:
    config = load_config(overrides=("cleanup.*.largest_component=true", "cleanup.ball.fill_holes=true"))
    plan = make_plan(config, read_dataset(dataset_folder), [facts()])
    assert {name: (c.largest_component, c.fill_holes) for name, c in plan.cleanup.items()} == {
        "ball": (True, True),
        "bar": (True, False),
    }
