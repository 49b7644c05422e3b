"""The state of one training run, and what is done with it: learning, looking at held-out cases, finishing."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volseg.config import Config
from volseg.core.planes import Plane
from volseg.datasets import Case, Dataset
from volseg.errors import DatasetError, ModelError, UsageError
from volseg.files.atomic import write_text
from volseg.network.file import Model, save_model
from volseg.training.augment import augment
from volseg.training.checkpoint import opened_checkpoint, save_checkpoint
from volseg.training.curve import draw_curve
from volseg.training.data import SliceSampler, cache_case, check_space
from volseg.training.journal import Event, append_event, cut_events, read_events
from volseg.training.plan import Fold, fingerprint
from volseg.training.schedule import Budget
from volseg.training.standing import Standing
from volseg.training.step import Learner
from volseg.training.stop import Stop
from volseg.training.validation import Validation, validate

_STEPS = 7_000  # of a plane, where nothing else is set
_EPOCHS = 3  # at least, on sets so large that the steps would not show every slice
_FEW_STEPS = 100  # of a plane: fewer teach next to nothing
_REPORTS = 200  # lines of losses in the log of a whole training
_VALIDATION_SHARE = 0.15  # of a wall-clock budget, or of the time so far, for the validations on the way
_END_SHARE = 0.2  # of a wall-clock budget, at most, for the validation at the end
_SHORT_SECONDS = 60  # that a validation on the way may take in any case where there is no such budget

_LOG = logging.getLogger(__name__)


@dataclass
class Run:
    """One training run; `volseg.training.loop` is the way in.

    Whoever asks `stop` for an end is heard between two steps and while held-out cases are predicted, where everything
    that belongs together has changed together. `whole` says whether it has, for whoever does not ask.
    """

    folder: Path
    dataset: Dataset
    config: Config
    device: torch.device
    fold: Fold
    held_out: tuple[Case, ...]
    stop: Stop
    now: Standing = field(default_factory=Standing)
    whole: bool = True
    started: float | None = None
    cases: int = field(init=False)
    fingerprint: str = field(init=False)
    rng: np.random.Generator = field(init=False)
    noise: torch.Generator = field(init=False)
    learners: dict[Plane, Learner] = field(init=False)
    samplers: dict[Plane, SliceSampler] = field(init=False)

    def prepare(self, cases: Sequence[Case]) -> Iterator[Event]:
        """Cache the training slices."""
        # By fingerprint: slices prepared by another plan, of an attempt that was cut off, must not be taken for these.
        self.fingerprint = fingerprint(self.dataset, self.config, cases)
        self.cases = len(cases)
        cache = self.folder / "cache" / self.fingerprint
        prepared = []
        for number, case in enumerate(cases, 1):
            prepared.append(cache_case(case, cache, config=self.config, labels=self.dataset.labels))
            if number == 1:
                check_space(cache, cases)
            yield {"event": "reading", "done": len(cases) + number, "total": 2 * len(cases)}
        if not any(len(cut.foreground) for case in prepared for cut in case.values()):
            raise DatasetError(f"{self.dataset.name}: no training case has a single labelled voxel")
        self.samplers = {
            plane: SliceSampler(cut, self.config, plane)
            for plane in self.config.preparation.planes or ()
            if (cut := [case[plane] for case in prepared if plane in case])
        }

    def start(self, *, resume: bool, reading_seconds: float) -> Event:
        """Seed or restore everything random and everything learnt."""
        torch.manual_seed(self.config.training.seed)
        self.rng = np.random.default_rng(self.config.training.seed)
        self.noise = torch.Generator().manual_seed(self.config.training.seed)
        channels, labels = len(self.dataset.channel_names), len(self.dataset.labels)
        self.learners = {
            plane: Learner(self.config, plane, channels=channels, labels=labels, device=self.device)
            for plane in self.samplers
        }
        if resume:
            self._restore()
            self.now.fall_back(self._budget().progress(step=self.now.step, elapsed=self.elapsed))
        else:
            with suppress(FileNotFoundError):
                (self.folder / "log.jsonl").unlink()
        cases = {"cases": self.cases, "held_out": len(self.held_out), "reading_seconds": reading_seconds}
        event = {"event": "plan", "config": self.config.model_dump(mode="json"), "fold": self.fold, **cases}
        event["device"] = str(self.device)
        return event if resume else self._note(event)

    @property
    def elapsed(self) -> float:
        """Seconds of learning and validating so far; reading and preparing the scans are not among them."""
        return self.now.elapsed + (0.0 if self.started is None else time.monotonic() - self.started)

    def _budget(self) -> Budget:
        settings = self.config.training
        slices = sum(sampler.slices_per_epoch for sampler in self.samplers.values())
        epoch = -(-slices // (settings.batch_size or 1))
        steps = settings.epochs * epoch if settings.epochs else max(_STEPS * len(self.samplers), _EPOCHS * epoch)
        seconds = None
        if settings.minutes is not None:
            end = self.now.case_seconds * len(self.held_out)
            seconds = settings.minutes * 60 - min(end, self._allowance(_END_SHARE))
        return Budget(steps, seconds)

    def _allowance(self, share: float) -> float:
        return share * 60 * (self.config.training.minutes or float("inf"))

    def optimise(self) -> Iterator[Event]:
        """Learn until the budget is used; now and then validate and save a checkpoint."""
        self.started = time.monotonic()
        while True:
            self.stop.heed()
            progress = self._budget().progress(step=self.now.step, elapsed=self.elapsed)
            if self.now.losses and (progress - self.now.reported >= 1 / _REPORTS or progress >= 1):
                yield self._report(progress)
            if progress >= 1:
                break
            due = self.now.checked + 1 / self.config.training.validations
            if self.now.learnt and progress >= due and self._affordable():
                yield from self._check(progress)
            self._learn(progress)
        self._see_that_something_was_learnt()

    def _affordable(self) -> bool:
        """Whether another validation keeps to its share of a wall-clock budget."""
        if self.config.training.minutes is None:
            return True
        since = self.elapsed - self.now.checked * 60 * self.config.training.minutes
        return self.now.case_seconds * self.now.validation_cases <= _VALIDATION_SHARE * since

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Mark what changes together; `whole` stays false where it was cut short."""
        self.whole = False
        yield
        self.whole = True

    def _learn(self, progress: float) -> None:
        planes = list(self.samplers)
        plane = planes[self.now.step % len(planes)]
        with self._changing():
            images, classes = (torch.from_numpy(a).to(self.device) for a in self.samplers[plane].draw(self.rng))
            images, classes = augment(images, classes, self.config.augmentation_at(progress, plane), self.noise)
            losses = self.learners[plane].step(images, classes, progress)
            self.now.step += 1
            if np.isfinite(list(losses.values())).all():
                self.now.learnt += 1
                self.now.losses.append(losses)

    def _see_that_something_was_learnt(self) -> None:
        made, minutes = self.now.step, self.config.training.minutes
        if not made:
            raise UsageError(
                f"not one step was made in training.minutes = {minutes:g}; no model is written, give it more"
            )
        if not self.now.learnt:
            raise ModelError(
                f"nothing was learnt in {made} steps, as every loss was not finite; no model is written, lower "
                "optimiser.learning_rate"
            )
        if made < _FEW_STEPS * len(self.learners):
            count = "1 step was" if made == 1 else f"{made} steps were"
            _LOG.warning("only %s made, of %d a plane by default; give it more time", count, _STEPS)

    def _report(self, progress: float) -> Event:
        losses = self.now.losses
        means = {name: float(np.mean([entry[name] for entry in losses])) for name in losses[0]}
        steps = {"step": self.now.step, "progress": progress, "losses": means, "seconds": self.elapsed}
        with self._changing():
            self.now.losses, self.now.reported = [], progress
            return self._note({"event": "steps", **steps})

    def _check(self, progress: float) -> Iterator[Event]:
        """Validate on the way, and save a checkpoint."""
        result = self._validate_some() if self.held_out else None
        with self._changing():
            event, self.now.checked = None, progress
            if result is not None:
                self.now.validation_cases = result.cases
                self.now.case_seconds = result.seconds / max(1, result.cases)
                save_model(self._model(), self.folder / "model.safetensors")  # for whoever cannot wait
                event = self._note_validation("validation", result)
            self.save_checkpoint()
        if event is not None:
            yield event

    def _validate_some(self) -> Validation:
        settings = self.config.training
        # The first validation finds how many cases fit into the time; then they stay the same, to be comparable.
        if settings.minutes is None:
            allowance = max(_SHORT_SECONDS, _VALIDATION_SHARE * self.elapsed)
        else:
            allowance = self._allowance(_VALIDATION_SHARE) / settings.validations
        cases = self.held_out[: self.now.validation_cases or settings.validation_cases]
        return self._validate(cases, allowance)

    def _validate(self, cases: Sequence[Case], allowance: float, *, calibrate: bool = False) -> Validation:
        device, heed = str(self.device), self.stop.heed
        return validate(
            self._model(), cases, device=device, allowance_seconds=allowance, calibrate=calibrate, heed=heed
        )

    def _model(self, temperature: float = 1.0) -> Model:
        # Planes along which no training case is cut have no network to predict with.
        preparation = self.config.preparation.model_copy(update={"planes": tuple(self.learners)})
        return Model(
            self.config.model_copy(update={"preparation": preparation}),
            self.dataset.labels,
            self.dataset.channel_names,
            {f"{plane}.{self.fold}": learner.generator for plane, learner in self.learners.items()},
            modalities=self.dataset.modalities,
            temperature=temperature,
            fingerprint=self.fingerprint,
        )

    def finish(self) -> Iterator[Event]:
        """Validate the last weights on the held-out cases, calibrate and keep them; tidy up."""
        self.save_checkpoint()
        result = None
        if self.held_out:
            result = self._validate(self.held_out, self._allowance(_END_SHARE), calibrate=True)
        yield from list(self._keep(result))  # all of it, however long its events are looked at

    def _keep(self, result: Validation | None) -> Iterator[Event]:
        names = ["model.safetensors", "plan.yaml", "log.jsonl", "curve.png"]
        temperature = self.config.training.temperature
        if result is not None:
            if temperature is None and result.calibration:
                temperature = result.calibration.temperature
            left_out = [case.name for case in self.held_out if case.name not in result.by_case]
            content = {**asdict(result), "held_out": len(self.held_out), "left_out": left_out}
            write_text(self.folder / "validation.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
            names.append("validation.json")
            yield self._note_validation("final", result)
        save_model(self._model(temperature or 1.0), self.folder / "model.safetensors")
        self.save_checkpoint()
        draw_curve(read_events(self.folder / "log.jsonl"), self.folder / "curve.png")
        self.samplers = {}  # on Windows a file that is mapped cannot be removed
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        # The log goes along with the run, and says nothing of the machine.
        end = self._note({"event": "end", "files": names, "seconds": self.elapsed})
        yield end | {"files": [str(self.folder / name) for name in names]}

    def _note_validation(self, kind: str, result: Validation) -> Event:
        numbers = asdict(result)
        del numbers["by_case"]
        return self._note({"event": kind, "step": self.now.step, "held_out": len(self.held_out), **numbers})

    def _note(self, event: Event) -> Event:
        append_event(self.folder / "log.jsonl", event)
        return event

    def save_checkpoint(self) -> None:
        """Write everything that `_restore` needs."""
        state: dict[str, Any] = {
            "fold": self.fold,
            "fingerprint": self.fingerprint,
            "standing": asdict(self.now) | {"elapsed": self.elapsed},
            "rng": json.dumps(self.rng.bit_generator.state),
            "noise": self.noise.get_state(),
            "torch": torch.get_rng_state(),
            "learners": {plane: learner.state() for plane, learner in self.learners.items()},
        }
        save_checkpoint(state, self.folder / "checkpoint.pt")

    def _restore(self) -> None:
        file = self.folder / "checkpoint.pt"
        with opened_checkpoint(file, self.device) as state:
            if state["fold"] != self.fold:
                raise UsageError(f"{file}: was trained on fold {state['fold']}; resume it with --fold {state['fold']}")
            if state["fingerprint"] != self.fingerprint:
                raise UsageError(f"{file}: the dataset or plan.yaml has changed since; start anew in another folder")
            self.now = Standing(**state["standing"])
            self.rng.bit_generator.state = json.loads(state["rng"])
            self.noise.set_state(state["noise"].cpu())
            torch.set_rng_state(state["torch"].cpu())
            for plane, learner in self.learners.items():
                learner.restore(state["learners"][plane])
        cut_events(self.folder / "log.jsonl", step=self.now.step)
