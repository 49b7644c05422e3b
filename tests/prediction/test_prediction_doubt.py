"""How far a prediction is in doubt: what is counted of it, and what held-out cases make of that."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from volseg.config import CleanupConfig, parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.planes import PLANES, Plane
from volseg.core.slices import NORMAL_AXIS, coarse_plane
from volseg.core.volume import Volume
from volseg.network.doubt_fit import DiceFit, DoubtFit, VolumeFit
from volseg.network.file import Model
from volseg.prediction.answers import SOFTENING
from volseg.prediction.calibration import soften
from volseg.prediction.doubt import Doubt, SliceDoubt, entropy
from volseg.prediction.doubt_counts import SliceSums, SoftCounts
from volseg.prediction.inference import Prediction, predict

LABELS = (Label(3, "wall", (200, 0, 0)), Label(300, "lumen", (0, 200, 0)))
LEVELS = torch.tensor([0.0, 1.0, 2.0])
FIT = DoubtFit(
    40,
    soft_dice=(0.5, 0.6, 0.7, 0.8),
    plane_agreement=(0.1, 0.2, 0.3, 0.4),
    dice=DiceFit(at_0=0.7, at_100=0.9, below=0.1, above=0.05),
    volumes={"wall": VolumeFit(40, 0.8, 1.1), "lumen": VolumeFit(12)},
    training_ml={"wall": (0.5, 2.0)},
)


class Nearest(nn.Module):
    """Stands in for a network: the class whose level is nearest; the levels are moved by a shift."""

    def __init__(self, shift: float = 0.0, sharpness: float = 6.0) -> None:
        super().__init__()
        self.shift, self.sharpness = shift, sharpness

    def forward(self, x: Tensor) -> Tensor:
        return -SOFTENING * self.sharpness * (x[:, :1] - self.shift - LEVELS[:, None, None]) ** 2


def model_of(crop: bool = False, **networks: nn.Module) -> Model:
    as_it_is = {"kind": "window", "low": -10, "high": 10, "mean": 0, "std": 1}
    preparation = {
        "planes": list(networks),
        "spacing_mm": [1, 1, 1],
        "normalisation": [as_it_is],
        "neighbours": 0,
        "crop": crop,
    }
    named = {f"{plane}.0": network for plane, network in networks.items()}
    return Model(parse_config({"preparation": preparation}), LABELS, ("MR",), named)  # type: ignore[arg-type]


def alike(**settings: float) -> Model:
    return model_of(**{plane: Nearest(**settings) for plane in PLANES})  # type: ignore[arg-type]


def scan_of(shape: tuple[int, int, int] = (9, 11, 7), *, steps: tuple[float, float, float] = (-1, 1, -1)) -> Volume:
    """Values between and on the levels; two axes run backwards."""
    return Volume(np.random.default_rng(0).uniform(-0.4, 2.4, shape), Grid(shape, np.diag((*steps, 1.0))))


def doubt_of(model: Model, scan: Volume, **settings: bool) -> Doubt:
    found = predict(model, scan, device="cpu", **settings).doubt  # type: ignore[arg-type]
    assert found is not None
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_planes_that_say_the_same_agree() -> None:
    found = doubt_of(alike(), scan_of())
    assert found.plane_agreement == 1
    assert {label.plane_agreement for label in found.labels.values()} == {1}
    assert {one.agreement for one in found.slices} == {1}
    assert found.soft_dice is not None
    assert 0.5 < found.soft_dice < 1


def test_the_agreement_is_the_mean_dice_of_two_planes() -> None:
    scan, shifts = scan_of(), {"axial": 0.0, "coronal": 0.3, "sagittal": -0.2}
    model = model_of(**{plane: Nearest(shift) for plane, shift in shifts.items()})
    own = [predict(model_of(axial=network), scan).labels.array for network in model.networks.values()]
    pairs = [(own[0], own[1]), (own[0], own[2]), (own[1], own[2])]
    found, expected = doubt_of(model, scan), {}
    for label in LABELS:
        expected[label.name] = np.mean([dice(a == label.value, b == label.value) for a, b in pairs])
        assert found.labels[label.name].plane_agreement == pytest.approx(expected[label.name])
    assert found.plane_agreement == pytest.approx(np.mean(list(expected.values())))
    assert {one.plane for one in found.slices} == {"axial"}
    assert sorted(one.index for one in found.slices) == list(range(7))
    for one in found.slices:
        same = whole = 0
        for a, b in pairs:
            here, there = a[..., one.index], b[..., one.index]
            same += 2 * ((here == there) & (here > 0)).sum()
            whole += (here > 0).sum() + (there > 0).sum()
        assert one.agreement == pytest.approx(same / whole)


def test_slices_are_ranked_by_what_is_in_doubt_where_small_ones_count_less() -> None:
    sums = SliceSums(np.array([0, 90, 60, 0]), np.array([4, 100, 100, 0]))
    assert sums.dice() == pytest.approx([0, 0.9, 0.6, np.nan], nan_ok=True)
    assert sums.doubt() == pytest.approx([4 / 104, 10 / 200, 40 / 200, 0])


@pytest.mark.parametrize("planes", [("coronal",), PLANES], ids=len)
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_soft_dice_is_of_calibrated_probabilities(planes: tuple[Plane, ...], temperature: float) -> None:
    scan, model = scan_of(), model_of(**{plane: Nearest() for plane in planes})
    plain = predict(model, scan, probabilities=True)
    assert plain.probabilities is not None
    telling = plain.probabilities[0] <= 0.99
    calibrated = soften(plain.probabilities, temperature)[:, telling]
    found = doubt_of(replace(model, temperature=temperature), scan)
    for number, label in enumerate(LABELS, 1):
        chosen = plain.labels.array[telling] == label.value
        expected = 2 * calibrated[number, chosen].sum() / (chosen.sum() + calibrated[number].sum())
        assert found.labels[label.name].soft_dice == pytest.approx(expected, abs=2e-3)
    kept = doubt_of(replace(model, temperature=temperature), scan, probabilities=True)
    assert kept.soft_dice == pytest.approx(found.soft_dice, abs=2e-3)


def test_of_large_slices_an_even_share_is_counted() -> None:
    random = np.random.default_rng(0)
    probabilities = torch.from_numpy(random.dirichlet([1.0, 1.0, 1.0], (1, 300, 300)).astype(np.float32)).movedim(-1, 1)
    classes = probabilities.max(dim=1).indices.numpy()
    whole, parts = SoftCounts([0.5]), SoftCounts([0.5])
    parts.add(probabilities, classes)
    for rows in range(0, 300, 30):
        whole.add(probabilities[:, :, rows : rows + 30], classes[:, rows : rows + 30])
    assert parts.of_labels() == pytest.approx(whole.of_labels(), rel=0.01)
    assert not np.array_equal(parts.of_labels(), whole.of_labels())
    assert parts.of_slices().whole.sum() == pytest.approx(whole.of_slices().whole.sum(), rel=0.01)


def test_a_large_scan_has_the_same_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its probabilities are never all there; of three classes none is lost."""
    scan, model = scan_of(), model_of(axial=Nearest(), coronal=Nearest(0.3), sagittal=Nearest(-0.2))
    usual = doubt_of(model, scan)
    monkeypatch.setattr("volseg.prediction.answers.can_hold", lambda _model, _shape: False)
    large = doubt_of(model, scan)
    assert large.soft_dice == pytest.approx(usual.soft_dice, abs=2e-3)
    assert (large.plane_agreement, large.slices) == (usual.plane_agreement, usual.slices)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("crop", [False, True])
