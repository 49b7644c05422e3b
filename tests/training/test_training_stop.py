"""A training that is stopped at any moment goes on as if it had never been stopped: the same weights to the bit."""

from __future__ import annotations

import os
import pkgutil
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_dataset import write_dataset

import volseg
from volseg.config import Config, load_config
from volseg.training.checkpoint import opened_checkpoint
from volseg.training.events import Planned, StepsMade
from volseg.training.journal import read_events
from volseg.training.loop import iterate_training, train
from volseg.training.step import Learner
from volseg.training.stop import Stop, stopping

Handlers = dict[signal.Signals, Any]
BOTH = [signal.SIGINT, signal.SIGTERM]

posix = pytest.mark.skipif(os.name != "posix", reason="sends signals to itself")


def config(*more: str) -> Config:
    """Eight steps, with dropout, so that every random number counts, and two validations on the way."""
    small = ("network.width=4", "network.levels=2", "network.dropout=0.3", "training.batch_size=4")
    return load_config(overrides=(*small, "training.epochs=1", "training.validations=3", *more))


@dataclass(frozen=True)
class Outcome:
    """The files of a finished run, without times; no picture of a sample is missing, doubled or another one."""

    weights: str
    temperature: float
    log: list[dict[str, Any]]
    samples: dict[str, bytes]


def outcome(run: Path) -> Outcome:
    model = volseg.load_model(run)
    times = ("seconds", "files", "reading_seconds", "outlook")
    events = [
        {key: value for key, value in event.items() if key not in times} for event in read_events(run / "log.jsonl")
    ]
    samples = {path.name: path.read_bytes() for path in sorted((run / "samples").iterdir())}
    return Outcome(model.sha256, model.temperature, events, samples)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("stop") / "Task99_Toy")


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    train(dataset, run, config=config(), device="cpu")
    return outcome(run)


