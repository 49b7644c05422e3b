"""Surfaces of held-out predictions beside the true ones."""

from __future__ import annotations

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.errors import InputError
from volseg.prediction.surface_doubt import surface_sd
from volseg.surface import extract_surfaces
from volseg.training.surface_distances import surface_distances

GRID = Grid.from_spacing((48, 48, 48), (1, 1, 1), (-24, -24, -24))
FIRST, SECOND = Label(7, "ball", (200, 0, 0)), Label(3, "other", (0, 200, 0))
DISTANCE = np.linalg.norm(GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1)), axis=-1)


def balls(radius: float, *, value: int = 7) -> LabelMap:
    return LabelMap((radius > DISTANCE).astype(np.uint8) * value, GRID, (FIRST, SECOND))


def test_distances_stand_beside_what_the_probabilities_say(caplog: pytest.LogCaptureFixture) -> None:
    probability = 1 / (1 + np.exp(DISTANCE - 14))
    probabilities = np.stack([1 - probability, probability, np.zeros(GRID.shape)]).astype(np.float16)
    labels = balls(14)
    (found,) = surface_distances(labels, balls(16), probabilities, (FIRST, SECOND))  # not in the order of values
    assert not caplog.records  # a label that is not there is not worth a word
    (mesh,) = extract_surfaces(labels)
    sd = float(np.median(surface_sd(mesh, probabilities[1], GRID)))
    assert 400 < len(found) <= 500
    assert np.median(found, axis=0) == pytest.approx((-2, sd), abs=0.1)  # mm


def test_what_only_one_has_is_not_measured() -> None:
    probabilities = np.zeros((3, *GRID.shape), np.float16)
    assert surface_distances(balls(14), balls(14, value=3), probabilities, (FIRST, SECOND)) == ()
    foreign = LabelMap((DISTANCE < 9).astype(np.uint8) * 9, GRID, (Label(9, "ball", (1, 2, 3)),))
    assert surface_distances(balls(14), foreign, probabilities, (FIRST, SECOND)) == ()
    thin = Grid.from_spacing((8, 8, 1))
    single = LabelMap(np.ones(thin.shape, np.uint8) * 7, thin, (FIRST,))
    assert surface_distances(single, single, np.zeros((2, *thin.shape), np.float16), (FIRST,)) == ()


def test_labels_take_turns_and_a_case_has_few_surfaces() -> None:
    labels = tuple(Label(value, f"ball {value}", (200, 0, 0)) for value in range(1, 7))
    array = np.zeros(GRID.shape, np.uint8)
    for value in range(1, 7):
        array[7 * value - 4 : 7 * value + 2, 20:26, 20:26] = value
    balls = LabelMap(array, GRID, labels)
    probabilities = np.stack([array == value for value in range(7)]).astype(np.float16)
    for value in range(1, 7):
        probabilities[value] *= 1 - value / 20  # which tells them apart
    kept = [surface_distances(balls, balls, probabilities, labels, first=first) for first in (0, 4)]
    assert [len(found) for found in kept] == [4, 4]
    sharper, flatter = (np.median(found[0][:, 1]) for found in kept)
    assert sharper < flatter  # the first label, and the fifth


def test_noise_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("noise")

    monkeypatch.setattr("volseg.surface.extract.check_no_noise", refuse)
    labels = balls(14)
    with pytest.raises(InputError):
        extract_surfaces(labels)
    assert surface_distances(labels, labels, np.ones((3, *GRID.shape), np.float16), (FIRST, SECOND)) == ()


def test_what_leaves_the_scan_has_finite_figures() -> None:
    bar = np.zeros((12, 12, 20), np.uint8)
    bar[4:8, 4:8] = 1
    whole = LabelMap.from_array(bar, Grid.from_spacing(bar.shape))
    sure = np.stack([1 - bar, bar]).astype(np.float16)
    (found,) = surface_distances(whole, whole, sure, whole.labels)
    assert np.isfinite(found).all()
    assert found[:, 1].min() > 0
