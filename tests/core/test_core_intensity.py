from __future__ import annotations

import numpy as np
import pytest

from volseg.core.intensity import Rescaling, sample, zscore


@pytest.mark.parametrize("dtype", ["i2", ">i2", "f4", "f8", "f2"])
def test_rescaling_clips_then_subtracts_then_divides(dtype: str) -> None:
    array = np.array([[-2000, -100], [20, 3000]], dtype=dtype)
    found = Rescaling(-100, 400, 20, 60).apply(array)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[-2, -2], [0, 380 / 60]]))
    assert array.flat[0] == -2000


def test_unsigned_and_boolean_voxels_do_not_wrap_round() -> None:
    assert Rescaling(0, 255, 100, 1).apply(np.array([0, 255], dtype=np.uint8)).tolist() == [-100, 155]
    assert Rescaling(0, 1, 0.5, 0.5).apply(np.array([False, True])).tolist() == [-1, 1]


def test_zscore_gives_mean_0_and_deviation_1_whatever_the_scanners_scale() -> None:
    rng = np.random.default_rng(0)
    scan = rng.normal(size=(40, 41, 42))
    for scale, offset in ((1, 0), (1e5, 3e5), (1e-3, -7)):
        values = scan * scale + offset
        found = zscore(values).apply(values)
        assert found.mean() == pytest.approx(0, abs=1e-3)
        assert found.std() == pytest.approx(1, abs=1e-3)
        assert np.allclose(found, zscore(scan).apply(scan), atol=1e-3)


def test_zscore_is_not_swayed_by_a_few_extreme_voxels() -> None:
    scan = np.random.default_rng(0).normal(size=(50, 50, 50))
    struck = scan.copy()
    struck[0, 0, :20] = 1e9
    assert zscore(struck).std == pytest.approx(zscore(scan).std, rel=0.01)
    assert np.abs(zscore(struck).apply(struck)).max() < 4


def test_a_small_bright_lesion_keeps_its_contrast_if_the_scan_is_not_clipped() -> None:
    scan = np.random.default_rng(0).normal(size=(50, 50, 50))
    scan[20:25, 20:25, 20:30] += 12  # 0.2 % of the voxels
    scan[0, 0, 0] = 1e9
    clipped, whole = zscore(scan), zscore(scan, clip=False)
    assert (whole.mean, whole.std) == (clipped.mean, clipped.std)
    assert clipped.apply(scan)[20:25, 20:25, 20:30].max() < 3
    assert whole.apply(scan)[20:25, 20:25, 20:30].min() > 8
    assert whole.apply(scan).max() < 80


def test_a_scan_that_is_nearly_all_zero_is_not_wiped_out() -> None:
    scan = np.zeros((50, 50, 50), dtype=np.int16)
    scan[10:14, 10:14, 10:14] = 300
    found = zscore(scan).apply(scan)
    assert found[12, 12, 12] > 10
    assert found[0, 0, 0] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("value", [0, 7, -3.1, 0.1, 1e6])
def test_a_constant_scan_becomes_zeros(value: float) -> None:
    scan = np.full((7, 8, 9), value)
    assert np.array_equal(zscore(scan).apply(scan), np.zeros((7, 8, 9), dtype=np.float32))


def test_a_sample_is_spread_evenly_and_of_about_the_size_asked_for() -> None:
    ramp = np.arange(100_000).reshape(10, 100, 100)
    found = sample(ramp, count=1000)
    assert found.dtype == np.float64
    assert 500 < found.size <= 1001
    assert found.mean() == pytest.approx(ramp.mean(), rel=0.01)
    assert len(np.unique(found % 100)) == 100  # not the same columns again and again
    assert sample(ramp).size == ramp.size


def test_the_order_in_memory_does_not_change_the_values_of_a_small_scan() -> None:
    scan = np.random.default_rng(0).normal(size=(5, 6, 7))
    for same in (np.asfortranarray(scan), scan[::-1], scan.transpose(2, 0, 1), scan[:, ::-1].transpose(1, 0, 2)):
        assert np.array_equal(np.sort(sample(same)), np.sort(scan, axis=None))
        assert zscore(same).mean == pytest.approx(zscore(scan).mean)


def test_a_part_of_a_scan_is_sampled_as_its_copy_is() -> None:
    part = np.random.default_rng(0).normal(size=(30, 40, 50))[3:20, 5:, :-2]
    for count in (100, 1000, 10**6):
        assert np.array_equal(sample(part, count=count), sample(part.copy(), count=count))
