"""Training the folds of a cross-validation, each in a process of its own, side by side on several devices."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from volseg.child_python import child_python
from volseg.cores import count_cores
from volseg.errors import InputError
from volseg.training.journal import read_events
from volseg.training.run_folder import is_busy
from volseg.watching.curves import Event

_POLL_SECONDS = 0.5
_GRACE_SECONDS = 60  # to save a checkpoint in

_LOG = logging.getLogger(__name__)


def is_trained(run: Path) -> bool:
    """Whether the folder of a run holds a finished training.

    Parameters
    ----------
    run : Path
    """
    log = run / "log.jsonl"
    if not log.is_file():
        return False
    return "end" in [event["event"] for event in read_events(log)]


@dataclass
class FoldTrainer:
    """Trains folds by ``volseg train``.

    Parameters
    ----------
    arguments : sequence of str
        The dataset, as ``volseg train`` takes it.
    output : Path
        Holds ``plan.yaml``; a run ``fold_<n>`` is added for each fold.
    devices : sequence of str
        One fold at a time is trained on each; a device that is named twice trains two side by side.
    failures : dict of int to str
        Filled with the folds that failed, and why.
    over_cases : bool
        Folds are made over cases, though patients have several scans; for what an older version began.
    known_warnings : set of str
        Warnings that were given already, here or for another fold; they are not repeated for each fold.
    """

    arguments: Sequence[str]
    output: Path
    devices: Sequence[str]
    failures: dict[int, str] = field(default_factory=dict)
    over_cases: bool = False
    known_warnings: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._free: SimpleQueue[str] = SimpleQueue()
        for device in self.devices:
            self._free.put(device)
        self._running: set[subprocess.Popen[str]] = set()
        self._stopping = threading.Event()

    def run_folder(self, fold: int) -> Path:
        """Return the folder of the run of a fold.

        Parameters
        ----------
        fold : int
        """
        return self.output / f"fold_{fold}"

    def train(self, folds: Sequence[int]) -> Iterator[Event]:
        """Train folds, or resume those that were interrupted; yield how far each is.

        Parameters
        ----------
        folds : sequence of int

        Yields
        ------
        dict
            ``training`` (fold, progress, step), again and again.
        """
        self._stopping.clear()
        with ThreadPoolExecutor(len(self.devices)) as pool:
            futures = {fold: pool.submit(self._train_fold, fold) for fold in folds}
            interrupted = False
            try:
                while not _are_done(futures.values()):
                    time.sleep(_POLL_SECONDS)
                    yield from self._progress(futures)
            except KeyboardInterrupt:
                interrupted = True
                raise
            finally:
                # Ctrl-C has reached the processes as well. On Windows, where a signal ends them, it is not sent again.
                self._stop(futures.values(), ask=not interrupted or os.name == "posix")
        for fold, future in futures.items():
            if reason := future.result():
                self.failures[fold] = reason

    def _stop(self, futures: Iterable[Future[str]], *, ask: bool) -> None:
        """End what is still running, but let it save its checkpoint first."""
        self._stopping.set()
        for future in futures:
            future.cancel()
        end = time.monotonic() + _GRACE_SECONDS
        for process in list(self._running) if ask else ():
            process.send_signal(signal.SIGTERM)
        try:
            for process in list(self._running):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, end - time.monotonic()))
        finally:  # also if a second interrupt ends the wait
            for process in list(self._running):
                process.kill()

    def _train_fold(self, fold: int) -> str:
        """Train one fold when a device is free and return why it failed, or nothing."""
        device = self._free.get()
        try:
            return "" if self._stopping.is_set() else self._run(fold, device)
        except OSError as error:
            return f"its process cannot be started ({error.strerror})"
        finally:
            self._free.put(device)

    def _run(self, fold: int, device: str) -> str:
        run = self.run_folder(fold)
        self._wait_for(run)
        if self._stopping.is_set() or is_trained(run):  # by the process that was waited for
            return ""
        code, said = self._call(*self._command(fold, device))
        for warning in _lines(said, "warning: "):
            if warning not in self.known_warnings:
                self.known_warnings.add(warning)
                _LOG.warning("fold %d: %s", fold, warning)
        if code == 0:
            return ""
        last = "; it said: " + said.strip().splitlines()[-1] if said.strip() else ""
        return "\n".join(_lines(said, "error: ")) or f"its process ended with code {code}{last}"

    def _command(self, fold: int, device: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line that trains a fold, or resumes it, and its environment."""
        run = self.run_folder(fold)
        how = ["--resume"] if (run / "checkpoint.pt").is_file() else ["--config", str(self.output / "plan.yaml")]
        if self.over_cases:
            how.append("--folds-over-cases")
        options = ["-o", str(run), "--fold", str(fold), "--device", device, "--while-parent-runs", *how]
        command, environment = child_python("volseg", "train", *self.arguments, *options)
        environment["PYTHONIOENCODING"] = "utf-8"
        if len(self.devices) > 1:
            # Folds side by side must not fight for the cores.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, count_cores() // len(self.devices))))
        return command, environment

    def _call(self, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
        """Run a process and return its exit code and what it wrote to stderr."""
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,  # ends when this process does, however that ends
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process:
            self._running.add(process)
            if self._stopping.is_set():  # since the device was found free
                process.terminate()
            said = process.stderr.read() if process.stderr else ""  # communicate() would end its standard input
            code = process.wait()
            self._running.discard(process)
        return code, said

    def _wait_for(self, run: Path) -> None:
        """Wait while another process trains the fold, such as one that still saves after its parent was killed."""
        if is_busy(run):
            _LOG.warning("%s: another process trains into it; waiting for it", run)
        while is_busy(run) and not self._stopping.wait(_POLL_SECONDS):
            pass

    def _progress(self, futures: Mapping[int, Future[str]]) -> Iterator[Event]:
        for fold, future in futures.items():
            last = _last_steps(self.run_folder(fold) / "log.jsonl")
            if last is not None:
                progress = 1.0 if future.done() and not future.result() else last["progress"]
                yield {"event": "training", "fold": fold, "progress": progress, "step": last["step"]}


def _are_done(futures: Iterable[Future[str]]) -> bool:
    return all(future.done() for future in futures)


def _last_steps(log: Path) -> Event | None:
    """Return the last line of a log that tells of steps; None while there is none."""
    try:
        events = read_events(log)
    except InputError:  # not there yet, or just being replaced
        return None
    for event in reversed(events):
        if event["event"] == "steps":
            return event
    return None


def _lines(said: str, kind: str) -> list[str]:
    return [line.removeprefix(kind) for line in said.splitlines() if line.startswith(kind)]
