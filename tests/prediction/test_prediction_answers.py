"""Quick ways to labels and probabilities give what the plain ones give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from volseg.config import parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.planes import PLANES, Plane
from volseg.core.resample import resample_plane
from volseg.core.slices import stack_slices
from volseg.core.volume import Volume
from volseg.errors import ModelError
from volseg.network.file import Model, make_generator
from volseg.network.generator import fold_norms
from volseg.prediction import networks
from volseg.prediction.answers import SOFTENING, largest, resample_slices
from volseg.prediction.candidates import LEAST, Candidates
from volseg.prediction.inference import Prediction, plane_weights, predict, predict_scan
from volseg.prediction.networks import ReadyModel
from volseg.prediction.prepare import prepare


def model_of(planes: tuple[Plane, ...], *, labels: int, folds: int = 1, spacing_mm: float = 1.0) -> Model:
    """Networks with random weights. No class is likelier than others, so that many occur."""
    torch.manual_seed(0)
    preparation = {
        "planes": planes,
        "spacing_mm": [spacing_mm] * 3,
        "normalisation": [{"kind": "zscore"}],
        "neighbours": 1,
    }
    config = parse_config({"preparation": preparation, "network": {"width": 4, "levels": 2}})
    named = {}
    for plane in planes:
        for fold in range(folds):
            network = make_generator(config, channels=1, labels=labels).eval()
            for weights in network.parameters():
                torch.nn.init.normal_(weights, std=0.5)
            head = network.get_submodule("head")
            assert isinstance(head, torch.nn.Conv2d)
            assert head.bias is not None
            torch.nn.init.normal_(head.weight, std=5)
            with torch.no_grad():
                head.bias -= network(torch.randn(8, 3, 16, 16)).mean(dim=(0, 2, 3))
            named[f"{plane}.{fold}"] = network
    kinds = tuple(Label(value, f"label {value}", (9, 9, 9)) for value in range(1, labels + 1))
    return Model(config, kinds, ("MR",), named)


def scan_of(shape: tuple[int, int, int] = (13, 17, 11)) -> Volume:
    grid = Grid(shape, np.diag((-1.0, 1.0, -1.0, 1.0)))  # two axes run backwards
    return Volume(np.random.default_rng(0).normal(size=shape).astype(np.float32), grid)


def plainly(model: Model, scan: Volume) -> NDArray[np.float32]:
    """(K, I, J, K) probabilities: all at once, in NumPy's float32, as the method is described."""
    ready, total = ReadyModel(model, "cpu"), np.zeros((len(model.labels) + 1, *scan.grid.shape), dtype=np.float32)
    for plane, weight in plane_weights(model.config.preparation, scan.grid).items():
        stack = prepare([scan], model.config.preparation, plane)
        answers = ready.logits(plane, torch.from_numpy(stack.batch(0, len(stack))))
        for logits in answers:
            powers = np.exp(logits.float().numpy() / SOFTENING)
            native = resample_plane(powers / powers.sum(axis=1, keepdims=True), stack.native_size)
            slices = stack_slices(stack.reorientation.array(total), plane)
            slices += weight / len(answers) * native.swapaxes(0, 1)
    return total


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bfloat16 answers depend on the batch; this is about what is made of them."""
    monkeypatch.setattr(networks, "has_fast_bf16", lambda _device: False)
    monkeypatch.setattr("volseg.network.devices.has_fast_bf16", lambda _device: False)


def check(found: Prediction, expected: NDArray[np.float32], *, rounding: float) -> None:
    """Labels are those of the largest probability, but for voxels where rounding decides between two."""
    first, second = np.sort(expected, axis=0)[:-3:-1]
    clear = first - second > rounding
    assert clear.mean() > 0.95
    assert np.array_equal(found.labels.array[clear], expected.argmax(axis=0)[clear])
    assert len(np.unique(found.labels.array)) > 1
    if found.probabilities is not None:
        assert np.allclose(found.probabilities, expected, atol=2e-3)


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("labels", [2, 30])  # the softmax of many classes is another
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("folds", "spacing_mm"), [(1, 1.0), (2, 1.0), (1, 1.4), (1, 0.6)])
def test_one_plane_gives_the_largest_probability(
    plane: Plane, labels: int, folds: int, spacing_mm: float, probabilities: bool
) -> None:
    model, scan = model_of((plane,), labels=labels, folds=folds, spacing_mm=spacing_mm), scan_of()
    found = predict(model, scan, device="cpu", batch_size=3, probabilities=probabilities)
    check(found, plainly(model, scan), rounding=1e-5)


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("labels", [2, 30])
def test_fused_planes_give_the_largest_mean_probability(labels: int, probabilities: bool) -> None:
    model, scan = model_of(PLANES, labels=labels), scan_of()
    found = predict(model, scan, device="cpu", batch_size=3, probabilities=probabilities)
    check(found, plainly(model, scan), rounding=1e-3)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_large_scan_is_fused_by_all_of_few_classes(labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, scan = model_of(PLANES, labels=labels), scan_of()
    monkeypatch.setattr("volseg.prediction.answers.can_hold", lambda _model, _shape: False)
    check(predict(model, scan, device="cpu", batch_size=3), plainly(model, scan), rounding=1e-3)


@pytest.mark.parametrize("classes", [3, 41, 300])
def test_candidates_lose_nothing_where_few_classes_are_in_doubt(classes: int) -> None:
    scan, count = scan_of(), min(LEAST, classes)
    config = model_of(PLANES, labels=2).config.preparation
    drawn = np.random.default_rng(0).random((classes, *scan.grid.shape), dtype=np.float32)
    possible = drawn >= np.sort(drawn, axis=0)[-count]
    total, candidates = np.zeros_like(drawn), Candidates(scan.grid.shape, classes, most_bytes=0)
    for seed, plane in enumerate(PLANES):
        share = possible * np.random.default_rng(seed).integers(1, 99, drawn.shape).astype(np.float32) / 1024
        total += share
        stack = prepare([scan], config, plane)
        slices = stack_slices(stack.reorientation.array(share), plane).swapaxes(0, 1).copy()
        expected = stack_slices(stack.reorientation.array(total), plane).swapaxes(0, 1)
        candidates.turn_to(stack, plane)
        for here in (slice(0, 4), slice(4, len(stack))):
            sums = candidates.add_to(torch.from_numpy(slices[here]), here)
            assert np.array_equal(sums.numpy(), expected[here])
            candidates.keep(sums, here)


@pytest.mark.parametrize("labels", [2, 30])
def test_labels_do_not_depend_on_what_is_kept_nor_on_blocks(labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for planes in (("axial",), PLANES):
        model = model_of(planes, labels=labels)
        expected = predict(model, scan_of(), device="cpu")
        kept = predict(model, scan_of(), device="cpu", probabilities=True)
        assert np.array_equal(kept.labels.array, expected.labels.array)
        with monkeypatch.context() as small:
            small.setattr("volseg.prediction.answers._PIXELS_PER_BLOCK", 1)  # slice by slice
            blocks = predict(model, scan_of(), device="cpu", probabilities=True)
        assert np.array_equal(blocks.labels.array, expected.labels.array)
        assert np.array_equal(blocks.probabilities, kept.probabilities)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 3, 41, 300])
def test_the_first_of_several_largest_scores_counts(classes: int, dtype: torch.dtype) -> None:
    scores = torch.randint(0, 3, (2, classes, 33, 35)).to(dtype)
    expected = scores.float().numpy().argmax(axis=1)
    assert np.array_equal(largest(scores), expected)
    assert np.array_equal(largest(scores.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("classes", [3, 41])
@pytest.mark.parametrize("size", [(12, 17), (24, 31), (7, 5), (30, 6), (1, 40), (12, 18)])
def test_slices_are_resampled_as_by_the_matrices(classes: int, size: tuple[int, int]) -> None:
    slices = torch.rand(2, classes, 12, 17).contiguous(memory_format=torch.channels_last)
    assert np.allclose(resample_slices(slices, size), resample_plane(slices.numpy(), size), atol=1e-6)
    line = slices[..., :1, :]
    assert np.allclose(resample_slices(line, size), resample_plane(line.numpy(), size), atol=1e-6)


def test_networks_are_made_ready_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, folded = model_of(("axial", "coronal"), labels=2, folds=2), []
    usual = fold_norms

    def counted(network: torch.nn.Module) -> torch.nn.Module:
        folded.append(network)
        return usual(network)

    monkeypatch.setattr(networks, "fold_norms", counted)
    ready = ReadyModel(model, "cpu")
    for seed in range(3):
        scan = scan_of().with_array(np.random.default_rng(seed).normal(size=(13, 17, 11)))
        found = predict_scan(ready, scan).labels.array
        assert folded == list(model.networks.values())
        with monkeypatch.context() as anew:
            anew.setattr(networks, "fold_norms", usual)
            assert np.array_equal(found, predict(model, scan, device="cpu").labels.array)


def test_weights_that_are_kept_in_half_the_memory_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast converts the weights of convolutions for each batch to what is kept here."""
    model, batch = model_of(("axial",), labels=4), torch.randn(4, 3, 17, 19)
    monkeypatch.setattr(networks, "autocast", lambda device: torch.autocast(device.type, dtype=torch.bfloat16))
    (expected,) = ReadyModel(model, "cpu").logits("axial", batch)
    monkeypatch.setattr(networks, "has_fast_bf16", lambda _device: True)
    (found,) = ReadyModel(model, "cpu").logits("axial", batch)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(found, expected)


def test_the_networks_of_a_model_stay_as_they_are() -> None:
    model: Model = model_of(("axial",), labels=2)
    before: Mapping[str, torch.Tensor] = {k: v.clone() for k, v in model.networks["axial.0"].state_dict().items()}
    ready = ReadyModel(model, "cpu")
    ready.logits("axial", torch.randn(1, 3, 8, 8))
    for name, value in model.networks["axial.0"].state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype
    with pytest.raises(ModelError, match=r"no network for coronal slices, only axial\.0"):
        ready.logits("coronal", torch.randn(1, 3, 8, 8))
