"""A training that is ended from outside: Ctrl+C as the terminal sends it, SIGTERM as clusters do."""

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
from volseg.training.journal import Event, read_events

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