def test_slices_are_those_of_the_label_map(plane: Plane, crop: bool) -> None:
    """Sure slices, and an unsure one at a place that no other axis and no other direction has."""
    scan = scan_of()
    axis, array = NORMAL_AXIS[plane], np.zeros(scan.array.shape)
    array[2:7, 3:8, 1:5] = 1
    unsure = [slice(2, 7), slice(3, 8), slice(1, 5)]
    unsure[axis] = slice(unsure[axis].stop - 1, unsure[axis].stop)
    array[tuple(unsure)] = 0.6
    found = doubt_of(model_of(crop, **{plane: Nearest()}), scan.with_array(array))
    assert [one.plane for one in found.slices] == [plane] * len(found.slices)
    assert (
        sorted(one.index for one in found.slices) == np.flatnonzero(array.any(axis=tuple({0, 1, 2} - {axis}))).tolist()
    )
    assert found.slices[0].index == unsure[axis].start
    assert found.slices[0].agreement < found.slices[1].agreement
    assert found.plane_agreement is None
    assert "the scan was cut along one plane, so there are no planes to compare" in found.reasons


def test_slices_are_those_that_a_person_sees() -> None:
    assert coarse_plane(Grid((4, 5, 6), np.diag((1.0, 1.3, 1.0, 1.0)))) == "coronal"
    scan = scan_of(steps=(-1, 1.3, -1))
    assert {one.plane for one in doubt_of(alike(), scan).slices} == {"coronal"}


def test_where_nothing_is_found_nothing_is_compared() -> None:
    scan = scan_of()
    found = doubt_of(replace(alike(), doubt=FIT), scan.with_array(0 * scan.array))
    assert (found.soft_dice, found.plane_agreement, found.percentile, found.expected_dice) == (None,) * 4
    assert found.slices == ()
    assert found.reasons == ("no label was found, or hardly any, so nothing can be compared",)
    assert found.volume_reasons == ("no interval of the volume of wall, lumen: not found",)


def told(scan: Volume, fit: DoubtFit | None, model: Model | None = None) -> tuple[Prediction, Doubt]:
    found = predict(replace(model or alike(), doubt=fit), scan)
    assert found.doubt is not None
    return found, found.doubt


