"""The progress of a command if its output goes to a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from volseg.cli import app
from volseg.cli.progress import progress_bar, show_progress
from volseg.demo import DemoResult
from volseg.evaluation import Evaluation
from volseg.progress import Progress


def test_a_file_gets_a_line_a_minute(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("volseg.cli.progress.time", clock)
    with progress_bar() as bar:
        task = bar.add_task("reading", total=200)
        for done in range(1, 201):
            bar.update(task, description=f"case {done}\x1b", completed=done)
            clock.now += 1
    assert capsys.readouterr().err.splitlines() == [f"case {n}? ({n / 2:.0f} %)" for n in (61, 121, 181)]


def test_what_is_over_within_a_minute_needs_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as bar:
        for _ in bar.track(range(1000)):
            pass
    assert capsys.readouterr().err == ""


def test_what_a_function_tells_is_shown_also_where_its_total_is_not_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("volseg.cli.progress.time", clock)
    with show_progress("connecting") as show:
        for what, done, total in (
            ("downloading", 1, 0),
            ("downloading", 2, 0),
            ("unpacking", 1, 4),
            ("unpacking", 3, 4),
        ):
            show(what, done, total)
            clock.now += 61
    told = ["downloading (0 %)", "unpacking (25 %)", "unpacking (75 %)"]
    assert capsys.readouterr().err.splitlines() == told


def test_the_demo_says_what_it_does_while_it_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_demo(output: Path, *, epochs: int, progress: Progress) -> DemoResult:
        for what, done in (("making scans", 0), ("making scans", 1), ("training", 0), ("done", 2)):
            progress(what, done, 2)
        return DemoResult(Evaluation(()), ())

    monkeypatch.setattr("volseg.demo.run_demo", run_demo)
    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == ["making scans", "training", "done"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_is_in_the_file_when_it_is_said(stream: str) -> None:
    """It is seen before the command ends, which is killed here."""
    code = (
        "import os, sys, volseg.cli as cli\n"
        "def app():\n"
        f"    print('said', file=sys.{stream})\n"
        "    os._exit(0)\n"
        "cli.app = app\n"
        "cli.main()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert getattr(run, stream) == "said\n", run.stderr
