"""How folds are trained side by side; a few lines of Python stand in for `volseg train`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from volseg.training.folds import FoldTrainer, is_trained

posix = pytest.mark.skipif(os.name != "posix", reason="only there is a process asked to end before it is made to")

# The files that a training leaves. Options begin at 0: "train", dataset, "-o", run, "--fold", fold, "--device", device.
TRAINS = """
import json, os, sys, time
from pathlib import Path
options = sys.argv[1:]
run, fold, device = Path(options[3]), int(options[5]), options[7]
run.mkdir(parents=True, exist_ok=True)
(run / "options.json").write_text(json.dumps(options))
(run / "threads").write_text(os.environ.get("OMP_NUM_THREADS", ""))

def note(**event):
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps(event) + "\\n")

"""
FINISHES = TRAINS + "note(event='steps', step=7, progress=0.5)\nnote(event='end')\n"
GOES_ON_AND_ON = (
    TRAINS
    + """
import signal

def stop(*_):
    (run / "checkpoint.pt").write_text("saved")
    sys.exit(130)

signal.signal(signal.SIGTERM, stop)
note(event='steps', step=7, progress=0.5)
while True:  # a signal just before a long sleep would be seen after it
    time.sleep(0.01)
"""
)


@pytest.fixture
def trainer(tmp_path: Path) -> FoldTrainer:
    return FoldTrainer(["data"], tmp_path, ["one"])


def let_children_run(code: str, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let processes run some code instead of volseg, fast; return the list of their commands, as it grows."""
    commands: list[list[str]] = []
    start = subprocess.Popen

    def started(command: list[str], **settings: Any) -> Any:
        commands.append(command)
        return start([sys.executable, "-I", "-S", "-c", code, *command[4:]], **settings)

    monkeypatch.setattr("volseg.training.folds.subprocess.Popen", started)
    monkeypatch.setattr("volseg.training.folds._POLL_SECONDS", 0.02)
    return commands


def free_devices(trainer: FoldTrainer) -> list[str]:
    """Take the devices that are free."""
    return sorted(trainer._free.get_nowait() for _ in range(trainer._free.qsize()))


