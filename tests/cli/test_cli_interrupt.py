"""A training that is ended from outside: Ctrl+C as the terminal sends it, SIGTERM as clusters do, SIGKILL, or alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from volseg.cli import app
from volseg.training.checkpoint import opened_checkpoint
from volseg.training.journal import read_events
from volseg.training.run_folder import is_busy
from volseg.watching.curves import Event

# Epochs of 8 steps; the log has a line for each 200th part.
SETTINGS = ("training.epochs=10000", "training.batch_size=4", "network.width=2", "network.levels=1")
STEPS_A_LINE = 400

linux = pytest.mark.skipif(sys.platform != "linux", reason="sends a signal to another process, as a terminal does")


def steps_of(run: Path) -> list[Event]:
    log = run / "log.jsonl"
    return [event for event in read_events(log) if event["event"] == "steps"] if log.is_file() else []


def saved_step(run: Path) -> int:
    with opened_checkpoint(run / "checkpoint.pt", torch.device("cpu")) as state:
        return int(state["standing"]["step"])


def stopped(command: list[str], number: signal.Signals, *, run: Path, scratch: Path) -> tuple[int, str]:
    """Run a command, send it a signal when the run is being trained, and return its exit code and its last words."""
    settings = [text for setting in SETTINGS for text in ("--set", setting)]
    process = subprocess.Popen(
        [sys.executable, "-m", "volseg", *command, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
        # Whoever runs the tests in the background ignores interrupts, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not steps_of(run) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    assert steps_of(run), errors
    return process.returncode, errors


def is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    return not status.is_file() or status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def assert_interrupted(code: int, errors: str) -> None:
    assert code == 130, errors
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_stopped_saves_its_checkpoint_and_goes_on(
    number: signal.Signals, dataset_folder: Path, tmp_path: Path
) -> None:
    run, scratch = tmp_path / "run", tmp_path / "scratch"
    scratch.mkdir()
    code, errors = stopped(["train", str(dataset_folder), "-o", str(run)], number, run=run, scratch=scratch)
    assert_interrupted(code, errors)
    assert [path for path in run.rglob("*") if path.name.startswith(".volseg-")] == []
    assert [path.name for path in scratch.iterdir() if not path.name.startswith("torch")] == []  # torch keeps a cache
    before = steps_of(run)
    assert before[-1]["step"] <= saved_step(run) < before[-1]["step"] + STEPS_A_LINE

    epochs = saved_step(run) // 8 + 2
    plan = run / "plan.yaml"
    text = plan.read_text(encoding="utf-8").replace("epochs: 10000", f"epochs: {epochs}")
    plan.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["train", str(dataset_folder), "-o", str(run), "--resume"])
    assert result.exit_code == 0, result.output
    after = steps_of(run)
    assert after[: len(before)] == before  # nothing was lost, and nothing is learnt twice
    assert [event["step"] for event in after] == sorted({event["step"] for event in after})
    assert saved_step(run) == after[-1]["step"] == 8 * epochs


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cross_validation_that_is_stopped_lets_its_folds_save(
    number: signal.Signals, dataset_folder: Path, tmp_path: Path
) -> None:
    """Also where the signal comes to it alone, as from a program: a terminal's reaches its folds too."""
    output, scratch = tmp_path / "cv", tmp_path / "scratch"
    scratch.mkdir()
    run = output / "fold_0"
    command = ["crossval", str(dataset_folder), "-o", str(output), "--folds", "0,1", "--devices", "cpu"]
    code, errors = stopped(command, number, run=run, scratch=scratch)
    assert_interrupted(code, errors)
    last = steps_of(run)[-1]["step"]
    assert last <= saved_step(run) < last + STEPS_A_LINE
    assert not (output / "fold_1").exists()
    assert not (output / "crossval.json").exists()


@linux
def test_a_cross_validation_that_is_killed_leaves_no_training_behind(dataset_folder: Path, tmp_path: Path) -> None:
    """Started again at once, it waits for the fold that is still being saved, and continues with it."""
    output, scratch = tmp_path / "cv", tmp_path / "scratch"
    scratch.mkdir()
    run = output / "fold_0"
    command = ["crossval", str(dataset_folder), "-o", str(output), "--folds", "0", "--devices", "cpu"]
    code, _ = stopped(command, signal.SIGKILL, run=run, scratch=scratch)
    assert code == -signal.SIGKILL
    deadline = time.monotonic() + 90
    while is_busy(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_busy(run)
    assert steps_of(run)[-1]["step"] <= saved_step(run)  # its training has saved before it ended


@linux
@pytest.mark.parametrize("ends", ["close", "kill"])
def test_a_child_takes_the_end_of_its_parent_for_sigterm(ends: str) -> None:
    waits = "import signal, sys, time\nfrom volseg.cli.parent import stop_with_parent\n"
    waits += "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nstop_with_parent()\nprint('ready', flush=True)\n"
    waits += "while True:\n    time.sleep(0.01)\n"
    parent = (
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE, "
    )
    parent += "stdout=subprocess.PIPE, text=True)\nchild.stdout.readline()\nprint(child.pid, flush=True)\n"
    parent += "sys.stdin.readline()\nchild.stdin.close()\nprint(child.wait(), flush=True)\n"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", parent, waits], text=True, env=dict(os.environ), **pipes) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        number = int(process.stdout.readline())
        if ends == "close":
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "7\n"
            return
        process.kill()
    deadline = time.monotonic() + 60
    while is_running(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(number)
