from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from volseg.errors import OutputError
from volseg.files.locking import lock_file

# Adds one to a number in a file so slowly that any other at the same time would be lost; some are killed with the lock.
_COUNT = """
import os, signal, sys, time
from pathlib import Path
from volseg.files.locking import lock_file
folder, fatal = Path(sys.argv[1]), sys.argv[2] == "die"
for _ in range(10):
    with lock_file(folder / "lock", wait_for="number") as hold:
        assert hold.mine and hold.certain
        if fatal:
            os.kill(os.getpid(), signal.SIGTERM)
        number = int((folder / "number").read_text())
        time.sleep(0.002)
        (folder / "number").write_text(str(number + 1))
"""


def test_a_lock_is_held_by_one_and_gone_afterwards(tmp_path: Path) -> None:
    with lock_file(tmp_path / "lock") as first:
        assert first.mine
        assert first.certain
        with lock_file(tmp_path / "lock") as second:
            assert not second.mine
        assert (tmp_path / "lock").exists()
        assert f"process {os.getpid()} on " in (tmp_path / "lock").read_text(encoding="utf-8")
    assert not (tmp_path / "lock").exists()
    with lock_file(tmp_path / "lock") as third:
        assert third.mine


def test_it_is_let_go_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broke"), lock_file(tmp_path / "lock"):
        raise ValueError("broke")
    assert list(tmp_path.iterdir()) == []


def test_no_step_of_any_process_is_lost_though_some_are_killed(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    fates = ["live"] * 5 + ["die"] * 3
    random.Random(1).shuffle(fates)
    children = [subprocess.Popen([sys.executable, "-c", _COUNT, str(tmp_path), fate]) for fate in fates]
    codes = [child.wait(timeout=120) for child in children]
    assert [code == 0 for code in codes] == [fate == "live" for fate in fates]
    assert (tmp_path / "number").read_text() == "50"
    with lock_file(tmp_path / "lock", wait_for="number"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_waiting_is_said_once_with_who_has_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lock_file(tmp_path / "lock"):
        entered = []

        def wait() -> None:
            with lock_file(tmp_path / "lock", wait_for="out/scan") as hold:
                entered.append(hold)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.7)
        assert not entered
    thread.join()
    (message,) = caplog.messages
    assert message.startswith(f"out/scan: is being written by process {os.getpid()} on ")
    assert entered[0].mine


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), lock_file(tmp_path / "nothing" / "lock"):
        pass
