"""One process at a time trains into a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from volseg.config import load_config
from volseg.errors import InputError, UsageError
from volseg.training.loop import iterate_training, train
from volseg.training.run_folder import check_folder, is_busy, locked_folder

TINY = ("network.width=2", "network.levels=1", "training.batch_size=4", "training.epochs=1")
HOLDS = """
import sys
from pathlib import Path
from volseg.training.run_folder import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command, pipe = [sys.executable, "-c", HOLDS, str(folder)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_process_is_refused(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held_by_another(run):
        assert is_busy(run)
        with pytest.raises(UsageError, match=r"run: another process trains into it just now; wait for it or choose"):
            train(dataset_folder, run, config=load_config(overrides=TINY))
        assert not (run / "plan.yaml").exists()
    assert not is_busy(run)
    train(dataset_folder, run, config=load_config(overrides=TINY))
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_process_that_is_killed_holds_up_nobody(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "run") as process:
        process.kill()
        process.wait()
        with locked_folder(tmp_path / "run"):
            pass


def test_a_run_is_busy_from_its_first_event_to_its_last(dataset_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for event in iterate_training(dataset_folder, run, config=load_config(overrides=TINY), device="cpu"):
        assert is_busy(run), event
    assert not is_busy(run)
    assert not is_busy(tmp_path / "nothing")


def test_what_a_folder_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"checkpoint\.pt: no such checkpoint to resume from"):
        check_folder(tmp_path, resume=True)
    check_folder(tmp_path / "new")
    (tmp_path / "new" / "checkpoint.pt").touch()
    with pytest.raises(UsageError, match="holds a training run already; add --resume"):
        check_folder(tmp_path / "new")
    check_folder(tmp_path / "new", resume=True)
