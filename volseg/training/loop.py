"""The training run, from a dataset to a model file."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volseg.config import Config, Plane, load_config
from volseg.errors import DatasetError, InputError, UsageError
from volseg.io.atomic import check_writable, write_text
from volseg.io.datasets import Case, Dataset, read_dataset
from volseg.model.devices import choose_device
from volseg.model.file import Model, save_model
from volseg.training.augment import augment
from volseg.training.checkpoint import opened_checkpoint, save_checkpoint
from volseg.training.data import SliceSampler, cache_case, check_space
from volseg.training.journal import Event, append_event, cut_events, draw_curve, read_events
from volseg.training.plan import Fold, choose_cases, fingerprint, iterate_planning
from volseg.training.schedule import Budget
from volseg.training.step import Learner
from volseg.training.validation import Validation, validate

_RESUMED = ("step", "checked", "validation_cases", "elapsed_before", "case_seconds", "fold", "fingerprint")
_STEPS = 7_000  # of a plane, where nothing else is set
_EPOCHS = 3  # at least, on sets so large that the steps would not show every slice
_REPORTS = 200  # lines of losses in the log of a whole training
_VALIDATION_SHARE = 0.15  # of a wall-clock budget, or of the time so far, for the validations on the way
_END_SHARE = 0.2  # of a wall-clock budget, at most, for the validation at the end
_SHORT_SECONDS = 60  # that a validation on the way may take in any case where there is no such budget


def train(
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    config: Config | None = None,
    fold: Fold = 0,
    device: str = "auto",
    resume: bool = False,
) -> Path:
    """Train a model from a dataset and return the path of the model file.

    Parameters
    ----------
    dataset : Dataset or path
        A Medical Segmentation Decathlon or nnU-Net folder, or a CSV of pairs; see `volseg.io.datasets.read_dataset`.
    output : path
        Folder for ``model.safetensors``, ``plan.yaml`` (every setting, as planned), ``log.jsonl``, ``curve.png``,
        ``validation.json`` and ``checkpoint.pt``.
    config : Config, optional
        Settings; what is None in them is planned from the dataset. Default: the ``default`` preset.
    fold : int or "all"
        Which fold is held out for validation; ``all`` trains on every case. The last weights are the model either way:
        weights chosen by the held-out cases would make their own scores flatter.
    device : str
        ``auto`` or any torch device.
    resume : bool
        Go on from ``checkpoint.pt`` in `output`, with the settings of its ``plan.yaml``; more ``epochs`` or ``minutes``
        in it make the run longer.

    Raises
    ------
    DatasetError
        Orphans, mismatched grids or unknown labels: all of them, before anything is trained.
    UsageError, ConfigError, InputError, OutputError
        As their names say.
    """
    for _ in iterate_training(dataset, output, config=config, fold=fold, device=device, resume=resume):
        pass
    return Path(output) / "model.safetensors"


def iterate_training(
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    config: Config | None = None,
    fold: Fold = 0,
    device: str = "auto",
    resume: bool = False,
) -> Iterator[Event]:
    """Do what `train` does and yield an event for each thing that happens, for progress bars.

    Events are dictionaries with a key ``event``: ``reading`` (done, total: cases, read once to plan and once to
    prepare), ``plan`` (config, fold, cases, held_out, device), ``steps`` (step, progress, losses, seconds),
    ``validation`` and, of the last weights on all held-out cases, ``final`` (step, mean, per_label, cases, held_out,
    calibration, seconds), ``end`` (files, seconds). All but ``reading`` are also in ``log.jsonl``.
    """
    started = time.monotonic()
    folder = Path(output)
    found = dataset if isinstance(dataset, Dataset) else read_dataset(Path(dataset))
    target = choose_device(device)
    check_folder(folder, resume=resume)
    if not resume:
        for done, total in iterate_planning(found, folder, config=config, fold=fold):
            yield {"event": "reading", "done": done, "total": 2 * total}
    training, held_out = choose_cases(found, fold)
    run = _Run(folder, found, load_config(folder / "plan.yaml"), device=target, fold=fold, held_out=held_out)
    yield from run.prepare(training)
    yield run.start(resume=resume, started=started)
    try:
        yield from run.optimise()
    except KeyboardInterrupt:
        run.save_checkpoint()
        raise
    yield from run.finish()


def check_folder(folder: Path, *, resume: bool = False) -> None:
    """See that a run can be started in a folder, or resumed.

    Raises
    ------
    InputError, UsageError, OutputError
        There is no checkpoint to resume, there is one that would be lost, or the folder cannot be written.
    """
    checkpoint = folder / "checkpoint.pt"
    if resume and not checkpoint.is_file():
        raise InputError(f"{checkpoint}: no such checkpoint to resume from; leave out --resume to start anew")
    if not resume and checkpoint.exists():
        raise UsageError(f"{folder}: holds a training run already; add --resume to go on or choose another folder")
    check_writable(folder)


@dataclass
class _Run:
    """The state of one training run; `train` is the way in."""

    folder: Path
    dataset: Dataset
    config: Config
    device: torch.device
    fold: Fold
    held_out: tuple[Case, ...]
    step: int = 0
    checked: float = 0.0
    validation_cases: int = 0
    elapsed_before: float = 0.0
    case_seconds: float = 0.0
    cases: int = field(init=False)
    fingerprint: str = field(init=False)
    rng: np.random.Generator = field(init=False)
    noise: torch.Generator = field(init=False)
    learners: dict[Plane, Learner] = field(init=False)
    samplers: dict[Plane, SliceSampler] = field(init=False)
    started: float = field(init=False)

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

    def start(self, *, resume: bool, started: float) -> Event:
        """Seed or restore everything random and everything learnt."""
        torch.manual_seed(self.config.training.seed)
        self.started = started
        self.rng = np.random.default_rng(self.config.training.seed)
        self.noise = torch.Generator().manual_seed(self.config.training.seed)
        self.learners = {
            plane: Learner(
                self.config,
                plane,
                channels=len(self.dataset.channel_names),
                labels=len(self.dataset.labels),
                device=self.device,
            )
            for plane in self.samplers
        }
        if resume:
            self._restore()
        else:
            with suppress(FileNotFoundError):
                (self.folder / "log.jsonl").unlink()
        cases = {"cases": self.cases, "held_out": len(self.held_out), "device": str(self.device)}
        event = {"event": "plan", "config": self.config.model_dump(mode="json"), "fold": self.fold, **cases}
        return event if resume else self._note(event)

    @property
    def elapsed(self) -> float:
        return self.elapsed_before + time.monotonic() - self.started

    def _budget(self) -> Budget:
        settings = self.config.training
        slices = sum(sampler.slices_per_epoch for sampler in self.samplers.values())
        epoch = -(-slices // (settings.batch_size or 1))
        steps = settings.epochs * epoch if settings.epochs else max(_STEPS * len(self.samplers), _EPOCHS * epoch)
        seconds = None
        if settings.minutes is not None:
            end = self.case_seconds * len(self.held_out)
            seconds = settings.minutes * 60 - min(end, self._allowance(_END_SHARE))
        return Budget(steps, seconds)

    def _allowance(self, share: float) -> float:
        return share * 60 * (self.config.training.minutes or float("inf"))

    def optimise(self) -> Iterator[Event]:
        """Learn until the budget is used; now and then validate and save a checkpoint."""
        losses: list[dict[str, float]] = []
        reported = 0.0
        while True:
            progress = self._budget().progress(step=self.step, elapsed=self.elapsed)
            if losses and (progress - reported >= 1 / _REPORTS or progress >= 1):
                reported = progress
                yield self._report(progress, losses)
                losses = []
            if progress >= 1:
                return
            if progress >= self.checked + 1 / self.config.training.validations and self._affordable():
                self.checked = progress
                events = [self._validate()] if self.held_out else []
                self.save_checkpoint()
                yield from events
            learnt = self._learn(progress)
            if np.isfinite(list(learnt.values())).all():  # if not, nothing was learnt from this batch
                losses.append(learnt)

    def _affordable(self) -> bool:
        """Whether another validation keeps to its share of a wall-clock budget."""
        if self.config.training.minutes is None:
            return True
        since = self.elapsed - self.checked * 60 * self.config.training.minutes
        return self.case_seconds * self.validation_cases <= _VALIDATION_SHARE * since

    def _learn(self, progress: float) -> dict[str, float]:
        planes = list(self.samplers)
        plane = planes[self.step % len(planes)]
        images, classes = (torch.from_numpy(a).to(self.device) for a in self.samplers[plane].draw(self.rng))
        images, classes = augment(images, classes, self.config.augmentation_at(progress, plane), self.noise)
        self.step += 1
        return self.learners[plane].step(images, classes, progress)

    def _report(self, progress: float, losses: list[dict[str, float]]) -> Event:
        means = {name: float(np.mean([entry[name] for entry in losses])) for name in losses[0]}
        event = {"event": "steps", "step": self.step, "progress": progress, "losses": means, "seconds": self.elapsed}
        return self._note(event)

    def _validate(self) -> Event:
        settings = self.config.training
        # The first validation finds how many cases fit into the time; then they stay the same, to be comparable.
        if settings.minutes is None:
            allowance = max(_SHORT_SECONDS, _VALIDATION_SHARE * self.elapsed)
        else:
            allowance = self._allowance(_VALIDATION_SHARE) / settings.validations
        cases = self.held_out[: self.validation_cases or settings.validation_cases]
        result = validate(self._model(), cases, device=str(self.device), allowance_seconds=allowance)
        self.validation_cases = result.cases
        self.case_seconds = result.seconds / max(1, result.cases)
        save_model(self._model(), self.folder / "model.safetensors")  # for whoever cannot wait
        return self._note_validation("validation", result)

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
        model_file = self.folder / "model.safetensors"
        self.save_checkpoint()
        files = [model_file, self.folder / "plan.yaml", self.folder / "log.jsonl", self.folder / "curve.png"]
        temperature = self.config.training.temperature
        if self.held_out:
            allowance = self._allowance(_END_SHARE)
            device = str(self.device)
            result = validate(self._model(), self.held_out, device=device, allowance_seconds=allowance, calibrate=True)
            if temperature is None and result.calibration:
                temperature = result.calibration.temperature
            write_text(self.folder / "validation.json", json.dumps(asdict(result), indent=2, allow_nan=False) + "\n")
            files.append(self.folder / "validation.json")
            yield self._note_validation("final", result)
        save_model(self._model(temperature or 1.0), model_file)
        self.save_checkpoint()
        draw_curve(read_events(self.folder / "log.jsonl"), self.folder / "curve.png")
        self.samplers = {}  # on Windows a file that is mapped cannot be removed
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        yield self._note({"event": "end", "files": [str(file) for file in files], "seconds": self.elapsed})

    def _note_validation(self, kind: str, result: Validation) -> Event:
        numbers = asdict(result)
        del numbers["by_case"]
        return self._note({"event": kind, "step": self.step, "held_out": len(self.held_out), **numbers})

    def _note(self, event: Event) -> Event:
        append_event(self.folder / "log.jsonl", event)
        return event

    def save_checkpoint(self) -> None:
        """Write everything that `_restore` needs."""
        state: dict[str, Any] = {name: getattr(self, name) for name in _RESUMED}
        state |= {
            "elapsed_before": self.elapsed,
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
            for name in _RESUMED:
                setattr(self, name, state[name])
            self.rng.bit_generator.state = json.loads(state["rng"])
            self.noise.set_state(state["noise"].cpu())
            torch.set_rng_state(state["torch"].cpu())
            for plane, learner in self.learners.items():
                learner.restore(state["learners"][plane])
        cut_events(self.folder / "log.jsonl", step=self.step)