@pytest.fixture
def deaf() -> Iterator[None]:
    """Outside a training, signals do nothing: one that comes late must not end the tests."""
    before = {number: signal.signal(number, lambda *_: None) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def go_on(dataset: Path, run: Path) -> None:
    resume = (run / "checkpoint.pt").is_file()
    train(dataset, run, config=None if resume else config(), device="cpu", resume=resume)


# Where a signal may come: in the middle of a step, a validation, a calibration, or of writing.
MOMENTS = [
    "volseg.training.sampling.SliceSampler.draw",
    "volseg.training.loop.augment",
    "volseg.training.step.Learner.step",
    "volseg.training.step.Learner._set_rate",
    "volseg.training.step.nn.utils.clip_grad_norm_",
    "torch.optim.AdamW.step",
    "volseg.training.loop.validate",
    "volseg.training.validation.read_images",
    "volseg.training.validation.answer_scan",
    "volseg.training.validation.dice",
    "volseg.training.validation.fit_temperature",
    "volseg.training.loop.save_model",
    "volseg.training.state.save_checkpoint",
    "volseg.training.checkpoint.torch.save",
    "volseg.training.run.append_event",
    "volseg.training.outcome.write_text",
    "volseg.training.loop.draw_curve",
    "volseg.training.watch.answer",
    "volseg.training.watch.write_samples",
    "volseg.training.watch.write_page",
    "volseg.files.atomic.flush",
]


def let_signal_come(moment: str, number: signal.Signals, which: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a signal come when a function is called for the n-th time: before it, in every second case after it."""
    calls, came = count(), list[int]()
    real = pkgutil.resolve_name(moment)

    def disturbed(*arguments: Any, **settings: Any) -> Any:
        mine = next(calls) == which
        if mine:
            came.append(which)
        if mine and which % 2 == 0:
            signal.raise_signal(number)
        result = real(*arguments, **settings)
        if mine and which % 2:
            signal.raise_signal(number)
        return result

    monkeypatch.setattr(moment, disturbed)
    return came


@posix
@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("which", [0, 1, 4, 9])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_stopped_once_ends_as_one_that_is_not(
    moment: str, which: int, dataset: Path, undisturbed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        came = let_signal_come(moment, BOTH[which // 2 % 2], which, patched)
        try:
            go_on(dataset, run)
        except KeyboardInterrupt:
            assert (run / "checkpoint.pt").is_file()
            go_on(dataset, run)
    assert outcome(run) == undisturbed
    if which == 0:
        assert came


@posix
@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_stopped_again_and_again_at_random_ends_as_one_that_is_not(
    seed: int, dataset: Path, undisturbed: Outcome, tmp_path: Path
) -> None:
    chance, run = random.Random(seed), tmp_path / "run"
    for sittings in count(1):
        # Longer and longer, so that it does come to its end, however slow the machine is.
        delay = chance.uniform(0, 0.03) * 1.2**sittings
        timer = threading.Timer(delay, os.kill, (os.getpid(), chance.choice(BOTH)))
        resume = (run / "checkpoint.pt").is_file()
        settings = None if resume else config()
        try:
            for event in iterate_training(dataset, run, config=settings, device="cpu", resume=resume):
                if isinstance(event, Planned):
                    timer.start()
            break
        except KeyboardInterrupt:
            assert (run / "checkpoint.pt").is_file()
        finally:
            timer.cancel()
            timer.join()
    assert sittings > 1
    assert outcome(run) == undisturbed


@posix
@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("first", BOTH)
def test_a_second_interrupt_stops_at_once_and_keeps_the_last_whole_checkpoint(
    first: signal.Signals, dataset: Path, undisturbed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real, ended = tmp_path / "run", Learner.step, list[bool]()

    def step(self: Learner, *arguments: Any) -> dict[str, float]:
        if not (run / "checkpoint.pt").is_file():
            return real(self, *arguments)
        losses = real(self, *arguments)  # the weights have changed, the count of steps has not
        signal.raise_signal(first)
        ended.append(False)
        signal.raise_signal(signal.SIGINT)
        ended.append(True)
        return losses

    with monkeypatch.context() as patched:
        patched.setattr("volseg.training.step.Learner.step", step)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            go_on(dataset, run)
    assert ended == [False]
    go_on(dataset, run)
    assert outcome(run) == undisturbed


@posix
@pytest.mark.usefixtures("deaf")
def test_who_looks_at_an_event_when_the_signal_comes_costs_no_step(
    dataset: Path, undisturbed: Outcome, tmp_path: Path
) -> None:
    run, steps = tmp_path / "run", 0

    def follow() -> None:
        nonlocal steps
        for event in iterate_training(dataset, run, config=config(), device="cpu"):
            if isinstance(event, StepsMade) and event.step == 3:
                steps = event.step
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        follow()
    with opened_checkpoint(run / "checkpoint.pt", torch.device("cpu")) as state:
        assert state["standing"]["step"] == steps == 3
    go_on(dataset, run)
    assert outcome(run) == undisturbed


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    """The handlers of signals when a test begins, for any test runner; put back after it."""
    before = {number: signal.getsignal(number) for number in BOTH}
    usual: Handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    for number, handler in usual.items():
        signal.signal(number, handler)
    yield usual
    for number, handler in before.items():
        signal.signal(number, handler)


def current(handlers: Handlers) -> Handlers:
    return {number: signal.getsignal(number) for number in handlers}


def work(stop: Stop, *numbers: signal.Signals, done: list[str]) -> None:
    """Get signals while something is done that must not be cut; then see whether somebody has asked for an end."""
    with stopping(stop):
        for number in numbers:
            signal.raise_signal(number)
        done.append("all")
        stop.heed()


@pytest.mark.parametrize("first", BOTH)
def test_after_a_signal_only_another_interrupt_counts(first: signal.Signals, handlers: Handlers) -> None:
    """A cluster or a terminal may send both for the same thing; what the first one waits for is then being done."""
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        work(Stop(), first, signal.SIGTERM, signal.SIGTERM, done=done)
    assert done == ["all"]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        work(Stop(), first, signal.SIGINT, done=done)
    assert done == ["all"]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        work(Stop(at_once=True), first, done=done)
    assert done == ["all"]
    assert current(handlers) == handlers


def test_what_is_ignored_stays_ignored(handlers: Handlers) -> None:
    """So shells start background processes: Ctrl+C is for the process in the foreground."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done: list[str] = []
    try:
        work(Stop(), signal.SIGINT, done=done)
    except KeyboardInterrupt:  # which would end the tests
        pytest.fail("an interrupt that was ignored is not any more")
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        work(Stop(), signal.SIGTERM, signal.SIGINT, done=done)
    assert done == ["all", "all"]
    assert current(handlers) == handlers | {signal.SIGINT: signal.SIG_IGN}


def test_outside_the_main_thread_nothing_is_touched(handlers: Handlers) -> None:
    seen: list[object] = []

    def elsewhere() -> None:
        with stopping(Stop()):
            seen.append(current(handlers))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [handlers]
