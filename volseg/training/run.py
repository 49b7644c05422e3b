"""What stays the same throughout a training run, and what is made of it: networks, a model, lines of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from volseg.config import Config
from volseg.core.planes import Plane
from volseg.datasets import Case, Dataset
from volseg.network.file import Model
from volseg.training.events import TrainingEvent
from volseg.training.growth import Stage, plan_stages
from volseg.training.journal import append_event
from volseg.training.outlook import Outlook, Workload, look_ahead, seconds_left
from volseg.training.pace import Draw, Pace, measure_pace
from volseg.training.plan import Fold
from volseg.training.sampling import SliceSampler
from volseg.training.schedule import Budget, plan_budget
from volseg.training.step import Learner

_Event = TypeVar("_Event", bound=TrainingEvent)

_EARLY_STEPS = 1_000  # for each plane


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
    volumes_ml : dict of str to (float, float)
        The smallest and largest volume of each label in the training cases that have it.
    limited : bool
        Whether the clock ends it where it has no length of its own.
    """

    folder: Path
    dataset: Dataset
    config: Config
    device: torch.device
    fold: Fold
    fingerprint: str
    held_out: tuple[Case, ...]
    samplers: dict[Plane, SliceSampler]
    volumes_ml: dict[str, tuple[float, float]]
    limited: bool = True

    @property
    def checkpoint(self) -> Path:
        """The file of the checkpoint."""
        return self.folder / "checkpoint.pt"

    @property
    def log(self) -> Path:
        """The file of the log."""
        return self.folder / "log.jsonl"

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """How its slices grow."""
        return plan_stages(self.config, list(self.samplers))

    @cached_property
    def work(self) -> Workload:
        """How much there is to learn from and to predict."""
        slices, pixels = 0, 0.0
        for sampler in self.samplers.values():
            slices += sampler.slices_per_epoch
            pixels += sum(case.classes.size for case in sampler.cases) / len(sampler.cases)
        return Workload(slices, pixels)

    @cached_property
    def budget(self) -> Budget:
        """How long the run is."""
        budget = plan_budget(
            self.config.training,
            self.stages,
            slices=self.work.slices,
            planes=len(self.samplers),
            held_out=len(self.held_out),
            device=self.device.type,
        )
        return budget if self.limited else replace(budget, most_minutes=None)

    @cached_property
    def pace(self) -> Pace:
        """How quick the machine is; the first look at it takes some seconds."""
        draws: dict[Plane, Draw] = {}
        for plane, sampler in self.samplers.items():
            draws[plane] = partial(sampler.draw, np.random.default_rng(0))
        channels, labels = len(self.dataset.channel_names), len(self.dataset.labels)
        return measure_pace(self.config, draws, channels=channels, labels=labels, device=self.device)

    @cached_property
    def outlook(self) -> tuple[Outlook, Outlook, Outlook]:
        """What is expected in half the time, in its time, and in twice that."""
        return look_ahead(self.config.training, self.budget, self.stages, self.pace, self.work)

    def seconds_left(self, *, progress: float, elapsed: float) -> float:
        """Return how long the run will go on.

        Parameters
        ----------
        progress : float
            Share of the training that is done, 0 to 1.
        elapsed : float
            Seconds of learning and validating.
        """
        return seconds_left(self.budget, self.stages, self.pace, progress=progress, elapsed=elapsed)

    def make_learners(self, *, shared: bool) -> dict[Plane, Learner]:
        """Make an untrained network for each plane, with first weights from torch's global random numbers.

        Parameters
        ----------
        shared : bool
            Whether one network is that of every plane.
        """
        channels, labels = len(self.dataset.channel_names), len(self.dataset.labels)
        make = partial(Learner, self.config, channels=channels, labels=labels, device=self.device)
        if shared:
            return dict.fromkeys(self.samplers, make(next(iter(self.samplers))))
        return {plane: make(plane) for plane in self.samplers}

    def shares(self, progress: float, *, step: int) -> bool:
        """Whether one network learns from all planes at a moment of the training.

        Parameters
        ----------
        progress : float
            Share of the training that is done, 0 to 1.
        step : int
            Steps made.
        """
        planes = len(self.samplers)
        if planes == 1 or self.config.loss.adversarial_weight:
            return False
        return progress < self.config.training.shared and step < _EARLY_STEPS * planes

    def balance(self, progress: float, *, step: int) -> float:
        """Return the balance of the cross-entropy at a moment of the training.

        Parameters
        ----------
        progress : float
            Share of the training that is done, 0 to 1.
        step : int
            Steps made.
        """
        by_steps = 2 - step / (_EARLY_STEPS * len(self.samplers))
        by_progress = 2 * (1 - progress)
        return self.config.loss.balance * float(np.clip(min(by_steps, by_progress), 0, 1))

    def make_model(self, learners: Mapping[Plane, Learner], *, steps: int) -> Model:
        """Make a model of the weights as they are now; nothing is fitted on held-out cases.

        Parameters
        ----------
        learners : dict of plane to Learner
        steps : int
            Made so far, of all planes together.
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
            steps=steps // len(learners),
        )

    def note(self, event: _Event) -> _Event:
        """Write an event to the log, and return it.

        Parameters
        ----------
        event : TrainingEvent
        """
        append_event(self.log, event.to_json())
        return event
