from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from volseg.config import Config, parse_config
from volseg.core.planes import Plane
from volseg.errors import ModelError
from volseg.network.losses import adversarial_loss, one_hot
from volseg.training.step import Learner

CPU = torch.device("cpu")
EARLY = 0.1  # in the training, but past the warm-up


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute alike on every machine."""
    monkeypatch.setattr("volseg.network.devices.has_fast_bf16", lambda _device: False)


def settings_for(**sections: dict[str, object]) -> Config:
    base: dict[str, dict[str, object]] = {
        "preparation": {"neighbours": 0},
        "network": {"width": 4, "levels": 1},
        "discriminator": {"width": 4, "max_layers": 1},
        "optimiser": {"learning_rate": 2e-2},
        "training": {"slice_size": [16, 16, 32]},
    }
    return parse_config({key: {**base.get(key, {}), **sections.get(key, {})} for key in {**base, **sections}})


def learner(**sections: dict[str, object]) -> Learner:
    torch.manual_seed(0)
    return Learner(settings_for(**sections), "axial", channels=1, labels=2, device=CPU)


def batch(count: int = 4) -> tuple[Tensor, Tensor]:
    """Noisy pictures of their own classes."""
    generator = torch.Generator().manual_seed(1)
    classes = torch.zeros(count, 16, 16, dtype=torch.long)
    classes[:, 3:12, 2:8] = 1
    classes[:, 6:14, 9:14] = 2
    return classes[:, None] + 0.2 * torch.randn(count, 1, 16, 16, generator=generator), classes


def weights(network: nn.Module | None) -> Tensor:
    assert network is not None
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("adversarial", [0.0, 1.0])
@pytest.mark.parametrize("reconstruction", ["l1", "ce", "dice", "ce_dice"])
def test_every_arm_learns_a_batch(reconstruction: str, adversarial: float) -> None:
    weight = 100.0 if adversarial else 1.0
    learning = learner(
        loss={
            "reconstruction": reconstruction,
            "reconstruction_weight": weight,
            "adversarial_weight": adversarial,
        }
    )
    images, classes = batch()
    losses = [learning.step(images, classes, EARLY) for _ in range(20)]
    assert losses[-1]["reconstruction"] < 0.5 * losses[0]["reconstruction"]
    assert set(losses[0]) == {"reconstruction", *(("discriminator", "adversarial") if adversarial else ())}
    with torch.inference_mode():
        found = learning.generator.eval()(images).argmax(dim=1)
    assert (found == classes).float().mean() > 0.9


def test_the_balance_makes_errors_in_small_classes_cost_more() -> None:
    learning = learner()
    images, classes = batch()
    classes = torch.where(classes == 2, 0, classes)
    classes[:, :3, 0] = 2
    before, costs = copy.deepcopy(learning.state()), []
    for balance in (0.0, 0.5):
        learning.restore(copy.deepcopy(before))
        costs.append(learning.step(images, classes, EARLY, balance)["reconstruction"])
    assert costs[1] > costs[0] + 0.01


@pytest.mark.parametrize("growing", [{}, {"slice_size": [256, 256, 256], "first_size": [16, 24, 64]}])
@pytest.mark.parametrize(("plane", "shape"), [("axial", (16, 24)), ("coronal", (16, 64)), ("sagittal", (24, 64))])
def test_the_discriminator_is_as_deep_as_the_planes_smallest_slices_allow(
    plane: Plane, shape: tuple[int, int], growing: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def build(*arguments: object, **settings: object) -> nn.Module:
        asked.append(settings["slice_size"])
        return nn.Linear(1, 1)

    monkeypatch.setattr("volseg.training.step.build_discriminator", build)
    config = settings_for(loss={"adversarial_weight": 1.0}, training={"slice_size": [16, 24, 64], **growing})
    Learner(config, plane, channels=1, labels=2, device=CPU)
    assert asked == [shape]


def test_without_an_adversarial_term_there_is_no_discriminator() -> None:
    assert learner().discriminator is None
    assert set(learner().state()) == {"generator", "optimiser"}


@pytest.mark.parametrize(("sees", "fractions"), [("labels", False), ("probabilities", True)])
def test_what_the_discriminator_sees_of_a_prediction(sees: str, fractions: bool) -> None:
    learning = learner(loss={"adversarial_weight": 1.0}, discriminator={"sees": sees})
    seen = []
    assert learning.discriminator is not None
    learning.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()[:, 1:]))
    learning.step(*batch(), EARLY)
    real, *fakes = seen
    assert len(fakes) == 2  # for its own update and for the generator's
    assert set(real.unique().tolist()) == {0.0, 1.0}
    for fake in fakes:
        assert (len(fake.unique()) > 2) == fractions


def test_the_discriminator_learns_from_its_own_loss_alone() -> None:
    """Its weights after a step are those of one Adam step on the halved loss; the generator's pass leaves them."""
    learning = learner(loss={"adversarial_weight": 5.0}, optimiser={"name": "adam", "clip_norm": None})
    images, classes = batch()
    discriminator, generator = copy.deepcopy(learning.discriminator), copy.deepcopy(learning.generator)
    assert discriminator is not None
    with torch.no_grad():
        fake = torch.cat([images, generator.train()(images).softmax(dim=1)], dim=1)
    real = torch.cat([images, one_hot(classes, 3)], dim=1)
    rate = learning.config.optimiser.learning_rate
    optimiser = torch.optim.Adam(
        discriminator.parameters(), lr=rate, weight_decay=learning.config.optimiser.weight_decay
    )
    loss = (
        adversarial_loss(discriminator.train()(real)[-1], real=True)
        + adversarial_loss(discriminator(fake)[-1], real=False)
    ) / 2
    loss.backward()
    optimiser.step()

    losses = learning.step(images, classes, progress=0.03)  # where the rate is the full one
    assert losses["discriminator"] == pytest.approx(loss.item(), abs=1e-4)
    assert torch.allclose(weights(learning.discriminator), weights(discriminator), atol=1e-4)
    assert not torch.allclose(weights(learning.generator), weights(generator), atol=1e-4)


