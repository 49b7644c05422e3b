"""Label maps with the surface of noise are refused, others are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volseg import extract_isosurface, extract_surfaces, write
from volseg.cases.surfaces import surfaces_of_labels
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.noise import (
    _MOST_FACES,
    MOST_FACES_OF_ONE,
    check_no_noise,
    check_no_noise_inside,
    count_faces,
)
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.evaluation import evaluate


def labelled(array: np.ndarray) -> LabelMap:
    return LabelMap.from_array(array, Grid.from_spacing(array.shape))


def noise(values: int = 2, size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, values, (size, size, size)).astype(np.uint8)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds for small arrays."""
    monkeypatch.setattr("volseg.core.noise.MOST_FACES_OF_ONE", 2000)
    monkeypatch.setattr("volseg.core.noise._FACES_OF_SHELLS", 1000)
    monkeypatch.setattr("volseg.core.noise._MOST_FACES", 6000)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    values=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16, np.uint32, np.int64]),
    order=st.permutations([0, 1, 2]),
    seed=st.integers(0, 1000),
)
def test_faces_are_those_between_different_voxels(shape, values, dtype, order, seed) -> None:
    array = np.random.default_rng(seed).integers(0, values + 1, shape).astype(dtype).transpose(order)
    padded = np.pad(array, 1).astype(np.int64)
    expected = {}
    for value in range(1, values + 1):
        count = sum(int(np.count_nonzero(np.diff(padded == value, axis=axis))) for axis in range(3))
        if count:
            expected[value] = count
    assert count_faces(array) == expected


def test_counting_ends_where_there_are_too_many() -> None:
    array = noise(size=30)
    assert 3000 < sum(count_faces(array, most=3000).values()) < 10_000 < sum(count_faces(array).values())


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (noise(), r"has 0\.00\d+ million outer faces of voxels, 3\.\d for each of its 0\.000885 million voxels"),
        (noise(9), r"more than 0\.006 million outer faces of voxels, as noise has"),
        (np.kron(noise(2, 8), np.ones((2, 2, 2), np.uint8)), r"label 'label_1' has 0\.00\d+ million outer faces"),
    ],
    ids=["one label", "many labels", "larger specks"],
)
def test_noise_is_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    for use in (check_no_noise, extract_surfaces):
        with pytest.raises(InputError, match=message):
            use(labelled(array))
    write(labelled(array), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=rf"a\.nii\.gz: .*{message}"):
        surfaces_of_labels(tmp_path / "a.nii.gz")
    body = np.zeros_like(array)
    body[3:6, 3:6, 3:6] = 1
    with pytest.raises(InputError, match=message):
        evaluate(labelled(body), labelled(array))
    write(labelled(body), tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match=rf"a\.nii\.gz: .*{message}"):
        evaluate(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")


@pytest.mark.usefixtures("few")
def test_labels_that_are_no_noise_can_be_chosen() -> None:
    array = noise()
    array[2:8, 2:8, 2:8] = 2
    labels = labelled(array)
    with pytest.raises(InputError, match="choose labels"):
        evaluate(labels, labels)
    assert evaluate(labels, labels, only=["2"]).rows[0].scores.dice == 1


@pytest.mark.usefixtures("few")
def test_shells_and_bodies_are_no_noise() -> None:
    """A shell of one voxel has up to six faces a voxel, but few in all; bodies have many, but few a voxel."""
    index = np.indices((22, 22, 22)) - 10.5
    shell = np.abs(np.linalg.norm(index, axis=0) - 4) < 0.4
    organs = np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((11, 11, 11))).astype(np.uint8)
    for array in (shell.astype(np.uint8), organs):
        labels = labelled(array)
        check_no_noise(labels)
        assert extract_surfaces(labels)


@pytest.mark.usefixtures("few")
def test_a_threshold_in_the_noise_is_refused() -> None:
    array = np.random.default_rng(0).normal(0, 10, (16, 16, 16)).astype(np.float32)
    array[4:12, 4:12, 4:12] += 100
    scan = Volume(array, Grid.from_spacing(array.shape))
    assert extract_isosurface(scan, 50).is_closed
    with pytest.raises(InputError, match=r"threshold 0 gives 0\.00\d+ million outer faces .*choose another"):
        extract_isosurface(scan, 0)
    check_no_noise_inside(array > 50, 50)


def test_a_body_of_a_hundred_organs_is_no_noise() -> None:
    """A hundred rods of 52x52 with holes fill 512x512x600 voxels; what 24 slices add counts 25 times."""
    index = np.indices((512, 512, 48), dtype=np.uint16)
    rods = (index[0] // 52 * 10 + index[1] // 52 + 1).astype(np.uint8)
    rods[np.random.default_rng(0).random(rods.shape) < 0.001] = 0
    more, fewer = count_faces(rods), count_faces(rods[..., :24])
    added = {value: 25 * (more[value] - fewer[value]) for value in range(1, 101)}
    assert sum(added.values()) < _MOST_FACES
    assert max(added.values()) < MOST_FACES_OF_ONE / 10
    check_no_noise(labelled(rods))
