"""What stays the same throughout a training run, and what is made of it: networks, a model, lines of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch

from volseg.config import Config
from volseg.core.planes import Plane
from volseg.datasets import Case, Dataset
from volseg.network.file import Model
from volseg.training.events import TrainingEvent
from volseg.training.journal import append_event
from volseg.training.plan import Fold
from volseg.training.sampling import SliceSampler
from volseg.training.schedule import Budget, plan_budget
from volseg.training.step import Learner

_Event = TypeVar("_Event", bound=TrainingEvent)


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: everything that does not change while it learns.

    Parameters
    ----------
    folder : Path
        Of its files.
    dataset : Dataset
    config : Config
        Planned.
    device : torch.device
    fold : int or "all"
    fingerprint : str
        Of the cases and the plan; see `volseg.training.plan.fingerprint`.
    held_out : tuple of Case
        Cases to validate on.
    samplers : dict of plane to SliceSampler
        The prepared slices.
    """

    folder: Path
    dataset: Dataset
    config: Config
    device: torch.device
    fold: Fold
    fingerprint: str
    held_out: tuple[Case, ...]
    samplers: dict[Plane, SliceSampler]

    @property
    def checkpoint(self) -> Path:
        """The file of the checkpoint."""
        return self.folder / "checkpoint.pt"

    @property
    def log(self) -> Path:
        """The file of the log."""
        return self.folder / "log.jsonl"

    @cached_property
    def budget(self) -> Budget:
        """How long the run is."""
        slices = sum(sampler.slices_per_epoch for sampler in self.samplers.values())
        settings, held_out = self.config.training, len(self.held_out)
        return plan_budget(settings, slices=slices, planes=len(self.samplers), held_out=held_out)

    def make_learners(self) -> dict[Plane, Learner]:
        """Make an untrained network for each plane, with first weights from torch's global random numbers."""
        channels, labels = len(self.dataset.channel_names), len(self.dataset.labels)
        return {
            plane: Learner(self.config, plane, channels=channels, labels=labels, device=self.device)
            for plane in self.samplers
        }

    def make_model(self, learners: Mapping[Plane, Learner]) -> Model:
        """Make a model of the weights as they are now; nothing is fitted on held-out cases.

        Parameters
        ----------
        learners : dict of plane to Learner
        """
        # Planes along which no training case is cut have no network to predict with.
        preparation = self.config.preparation.model_copy(update={"planes": tuple(learners)})
        return Model(
            self.config.model_copy(update={"preparation": preparation}),
            self.dataset.labels,
            self.dataset.channel_names,
            {f"{plane}.{self.fold}": learner.generator for plane, learner in learners.items()},
            modalities=self.dataset.modalities,
            fingerprint=self.fingerprint,
        )

    def note(self, event: _Event) -> _Event:
        """Write an event to the log, and return it.

        Parameters
        ----------
        event : TrainingEvent
        """
        append_event(self.log, event.to_json())
        return event