def test_the_lower_percentile_gives_the_expected_dice_and_its_interval() -> None:
    scan = scan_of()
    _, plain = told(scan, None)
    assert plain.soft_dice is not None
    fit = replace(FIT, soft_dice=tuple(plain.soft_dice + offset for offset in (-0.02, -0.01, 0.01, 0.02)))
    prediction, found = told(scan, fit)
    assert (found.percentile, found.held_out_cases, found.coverage) == (50, 40, 0.9)  # all planes agree, above all
    assert found.expected_dice == pytest.approx(0.8)
    assert found.interval == pytest.approx((0.7, 0.85))
    assert found.reasons == ()
    volume = float(prediction.labels.mask(LABELS[0]).sum()) / 1000
    wall, lumen = found.labels["wall"], found.labels["lumen"]
    assert wall.volume_ml == pytest.approx(volume)
    assert wall.interval_ml == pytest.approx((0.8 * volume, 1.1 * volume))
    assert wall.training_range_ml == (0.5, 2.0)
    assert (lumen.interval_ml, lumen.training_range_ml) == (None, None)
    words = "no interval of the volume of lumen (12): that needs 20 held-out cases with the label"
    assert found.volume_reasons == (words,)


def test_no_dice_is_expected_below_all_held_out_cases() -> None:
    scan, perfect = scan_of(), (1.0,) * 4
    _, found = told(scan, replace(FIT, soft_dice=perfect, plane_agreement=perfect))
    assert (found.percentile, found.expected_dice, found.interval) == (0, None, None)
    assert found.soft_dice is not None
    words = f"soft Dice {found.soft_dice:.2f} (there 1.00 or more) is below all 40 held-out cases"
    assert found.reasons == (f"{words}, so no Dice can be expected: look at the case",)


def test_nothing_is_expected_of_few_held_out_cases_or_other_planes() -> None:
    scan = scan_of()
    _, few = told(scan, replace(FIT, cases=12, dice=None, soft_dice=(0.0, 1.0)))
    assert (few.percentile, few.expected_dice) == (50, None)
    assert few.reasons == ("an expected Dice and intervals need 20 held-out cases; the model has 12",)
    _, other = told(scan, FIT, model_of(axial=Nearest()))
    assert other.percentile is None
    words = "the scan was cut along one plane and the held-out cases along several planes, so they do not compare"
    assert other.reasons[-1] == words
    _, old = told(scan, None)
    assert (old.percentile, old.held_out_cases) == (None, 0)
    assert old.reasons == ("the model knows no held-out cases to compare with",)
    assert old.volume_reasons == ()


def test_labels_that_are_to_be_cleaned_have_no_interval_yet() -> None:
    model = replace(alike(), doubt=FIT)
    model = replace(model, config=model.config.model_copy(update={"cleanup": {"wall": CleanupConfig(fill_holes=True)}}))
    found = doubt_of(model, scan_of())
    assert found.labels["wall"].interval_ml is None
    assert found.volume_reasons[0] == "no interval of the volume of wall: not cleaned up yet"


def test_a_voxel_is_as_unsure_as_its_classes_are_alike() -> None:
    probabilities = np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3], dtype=np.float16).T.reshape(3, 3, 1, 1)
    found = entropy(probabilities)
    assert found.dtype == np.float16
    assert found.ravel() == pytest.approx([0, np.log(2) / np.log(3), 1], abs=1e-3)


def test_as_json_it_has_short_numbers_and_all_reasons_together() -> None:
    found = doubt_of(replace(alike(), doubt=FIT), scan_of())
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(content) == [
        "expected_dice",
        "interval",
        "held_out_cases",
        "soft_dice",
        "plane_agreement",
        "percentile",
        "reasons",
        "slices",
        "labels",
        "coverage",
    ]
    assert content["reasons"] == [*found.reasons, *found.volume_reasons]
    assert set(content["slices"][0]) == {"plane", "index", "agreement"}
    assert set(content["labels"]["wall"]) == {
        "soft_dice",
        "plane_agreement",
        "volume_ml",
        "interval_ml",
        "training_range_ml",
        "surface_sd_mm",
    }
    assert content["soft_dice"] == round(found.soft_dice or 0, 4)


def test_a_case_has_its_expected_dice_or_the_reason_why_not() -> None:
    slices = tuple(SliceDoubt("axial", index, 0.5) for index in (31, 30, 7, 2))
    sure = Doubt(0.861, (0.789, 0.912), 52, 0.9, 0.9, 40.0, (), slices)
    assert sure.describe() == "expected Dice 0.86 [0.79, 0.91]; look at axial slices 31, 30, 7 first"
    unsure = replace(sure, expected_dice=None, interval=None, reasons=("one plane", "too few cases"))
    assert unsure.describe() == "no expected Dice: too few cases; look at axial slices 31, 30, 7 first"
    assert replace(unsure, reasons=(), slices=()).describe() == "no expected Dice"
    assert replace(unsure, slices=()).describe() == "no expected Dice: too few cases"
