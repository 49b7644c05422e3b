"""The training run, from a dataset to a model file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import torch

from volseg.config import Config, load_config
from volseg.datasets import Case, Dataset, check_dataset, describe_patients, read_dataset
from volseg.errors import DatasetError
from volseg.network.devices import choose_device
from volseg.network.file import save_model
from volseg.training.augment import augment
from volseg.training.data import cache_case, check_space, label_volumes, ranges_of
from volseg.training.events import CaseRead, Finished, Planned, Sampled, StepsMade, TrainingEvent, Validated
from volseg.training.growth import stage_at
from volseg.training.journal import cut_events, read_events
from volseg.training.kept_scans import KeptScans
from volseg.training.outcome import check_outcome, dice_of_same_cases, fitted_model, write_validation
from volseg.training.plan import Fold, choose_cases, fingerprint, write_plan
from volseg.training.planning import plan_checked
from volseg.training.resumption import is_limited, resumed_plan, tell_end, with_folds_of
from volseg.training.run import Run
from volseg.training.run_folder import locked_folder
from volseg.training.sampling import make_samplers
from volseg.training.state import RunState
from volseg.training.stop import Stop, stopping
from volseg.training.validation import Validation, validate
from volseg.training.watch import Watch
from volseg.watching.curve_picture import draw_curve
from volseg.watching.curves import Curves

_REPORTS = 200  # lines of losses in the log of a whole training


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
        A Medical Segmentation Decathlon or nnU-Net folder, or a CSV of pairs; see `volseg.datasets.read_dataset`.
    output : path
        Folder for ``model.safetensors``, ``plan.yaml`` (every setting, as planned), ``log.jsonl``, ``curve.png``,
        ``progress.html`` and ``samples`` (both to watch the training while it runs), ``validation.json`` and
        ``checkpoint.pt``.
    config : Config, optional
        Settings; what is None in them is planned from the dataset. Default: the ``default`` preset.
    fold : int or "all"
        Which fold is held out for validation; ``all`` trains on every case. The last weights are the model either way:
        weights chosen by the held-out cases would make their own scores flatter.
    device : str
        ``auto`` or any torch device.
    resume : bool
        Go on from ``checkpoint.pt`` in `output`, with the settings of its ``plan.yaml``. A `config` that is given must
        agree with them except in ``epochs``, ``minutes``, ``validations`` and ``validation_cases``; more of the first
        two make the run longer.

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
) -> Iterator[TrainingEvent]:
    """Do what `train` does, with the same parameters, and yield an event for each thing that happens.

    Yields
    ------
    CaseRead
        For each case, once when it is read to plan and once when its slices are prepared.
    Planned
        Everything is ready.
    StepsMade
        Up to 200 times.
    Validated
        After each validation on the way, and after the one of the last weights.
    Sampled
        At the same time, and where no case is held out.
    Finished
        The last event. See `volseg.training.events` for all; all but `CaseRead` and `Sampled` are also in
        ``log.jsonl``.
    """
    folder, started = Path(output), time.monotonic()
    found = dataset if isinstance(dataset, Dataset) else read_dataset(Path(dataset))
    target = choose_device(device)
    with locked_folder(folder, resume=resume):
        if resume:
            found = with_folds_of(folder, found)
        run = yield from _prepare(found, folder, config, fold, target, resume=resume)
        state = _resume(run) if resume else _begin(run)
        cases, held_out = choose_cases(found, fold)
        seconds = time.monotonic() - started
        watch = Watch(run, state)
        patients = describe_patients(found.cases)
        planned = Planned(run.config, fold, len(cases), len(held_out), seconds, str(target), patients, run.outlook)
        yield planned if resume else run.note(planned)
        if resume and config is not None:
            write_plan(run.config, found, folder / "plan.yaml")
        yield from _train(run, state, watch)


def _prepare(
    dataset: Dataset, folder: Path, config: Config | None, fold: Fold, device: torch.device, *, resume: bool
) -> Generator[CaseRead, None, Run]:
    """Plan, unless the run is resumed, and prepare the slices of the training cases; each file is decoded once."""
    # `checked` and `scans` hold what was decoded. They end here, so that only the held-out label maps stay in memory.
    checked = dataset
    with KeptScans(folder / "cache" / "scans") as scans:
        if not resume:
            checked = check_dataset(dataset)
            for done, total in plan_checked(checked, folder, config=config, fold=fold, device=device, scans=scans):
                yield CaseRead(done, 2 * total)
        plan = load_config(folder / "plan.yaml")
        if resume and config is not None:
            plan = resumed_plan(plan, config, dataset)
        cases, held_out = choose_cases(checked, fold)
        # By fingerprint: slices that an interrupted attempt prepared by another plan must not be taken for these.
        mark = fingerprint(dataset, plan, cases)
        cache, prepared, volumes = folder / "cache" / mark, [], []
        for case in cases:
            prepared.append(cache_case(case, cache, config=plan, labels=dataset.labels, scans=scans))
            volumes.append(label_volumes(case, cache))
            scans.remove(case)
            if len(prepared) == 1:
                check_space(cache, cases, spare=scans.size)
            yield CaseRead(len(cases) + len(prepared), 2 * len(cases))
    samplers = make_samplers(prepared, plan)
    if not any(sampler.has_labels for sampler in samplers.values()):
        raise DatasetError(f"{dataset.name}: no training case has a single labelled voxel")
    limited = is_limited(folder, plan.training) if resume else True
    return Run(folder, dataset, plan, device, fold, mark, held_out, samplers, ranges_of(volumes), limited)


def _begin(run: Run) -> RunState:
    state = RunState.new(run)
    run.log.unlink(missing_ok=True)
    return state


def _resume(run: Run) -> RunState:
    """Load the checkpoint and take out of the log what came after it."""
    state = RunState.load(run, run.checkpoint)
    progress = state.progress(run.budget)
    state.standing.fall_back(progress)
    if progress >= 1:
        tell_end(run.folder, steps=state.standing.step, seconds=state.clock.seconds)
    cut_events(run.log, step=state.standing.step)
    return state


def _train(run: Run, state: RunState, watch: Watch) -> Iterator[TrainingEvent]:
    """Learn and finish; a signal ends both where the run can be resumed."""
    stop = Stop()
    with stopping(stop):
        try:
            yield from _learn(run, state, stop, watch)
            yield from _finish(run, state, stop, watch)
        except KeyboardInterrupt:
            if state.whole:  # if not, the last checkpoint is
                state.save(run.checkpoint)
            watch.stopped(state)
            raise


def _learn(run: Run, state: RunState, stop: Stop, watch: Watch) -> Iterator[TrainingEvent]:
    """Learn until the budget is used; report, validate and save a checkpoint when they are due."""
    now, planes = state.standing, list(run.samplers)
    state.clock.start()
    watch.refresh(state)
    while True:
        stop.heed()
        progress = state.progress(run.budget)
        if now.losses and (progress - now.reported >= 1 / _REPORTS or progress >= 1):
            yield _report(run, state, progress)
            watch.refresh(state)
        if progress >= 1:
            break
        if _is_validation_due(run, state, progress):
            yield from _validate_on_the_way(run, state, stop, watch)
            watch.refresh(state)

        if state.is_shared and not run.shares(progress, step=now.step):
            with state.changing():
                state.part()
        plane = planes[now.step % len(planes)]
        stage = stage_at(run.stages, progress)
        with state.changing():
            images, classes = map(torch.from_numpy, run.samplers[plane].draw(state.rng, stage))
            images, classes = images.to(run.device), classes.to(run.device)
            images, classes = augment(images, classes, run.config.augmentation_at(progress, plane), state.noise)
            balance = run.balance(progress, step=now.step)
            losses = state.learners[plane].step(images, classes, progress, balance)
            now.count(losses)
    check_outcome(run, state)


def _report(run: Run, state: RunState, progress: float) -> StepsMade:
    now = state.standing
    elapsed = state.clock.seconds
    left = run.seconds_left(progress=progress, elapsed=elapsed)
    event = StepsMade(now.step, progress, now.mean_losses(), elapsed, left)
    with state.changing():
        now.losses, now.reported = [], progress
        return run.note(event)


def _is_validation_due(run: Run, state: RunState, progress: float) -> bool:
    now = state.standing
    if not now.learnt or progress < now.checked + 1 / run.config.training.validations:
        return False
    seconds = now.case_seconds * now.validation_cases + now.look_seconds
    return run.budget.has_time_for(seconds, elapsed=state.clock.seconds, checked=now.checked)


def _validate_on_the_way(run: Run, state: RunState, stop: Stop, watch: Watch) -> Iterator[TrainingEvent]:
    """Validate if cases are held out, look at the samples, and save a checkpoint."""
    now, settings = state.standing, run.config.training
    progress, result = state.progress(run.budget), None
    if run.held_out:
        # The first validation finds how many cases fit into the time; then they stay the same, to be comparable.
        cases = run.held_out[: now.validation_cases or settings.validation_cases]
        seconds = run.budget.seconds_on_the_way(elapsed=state.clock.seconds, validations=settings.validations)
        result = _validate(run, state, stop, cases, seconds)
    events = list[TrainingEvent]()
    with state.changing():
        now.checked = progress
        model = run.make_model(state.learners, steps=now.step)
        if result is not None:
            now.validation_cases = result.cases
            now.case_seconds = result.seconds / max(1, result.cases)
            # to try before the end
            save_model(model, run.folder / "model.safetensors")
            events.append(run.note(Validated("validation", now.step, len(run.held_out), result)))
        events.append(Sampled(now.step, watch.look(state, model)))
        state.save(run.checkpoint)
    yield from events


def _validate(
    run: Run, state: RunState, stop: Stop, cases: Sequence[Case], seconds: float, *, fit: bool = False
) -> Validation:
    model, device = run.make_model(state.learners, steps=state.standing.step), str(run.device)
    return validate(model, cases, device=device, allowance_seconds=seconds, fit=fit, heed=stop.heed)


def _finish(run: Run, state: RunState, stop: Stop, watch: Watch) -> Iterator[TrainingEvent]:
    """Validate the last weights on all held-out cases, fit what is fitted on these, and keep all; tidy up."""
    state.save(run.checkpoint)
    sampled = Sampled(state.standing.step, watch.look(state, run.make_model(state.learners, steps=state.standing.step)))
    result = None
    if run.held_out:
        seconds = run.budget.seconds_at_the_end()
        result = _validate(run, state, stop, run.held_out, seconds, fit=True)
    # All is written before the first event is yielded: the consumer of the events may take long.
    events: list[TrainingEvent] = [sampled]
    names = ["model.safetensors", "plan.yaml", "log.jsonl", "curve.png", watch.page.name]
    if sampled.files:
        names.append(watch.folder.name)
    if result is not None:
        write_validation(run, result)
        names.append("validation.json")
        same = dice_of_same_cases(result, run.held_out[: state.standing.validation_cases])
        events.append(run.note(Validated("final", state.standing.step, len(run.held_out), result, same)))
    save_model(fitted_model(run, state, result), run.folder / "model.safetensors")
    state.save(run.checkpoint)
    draw_curve(Curves.of(read_events(run.log)), run.folder / "curve.png")
    verdict = watch.write_page(state, "finished")
    run.samplers.clear()  # on Windows a file that is mapped cannot be removed
    shutil.rmtree(run.folder / "cache", ignore_errors=True)
    files = tuple(run.folder / name for name in names)
    events.append(run.note(Finished(files, state.clock.seconds, verdict)))
    yield from events
