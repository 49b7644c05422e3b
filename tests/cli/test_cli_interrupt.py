"""Ctrl+C during a training, as the terminal sends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SETTINGS = ("training.epochs=10000", "training.batch_size=4", "network.width=2", "network.levels=1")


def is_training(log: Path) -> bool:
    return log.is_file() and '"steps"' in log.read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="sends a signal to another process, as a terminal does")
def test_an_interrupted_training_ends_cleanly(dataset_folder: Path, tmp_path: Path) -> None:
    run, scratch = tmp_path / "run", tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "volseg", "train", str(dataset_folder), "-o", str(run)]
    process = subprocess.Popen(
        [*command, *(text for setting in SETTINGS for text in ("--set", setting))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
        # Whoever runs the tests in the background ignores interrupts, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not is_training(run / "log.jsonl") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert is_training(run / "log.jsonl"), errors
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert [path for path in run.rglob("*") if path.name.startswith(".volseg-")] == []
    assert [path.name for path in scratch.iterdir() if not path.name.startswith("torch")] == []  # torch keeps a cache