def test_the_adversarial_term_teaches_the_generator_to_pass_for_real() -> None:
    learning = learner(loss={"adversarial_weight": 1.0}, optimiser={"weight_decay": 0.0})
    learning.reconstruction = lambda logits, classes, balance=0.0: logits.sum() * 0  # teaches nothing
    assert learning.discriminator_optimiser is not None
    learning.discriminator_optimiser.step = lambda *_: None  # type: ignore[method-assign, assignment]
    images, classes = batch()
    losses = [learning.step(images, classes, EARLY)["adversarial"] for _ in range(20)]
    assert losses[-1] < losses[0] - 0.02


@pytest.mark.parametrize("progress", [0.03, 0.5, 1.0])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_follows_the_schedule(schedule: str, progress: float) -> None:
    learning = learner(optimiser={"schedule": schedule, "weight_decay": 0.0}, loss={"adversarial_weight": 1.0})
    images, classes = batch()
    before = weights(learning.generator)
    learning.step(images, classes, progress)
    assert learning.discriminator_optimiser is not None
    rates = [group["lr"] for o in (learning.optimiser, learning.discriminator_optimiser) for group in o.param_groups]
    assert len(set(rates)) == 1
    assert (rates[0] == 0) == (progress == 1)
    assert torch.equal(weights(learning.generator), before) == (progress == 1)


@pytest.mark.parametrize("adversarial", [0.0, 1.0])
def test_a_loss_that_is_not_finite_changes_nothing_and_is_given_up_after_twenty(adversarial: float) -> None:
    learning = learner(loss={"adversarial_weight": adversarial})
    images, classes = batch()
    broken = images.clone()
    broken[0, 0, 0, 0] = float("nan")
    before = weights(learning.generator)
    for _ in range(5):
        learning.step(broken, classes, EARLY)
    assert torch.equal(weights(learning.generator), before)
    learning.step(images, classes, EARLY)  # one good step starts the count again
    assert learning.skipped == 0
    assert not torch.equal(weights(learning.generator), before)

    def repeat() -> None:
        for _ in range(20):
            learning.step(broken, classes, EARLY)

    with pytest.raises(ModelError, match=r"not finite in 20 updates in a row; lower optimiser\.learning_rate"):
        repeat()


@pytest.mark.parametrize("clip_norm", [12.0, None])
@pytest.mark.parametrize("adversarial", [0.0, 1.0])
def test_a_gradient_that_overflows_under_a_finite_loss_changes_nothing_either(
    adversarial: float, clip_norm: float | None
) -> None:
    learning = learner(loss={"adversarial_weight": adversarial}, optimiser={"clip_norm": clip_norm})
    learning.reconstruction = lambda logits, classes, balance=0.0: logits.mul(0).sum().sqrt()  # slope inf
    before = weights(learning.generator)
    images, classes = batch()
    for _ in range(19):
        assert learning.step(images, classes, EARLY)["reconstruction"] == 0
    assert torch.equal(weights(learning.generator), before)
    with pytest.raises(ModelError, match="the gradient was not finite in 20 updates in a row"):
        learning.step(images, classes, EARLY)


def test_gradients_are_clipped_as_asked() -> None:
    images, classes = batch()
    for limit in (1e-3, None):
        learning = learner(optimiser={"clip_norm": limit}, loss={"reconstruction_weight": 100.0})
        learning.step(images, classes, EARLY)
        norm = sum(float(p.grad.square().sum()) for p in learning.generator.parameters() if p.grad is not None) ** 0.5
        assert norm == pytest.approx(1e-3, rel=1e-2) if limit else norm > 1


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_the_one_asked_for(name: str, kind: type) -> None:
    learning = learner(optimiser={"name": name, "betas": [0.5, 0.9], "weight_decay": 0.02})
    assert type(learning.optimiser) is kind
    group = learning.optimiser.param_groups[0]
    assert (group["betas"], group["weight_decay"]) == ((0.5, 0.9), 0.02)


@pytest.mark.parametrize("adversarial", [0.0, 1.0])
def test_a_restored_learner_goes_on_as_if_nothing_had_happened(adversarial: float) -> None:
    sections: dict[str, dict[str, object]] = {
        "loss": {"adversarial_weight": adversarial},
        "network": {"norm": "batch"},
    }
    images, classes = batch()
    first = learner(**sections)
    for _ in range(3):
        first.step(images, classes, EARLY)
    state = copy.deepcopy(first.state())
    second = learner(**sections)
    assert not torch.equal(weights(first.generator), weights(second.generator))
    second.restore(state)
    expected, found = (one.step(images, classes, 0.4) for one in (first, second))
    assert found == expected
    assert torch.equal(weights(first.generator), weights(second.generator))
    if adversarial:
        assert torch.equal(weights(first.discriminator), weights(second.discriminator))
