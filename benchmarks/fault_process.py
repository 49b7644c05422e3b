"""A command of volseg in a forked process that is killed, at a time or at a file event, or runs out of disk.

Modules that commands import while they run are imported here, so that a forked process begins at once.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import vtk  # noqa: F401

import volseg.cases.cohort
import volseg.cases.surfaces
import volseg.cli
import volseg.cli.measure_tables
import volseg.conversion
import volseg.io.dicom.rtstruct_writing
import volseg.io.dicom.seg_writing
import volseg.io.images.itk
import volseg.io.images.nifti
import volseg.io.mesh
import volseg.prediction.inference

FILE_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.chmod", "os.truncate"}
SLOWEST_SECONDS = 120


@dataclass
class Outcome:
    """How a command ended: its exit code, or minus the number of a signal."""

    code: int
    said: str

    def check(self) -> None:
        if self.code:
            raise SystemExit(f"cannot begin: {self.code}: {self.said}")


class Child:
    """A command of volseg in a forked process."""

    def __init__(self, folder: Path, line: str, prepare: Callable[[], None] | None = None) -> None:
        # A pipe, as a file would be cut by the limit on files.
        self.output, inlet = os.pipe()
        os.set_blocking(self.output, False)
        self.said = b""
        self.start = time.monotonic()
        self.number = os.fork()
        if self.number == 0:
            os.dup2(inlet, 1)
            os.dup2(inlet, 2)
            sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
            os.chdir(folder)
            sys.argv = ["volseg", *line.split()]
            code = 98
            try:
                torch.set_num_threads(1)
                if prepare:
                    prepare()
                volseg.cli.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            except BaseException as error:  # noqa: BLE001 (a child must not go on with the tests)
                os.write(2, f"Traceback: {error!r}".encode())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(inlet)

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self.output, 1 << 16):
                self.said += said

    def kill(self, number: int, seconds: float) -> None:
        time.sleep(max(0.0, self.start + seconds - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.number, number)

    def wait(self) -> Outcome:
        while time.monotonic() < self.start + SLOWEST_SECONDS:
            number, status = os.waitpid(self.number, os.WNOHANG)
            self._listen()
            if number:
                os.close(self.output)
                return Outcome(os.waitstatus_to_exitcode(status), self.said.decode("utf-8", "replace"))
            time.sleep(0.005)
        os.kill(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)
        return Outcome(99, "did not end")


def run(folder: Path, line: str, prepare: Callable[[], None] | None = None) -> Outcome:
    return Child(folder, line, prepare).wait()


def on_file_events(folder: Path, tell: Callable[[], None]) -> None:
    """Have this process tell whenever it is about to change a file or folder in a folder."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not writes and event not in FILE_EVENTS:
            return
        # Functions that remove a folder name its files relative to it.
        relative = event in ("os.remove", "os.rmdir") and arguments[-1] != -1
        if relative or str(folder) in str(arguments[0]):
            tell()

    sys.addaudithook(hook)


def kill_at(folder: Path, at: int) -> None:
    """Have this process killed before it changes files in a folder for the n-th time."""
    count = itertools.count()
    on_file_events(folder, lambda: os.kill(os.getpid(), signal.SIGKILL) if next(count) == at else None)


def count_events(folder: Path, line: str) -> int:
    """Return how often a command changes a file or folder."""
    memory = mmap.mmap(-1, 8)

    def add() -> None:
        memory[:] = (int.from_bytes(memory[:], "little") + 1).to_bytes(8, "little")

    run(folder, line, lambda: on_file_events(folder, add)).check()
    return int.from_bytes(memory[:], "little")


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.dont_write_bytecode = True  # Python would take a compiled module that was cut for whole
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
