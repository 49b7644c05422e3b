"""The folder of a training run: what it needs to begin or go on, and that one process at a time trains into it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from volseg.errors import InputError, UsageError
from volseg.files.atomic import check_writable
from volseg.files.locking import lock_file

SAMPLES, PAGE = "samples", "progress.html"  # in it: the folder of the pictures of samples, and the page
_LOCK = ".volseg-training.lock"
_ATTEMPTS, _ATTEMPT_SECONDS = 4, 0.2


def check_folder(folder: Path, *, resume: bool = False) -> None:
    """See that a run can be started in a folder, or resumed.

    Parameters
    ----------
    folder : Path
    resume : bool

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


@contextmanager
def locked_folder(folder: Path, *, resume: bool = False) -> Iterator[None]:
    """Keep other processes from training into a folder while the block runs; otherwise see `check_folder`.

    Parameters
    ----------
    folder : Path
    resume : bool

    Raises
    ------
    UsageError
        Another process trains into it.
    """
    check_folder(folder, resume=resume)
    with ExitStack() as stack:
        for _ in range(_ATTEMPTS):  # who only looks whether it is busy has the lock for a moment
            if stack.enter_context(lock_file(folder / _LOCK)).mine:
                break
            time.sleep(_ATTEMPT_SECONDS)
        else:
            raise UsageError(f"{folder}: another process trains into it just now; wait for it or choose another folder")
        check_folder(folder, resume=resume)  # it may have changed before the lock was had
        yield


def is_busy(folder: Path) -> bool:
    """Whether another process trains into a folder.

    Parameters
    ----------
    folder : Path
    """
    if not folder.is_dir():
        return False
    with lock_file(folder / _LOCK) as hold:
        return not hold.mine
