"""The state of a training run: what changes while it learns, and what a checkpoint holds."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volseg.core.planes import Plane
from volseg.errors import UsageError
from volseg.training.checkpoint import opened_checkpoint, save_checkpoint
from volseg.training.plan import Fold
from volseg.training.run import Run
from volseg.training.schedule import Budget
from volseg.training.step import Learner


@dataclass
class Standing:
    """How far a run has come.

    Parameters
    ----------
    step : int
        Batches that were drawn.
    learnt : int
        Batches whose losses were finite; nothing is learnt from the others.
    losses : list of dict
        Of the batches since the last line of the log.
    reported, checked : float
        Progress, 0 to 1, at the last line of the log and at the last checkpoint on the way.
    validation_cases : int
        Held-out cases that fit into the time; 0 before that is known.
    case_seconds : float
        Validation time of one case.
    look_seconds : float
        Time that the last pictures of samples took, with the page.
    """

    step: int = 0
    learnt: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)
    reported: float = 0.0
    checked: float = 0.0
    validation_cases: int = 0
    case_seconds: float = 0.0
    look_seconds: float = 0.0

    def count(self, losses: dict[str, float]) -> None:
        """Count a step.

        Parameters
        ----------
        losses : dict of str to float
            Of its batch; they are kept only if all are finite.
        """
        self.step += 1
        if np.isfinite(list(losses.values())).all():
            self.learnt += 1
            self.losses.append(losses)

    def mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss since the last line of the log."""
        means = {}
        for name in self.losses[0]:
            means[name] = float(np.mean([losses[name] for losses in self.losses]))
        return means

    def fall_back(self, progress: float) -> None:
        """Take account of a run that was made longer, so that a smaller share of it is done.

        Parameters
        ----------
        progress : float
            The share that is done now, 0 to 1.
        """
        self.reported, self.checked = min(self.reported, progress), min(self.checked, progress)


class Clock:
    """Seconds of learning and validating; reading and preparing the scans are not among them.

    It stands still until `start` is called.

    Parameters
    ----------
    before : float
        Seconds of earlier sittings.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._started: float | None = None

    def start(self) -> None:
        """Begin to count the seconds of this sitting."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of all sittings so far."""
        if self._started is None:
            return self._before
        return self._before + time.monotonic() - self._started


@dataclass
class RunState:
    """Everything that a checkpoint holds. `new` and `load` make it, `save` writes it.

    The state of torch's global random numbers (dropout, first weights) belongs to it as well: `new` seeds them, `load`
    sets them.

    Parameters
    ----------
    fold : int or "all"
    fingerprint : str
        Of the cases and the plan; see `volseg.training.plan.fingerprint`.
    standing : Standing
    clock : Clock
    rng : numpy.random.Generator
        Draws the slices.
    noise : torch.Generator
        Draws the augmentation.
    learners : dict of plane to Learner
        The networks and their optimisers.
    """

    fold: Fold
    fingerprint: str
    standing: Standing
    clock: Clock
    rng: np.random.Generator
    noise: torch.Generator
    learners: dict[Plane, Learner]
    # False while a step or a validation changes several of these; such a state must not be saved.
    whole: bool = field(default=True, init=False)

    @classmethod
    def new(cls, run: Run) -> RunState:
        """Return the state before the first step.

        Parameters
        ----------
        run : Run
        """
        seed = run.config.training.seed
        torch.manual_seed(seed)
        rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        learners = run.make_learners(shared=run.shares(0.0, step=0))
        return cls(run.fold, run.fingerprint, Standing(), Clock(), rng, noise, learners)

    @classmethod
    def load(cls, run: Run, path: Path) -> RunState:
        """Return the state that a checkpoint holds.

        Parameters
        ----------
        run : Run
        path : path
            The checkpoint.

        Raises
        ------
        UsageError
            It was saved by a run on another fold, on other cases or by another plan.
        InputError
            It is damaged or something else.
        """
        with opened_checkpoint(path, run.device) as saved:
            if saved["fold"] != run.fold:
                raise UsageError(f"{path}: was trained on fold {saved['fold']}; resume it with --fold {saved['fold']}")
            if saved["fingerprint"] != run.fingerprint:
                raise UsageError(f"{path}: the dataset or plan.yaml has changed since; start anew in another folder")
            learners = run.make_learners(shared=saved.get("shared", False))
            standing = dict(saved["standing"])
            clock = Clock(standing.pop("elapsed"))
            rng, noise = np.random.default_rng(), torch.Generator()
            rng.bit_generator.state = json.loads(saved["rng"])
            noise.set_state(saved["noise"].cpu())
            for plane, learner in learners.items():
                learner.restore(saved["learners"][plane])
            torch.set_rng_state(saved["torch"].cpu())
            return cls(run.fold, run.fingerprint, Standing(**standing), clock, rng, noise, learners)

    def save(self, path: Path) -> None:
        """Write a checkpoint.

        Parameters
        ----------
        path : path
        """
        content: dict[str, Any] = {
            "fold": self.fold,
            "fingerprint": self.fingerprint,
            "standing": asdict(self.standing) | {"elapsed": self.clock.seconds},
            "rng": json.dumps(self.rng.bit_generator.state),
            "noise": self.noise.get_state(),
            "torch": torch.get_rng_state(),
            "shared": self.is_shared,
            "learners": {plane: learner.state() for plane, learner in self.learners.items()},
        }
        save_checkpoint(content, path)

    @property
    def is_shared(self) -> bool:
        """Whether one network is that of every plane."""
        return len(set(map(id, self.learners.values()))) < len(self.learners)

    def part(self) -> None:
        """Give each plane a network of its own, which goes on from the shared one."""
        for plane in list(self.learners)[1:]:
            self.learners[plane] = copy.deepcopy(self.learners[plane])

    def progress(self, budget: Budget) -> float:
        """Return the share of the training that is done, 0 to 1.

        Parameters
        ----------
        budget : Budget
        """
        now = self.standing
        return budget.progress(
            step=now.step, elapsed=self.clock.seconds, case_seconds=now.case_seconds, look_seconds=now.look_seconds
        )

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Mark a block that changes what belongs together: `whole` stays false if the block is cut short."""
        self.whole = False
        yield
        self.whole = True
