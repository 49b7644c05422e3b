"""One optimisation step of the generator, and of the discriminator where there is one."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from volseg.config import Config, OptimiserConfig
from volseg.core.planes import Plane
from volseg.errors import ModelError
from volseg.network.devices import autocast
from volseg.network.discriminator import build_discriminator
from volseg.network.file import make_generator
from volseg.network.losses import adversarial_loss, hard_one_hot, one_hot, reconstruction_loss
from volseg.training.growth import plane_size
from volseg.training.schedule import rate_factor

_MOST_SKIPPED = 20  # updates in a row


class Learner:
    """The networks of one plane in training, and their optimisers.

    Parameters
    ----------
    config : Config
        Planned.
    plane : {"axial", "coronal", "sagittal"}
    channels, labels : int
        Input channels, and labels without background.
    device : torch.device
    """

    def __init__(self, config: Config, plane: Plane, *, channels: int, labels: int, device: torch.device) -> None:
        self.config, self.plane, self.device = config, plane, device
        self.generator = make_generator(config, channels=channels, labels=labels)
        self.generator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = _optimiser(self.generator.parameters(), config.optimiser)
        self.reconstruction = reconstruction_loss(config.loss.reconstruction)
        self.discriminator: nn.Module | None = None
        self.discriminator_optimiser: torch.optim.Optimizer | None = None
        if config.loss.adversarial_weight > 0 and config.training.slice_size is not None:
            smallest = config.training.first_size or config.training.slice_size
            self.discriminator = build_discriminator(
                self.generator.in_channels,
                self.generator.classes,
                slice_size=plane_size(smallest, plane),
                config=config.discriminator,
            ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.discriminator_optimiser = _optimiser(self.discriminator.parameters(), config.optimiser)
        self.skipped = 0

    def step(self, images: Tensor, classes: Tensor, progress: float, balance: float = 0.0) -> dict[str, float]:
        """Learn from one batch: images (B, C, H, W), classes (B, H, W). Returns the losses by name.

        Parameters
        ----------
        images : (B, C, H, W) float
        classes : (B, H, W) int64
        progress : float
            Share of the training that is done, 0 to 1.
        balance : float
            Of the cross-entropy.
        """
        self.generator.train()
        self._set_rate(progress)
        skipped = self.skipped
        images = images.to(memory_format=torch.channels_last)
        with autocast(self.device):
            logits = self.generator(images)
        logits = logits.float()
        losses = {"reconstruction": self.reconstruction(logits, classes, balance)}
        total = self.config.loss.reconstruction_weight * losses["reconstruction"]
        if self.discriminator is not None:
            predicted = logits.softmax(dim=1)
            if self.config.discriminator.sees == "labels":
                predicted = hard_one_hot(predicted)
            fake = torch.cat([images, predicted], dim=1)
            real = torch.cat([images, one_hot(classes, self.generator.classes)], dim=1)
            losses["discriminator"] = self._step_discriminator(real, fake.detach())
            losses["adversarial"] = adversarial_loss(self._judge(fake), real=True)
            total = total + self.config.loss.adversarial_weight * losses["adversarial"]
        self._update(self.optimiser, total, self.generator)
        if self.skipped == skipped:  # neither network's update was
            self.skipped = 0
        return {name: float(value.detach()) for name, value in losses.items()}

    def _judge(self, pairs: Tensor) -> Tensor:
        assert self.discriminator is not None
        with autocast(self.device):
            patches = self.discriminator(pairs)[-1]
        return torch.as_tensor(patches).float()

    def _step_discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        assert self.discriminator is not None
        assert self.discriminator_optimiser is not None
        self.discriminator.requires_grad_(True).train()
        # Halved, as published, which slows the discriminator relative to the generator.
        loss = (adversarial_loss(self._judge(real), real=True) + adversarial_loss(self._judge(fake), real=False)) / 2
        self._update(self.discriminator_optimiser, loss, self.discriminator)
        # The generator's gradient passes through the discriminator but must not change it.
        self.discriminator.requires_grad_(False)
        return loss

    def _update(self, optimiser: torch.optim.Optimizer, loss: Tensor, network: nn.Module) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        # The norm is not finite where the loss is not, nor where only the gradient overflowed: both would ruin weights.
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.config.optimiser.clip_norm or inf)
        if torch.isfinite(norm):
            optimiser.step()
            return
        self.skipped += 1
        if self.skipped >= _MOST_SKIPPED:
            raise ModelError(
                f"the gradient was not finite in {_MOST_SKIPPED} updates in a row; lower optimiser.learning_rate"
            )

    def _set_rate(self, progress: float) -> None:
        rate = self.config.optimiser.learning_rate * rate_factor(progress, self.config.optimiser.schedule)
        for optimiser in filter(None, (self.optimiser, self.discriminator_optimiser)):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def _parts(self) -> dict[str, Any]:
        parts = {
            "generator": self.generator,
            "optimiser": self.optimiser,
            "discriminator": self.discriminator,
            # this key is part of the checkpoint format
            "judge_optimiser": self.discriminator_optimiser,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def state(self) -> dict[str, Any]:
        """Return everything that a checkpoint must hold; tensors and plain values only."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state from `state`.

        Parameters
        ----------
        state : dict
        """
        for name, part in self._parts().items():
            part.load_state_dict(state[name])


def _optimiser(parameters: Iterable[nn.Parameter], config: OptimiserConfig) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True)
