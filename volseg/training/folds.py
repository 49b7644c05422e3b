"""Training the folds of a cross-validation, each in a process of its own, side by side on several devices."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from volseg.training.journal import Event, read_events

_POLL_SECONDS = 0.5


def is_trained(run: Path) -> bool:
    """Whether the folder of a run holds a training that has come to its end."""
    log = run / "log.jsonl"
    return log.is_file() and any(event["event"] == "end" for event in read_events(log))


@dataclass
class FoldTrainer:
    """Trains folds by ``volseg train``.

    Parameters
    ----------
    arguments : sequence of str
        The dataset, as ``volseg train`` takes it.
    output : Path
        Holds ``plan.yaml``; gets a run ``fold_<n>`` for each fold.
    devices : sequence of str
        One fold at a time is trained on each; a device that is named twice trains two side by side.
    failures : dict of int to str
        Filled with the folds that failed, and why.
    """

    arguments: Sequence[str]
    output: Path
    devices: Sequence[str]
    failures: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._free: SimpleQueue[str] = SimpleQueue()
        for device in self.devices:
            self._free.put(device)
        self._running: set[subprocess.Popen[str]] = set()

    def run_folder(self, fold: int) -> Path:
        """Where the run of a fold is."""
        return self.output / f"fold_{fold}"

    def train(self, folds: Sequence[int]) -> Iterator[Event]:
        """Train folds, or go on with those that were interrupted; yield how far each is."""
        with ThreadPoolExecutor(len(self.devices)) as pool:
            futures = {fold: pool.submit(self._train_fold, fold) for fold in folds}
            try:
                while not all(future.done() for future in futures.values()):
                    time.sleep(_POLL_SECONDS)
                    yield from self._progress(futures)
            finally:
                for future in futures.values():
                    future.cancel()
                for process in list(self._running):
                    process.terminate()
        self.failures |= {fold: future.result() for fold, future in futures.items() if future.result()}

    def _train_fold(self, fold: int) -> str:
        """Train one fold and return why it failed, or nothing."""
        run, device = self.run_folder(fold), self._free.get()
        how = ["--resume"] if (run / "checkpoint.pt").is_file() else ["--config", str(self.output / "plan.yaml")]
        command = ["train", *self.arguments, "-o", str(run), "--fold", str(fold), "--device", device, *how]
        environment = dict(os.environ)
        if len(self.devices) > 1:
            # Folds side by side must not fight for the cores.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(self.devices))))
        with subprocess.Popen(
            [sys.executable, "-m", "volseg", *command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process:
            self._running.add(process)
            _, said = process.communicate()
            self._running.discard(process)
        self._free.put(device)
        lines = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
        return "" if process.returncode == 0 else "\n".join(lines) or f"ended with exit code {process.returncode}"

    def _progress(self, futures: Mapping[int, Future[str]]) -> Iterator[Event]:
        for fold, future in futures.items():
            log = self.run_folder(fold) / "log.jsonl"
            events = read_events(log) if log.is_file() else []
            steps = [event for event in events if event["event"] == "steps"]
            if steps:
                progress = 1.0 if future.done() else steps[-1]["progress"]
                yield {"event": "training", "fold": fold, "progress": progress, "step": steps[-1]["step"]}