def test_each_fold_is_trained_by_a_command_of_its_own(trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = let_children_run(FINISHES, monkeypatch)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    trainer.run_folder(1).mkdir()
    (trainer.run_folder(1) / "checkpoint.pt").touch()  # of a training that was interrupted
    events = list(trainer.train([0, 1]))
    plan = str(trainer.output / "plan.yaml")
    for fold, how in ((0, ["--config", plan]), (1, ["--resume"])):
        run = trainer.run_folder(fold)
        options = ["train", "data", "-o", str(run), "--fold", str(fold), "--device", "one", "--while-parent-runs", *how]
        assert commands[fold] == [sys.executable, "-P", "-m", "volseg", *options]
        assert is_trained(run)
        assert (run / "threads").read_text() == ""  # all cores
    assert events[-1] == {"event": "training", "fold": 1, "progress": 1.0, "step": 7}
    assert trainer.failures == {}
    assert free_devices(trainer) == ["one"]


def test_what_an_older_version_began_goes_on_with_folds_over_cases(
    trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = let_children_run(FINISHES, monkeypatch)
    trainer.over_cases = True
    list(trainer.train([0]))
    assert commands[0][-1] == "--folds-over-cases"


def test_a_known_warning_is_not_repeated_for_each_fold(
    trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_children_run(f"{FINISHES}sys.stderr.write('warning: few steps\\nwarning: dark\\n')", monkeypatch)
    trainer.known_warnings.add("dark")
    list(trainer.train([0, 1]))
    assert [record.getMessage() for record in caplog.records] == ["fold 0: few steps"]


def test_folds_side_by_side_share_devices_and_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_children_run(FINISHES + "time.sleep(0.2)\n", monkeypatch)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("volseg.training.folds.count_cores", lambda: 8)
    trainer = FoldTrainer(["data"], tmp_path, ["one", "two"])
    list(trainer.train([0, 1, 2, 3]))
    used = [json.loads((trainer.run_folder(fold) / "options.json").read_text())[7] for fold in range(4)]
    assert sorted(used[:2]) == ["one", "two"]
    assert [(trainer.run_folder(fold) / "threads").read_text() for fold in range(4)] == ["4"] * 4
    assert free_devices(trainer) == ["one", "two"]


def test_a_process_that_cannot_be_started_holds_up_no_other(
    trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr("volseg.training.folds.subprocess.Popen", impossible)
        patched.setattr("volseg.training.folds._POLL_SECONDS", 0.02)
        assert list(trainer.train([0, 1, 2])) == []
    assert trainer.failures == dict.fromkeys(range(3), "its process cannot be started (Cannot allocate memory)")
    # The device is there for whoever comes next.
    let_children_run(FINISHES, monkeypatch)
    list(trainer.train([3]))
    assert is_trained(trainer.run_folder(3))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.stderr.buffer.write(b'caf\\xe9\\n')\nsys.exit(3)", "its process ended with code 3; it said: caf\ufffd"),
        ("sys.stderr.write('warning: w\\nerror: a\\nerror: b\\n')\nsys.exit(1)", "a\nb"),
        ("sys.exit(4)", "its process ended with code 4"),
        ("sys.stderr.write('x' * 1_000_000 + ' end')\nsys.exit(5)", "its process ended with code 5; it said: x"),
    ],
    ids=["no UTF-8", "errors", "silent", "much"],
)
def test_what_a_process_said_is_the_reason(
    code: str, reason: str, trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_children_run(f"import sys\n{code}", monkeypatch)
    assert list(trainer.train([0, 1])) == []
    assert [text[: len(reason)] for text in trainer.failures.values()] == [reason, reason]
    assert free_devices(trainer) == ["one"]


def test_what_a_fold_warns_of_is_told(
    trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_children_run(f"{FINISHES}sys.stderr.write('3 cases\\nwarning: few steps\\nwarning: dark\\n')", monkeypatch)
    list(trainer.train([2]))
    assert trainer.failures == {}
    assert caplog.messages == ["fold 2: few steps", "fold 2: dark"]


def first_of(events: Iterator[Any]) -> Any:
    event = next(events)
    assert event == {"event": "training", "fold": 0, "progress": 0.5, "step": 7}
    return event


@posix
@pytest.mark.parametrize("stop", [KeyboardInterrupt("here"), ValueError("here"), None], ids=repr)
def test_who_is_stopped_lets_the_process_save_and_starts_no_other(
    stop: Exception | None, trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands, began = let_children_run(GOES_ON_AND_ON, monkeypatch), time.monotonic()
    events = trainer.train([0, 1])
    first_of(events)
    if stop is None:
        events.close()  # type: ignore[attr-defined]
    else:
        with pytest.raises(type(stop), match="here"):
            events.throw(stop)  # type: ignore[attr-defined]
    assert (trainer.run_folder(0) / "checkpoint.pt").read_text() == "saved"
    assert not is_trained(trainer.run_folder(0))
    assert not trainer.run_folder(1).exists()
    assert len(commands) == 1
    assert free_devices(trainer) == ["one"]
    assert time.monotonic() - began < 100


@posix
def test_a_process_that_will_not_end_is_ended(trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    let_children_run(GOES_ON_AND_ON.replace("sys.exit(130)", "return"), monkeypatch)
    monkeypatch.setattr("volseg.training.folds._GRACE_SECONDS", 0.3)
    events, began = trainer.train([0]), time.monotonic()
    first_of(events)
    events.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 100
    assert free_devices(trainer) == ["one"]


def test_a_fold_that_another_process_trains_is_waited_for(
    trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is not trained again where that has finished it."""
    commands, busy = let_children_run(FINISHES, monkeypatch), iter([True, True, True, False])

    def is_busy(run: Path) -> bool:
        found = next(busy, False)
        if not found and run == trainer.run_folder(0):
            run.mkdir()
            (run / "log.jsonl").write_text('{"event": "end"}\n', encoding="utf-8")
        return found

    monkeypatch.setattr("volseg.training.folds.is_busy", is_busy)
    list(trainer.train([0, 1]))
    assert [command[command.index("--fold") + 1] for command in commands] == ["1"]
    assert trainer.failures == {}


@posix
def test_who_is_stopped_does_not_wait_on(trainer: FoldTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = let_children_run(GOES_ON_AND_ON, monkeypatch)
    monkeypatch.setattr("volseg.training.folds.is_busy", lambda run: run == trainer.run_folder(1))
    events = FoldTrainer(["data"], trainer.output, ["one", "two"]).train([0, 1])
    first_of(events)
    events.close()  # type: ignore[attr-defined]
    assert len(commands) == 1
